"""The l_inf-distance net against float64 definitions, and what upstream's recipe says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fftune.config import InputSpec
from fftune.errors import ConfigError
from fftune.models import linf_training as linf_recipe
from fftune.models import lp_distance as distance
from fftune.models import make_model
from fftune.models.lp_distance import distances

INPUTS = InputSpec(shape=(2, 3, 3), classes=4, mean=(0.3, 0.6), std=(0.1, 0.9))


def defined(x: torch.Tensor, w: torch.Tensor, p: float) -> torch.Tensor:
    """(sum |x - w|^p)^(1/p) in float64, the largest difference taken out for huge p."""
    gaps = (x[:, None] - w[None]).abs()
    most = gaps.amax(2, keepdim=True)
    if math.isinf(p):
        return most.squeeze(2)
    return (most * (gaps / most).pow(p).sum(2, keepdim=True).pow(1 / p)).squeeze(2)


@pytest.mark.parametrize("p", [1.0, 2.0, 8.0, 77.7, 1000.0, math.inf])
def test_distances_and_slopes(p, monkeypatch) -> None:
    monkeypatch.setitem(distance.CHUNK, "cpu", 5 * 11 * 3)  # three rows of w at a time
    torch.manual_seed(1)
    x, w = (3 * torch.randn(n, 11) for n in (5, 7))
    weights = torch.randn(5, 7)
    x.requires_grad_(True), w.requires_grad_(True)
    exact = [v.detach().double().requires_grad_(True) for v in (x, w)]

    found, expected = distances(x, w, p), defined(*exact, p)
    slopes = torch.autograd.grad(found, (x, w), weights)
    known = torch.autograd.grad(expected, exact, weights.double())

    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for slope, true in zip(slopes, known, strict=True):
        torch.testing.assert_close(slope.double(), true, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("p", [8.0, 1000.0, math.inf])
def test_no_distance_has_no_slope(p) -> None:
    x = torch.randn(1, 5, requires_grad=True)
    w = torch.cat([x.detach(), x.detach() + 1e30])
    found = distances(x, w, p)
    (slope,) = torch.autograd.grad(found[0, 0], x)
    assert found[0, 0] == 0
    assert found[0, 1] >= 1e30 and torch.isfinite(found).all()
    assert torch.equal(slope, torch.zeros(1, 5))


def test_the_net_is_equation_4() -> None:
    """Six layers of max |x - w| + b, the logits negated, in float64 without any of our layers."""
    net = make_model("linf_dist", INPUTS, width=5)
    for layer in net.hidden:
        layer.running_mean.normal_()
    net.last.bias.data.normal_()
    net.eval()
    x = torch.rand(3, 2, 3, 3)
    flow = (x - torch.tensor([0.3, 0.6]).view(1, 2, 1, 1)).double().flatten(1) / 0.2009
    for layer in net.hidden:
        flow = defined(flow, layer.weight.double(), math.inf) - layer.running_mean.double()
    logits = -(defined(flow, net.last.weight.double(), math.inf) + net.last.bias.double())

    found = net(x).double()

    torch.testing.assert_close(found, logits, rtol=0, atol=1e-4)
    assert (found - logits).abs().max() <= net.rounding() < 1e-3
    assert len(net.hidden) == 5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.floats(1e-3, 1.0), spread=st.floats(0.1, 30))
def test_no_logit_moves_further_than_the_pixels(seed, size, spread) -> None:
    """|g(x) - g(x')| <= |x - x'| / .2009, for any weights and shifts."""
    torch.manual_seed(seed)
    net = make_model("linf_dist", INPUTS, width=6, seed=seed)
    for value in [*net.parameters(), *(layer.running_mean for layer in net.hidden)]:
        value.data.normal_().mul_(spread)
    net.eval()
    x = torch.rand(4, 2, 3, 3)
    x_pert = (x + size * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    with torch.no_grad():
        moved = (net(x) - net(x_pert)).double().abs().amax(1)
    reach = (x - x_pert).double().abs().flatten(1).amax(1) / 0.2009
    assert (moved <= reach * (1 + 1e-6) + 2 * net.rounding()).all()


def test_the_bound_of_a_logit_is_reached() -> None:
    """All pixels move together past a far neuron: the logit moves by exactly 1 / .2009 of it."""
    net = make_model("linf_dist", INPUTS, width=6).eval()
    assert net.lipschitz == pytest.approx(1 / 0.2009)
    for layer in [*net.hidden, net.last]:
        layer.weight.data.fill_(-50.0)
    with torch.no_grad():
        moved = net(torch.full((1, 2, 3, 3), 0.2)) - net(torch.full((1, 2, 3, 3), 0.3))
    assert torch.allclose(moved, torch.full((1, 4), 0.1 / 0.2009), atol=1e-4)


def test_means_shift_and_never_scale() -> None:
    net = make_model("linf_dist", INPUTS, width=6)
    layer, x = net.hidden[0], torch.randn(20, 18)
    raw = distances(x, layer.weight, 8.0)
    out = layer(x, 8.0)
    torch.testing.assert_close(out, raw - raw.mean(0))
    torch.testing.assert_close(layer.running_mean, 0.1 * raw.mean(0))
    layer.eval()
    torch.testing.assert_close(layer(x, 8.0), raw - 0.1 * raw.mean(0))


def test_p_is_part_of_the_net_and_bf16_is_not() -> None:
    net = make_model("linf_dist", INPUTS, width=6).eval()
    assert net.p == math.inf
    net.set_p(8.5)
    other = make_model("linf_dist", INPUTS, width=6, seed=1).eval()
    other.load_state_dict(net.state_dict())
    assert other.p == 8.5
    x = torch.rand(2, 2, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(other(x), net(x))
    assert net(x).dtype == torch.float32
    with pytest.raises(ConfigError, match="p must be >= 1, got 0.5"):
        net.set_p(0.5)


def test_decay_is_that_of_the_p_norm() -> None:
    """By hand: at p = 3, |w| = (3, 4): ||w||^3 = 91; at infinity only the largest shrinks."""
    net = make_model("linf_dist", INPUTS, width=2)
    rows = torch.tensor([[3.0, -4.0], [0.0, 2.0]])
    norm = 91 ** (1 / 3)
    for p, expected in (
        (2.0, [[2.7, -3.6], [0.0, 1.8]]),
        (3.0, [[3 - 0.3 * 3 / norm, -4 + 0.4 * 4 / norm], [0.0, 1.8]]),
        (math.inf, [[3.0, -3.6], [0.0, 1.8]]),
    ):
        net.set_p(p)
        net.hidden[1].weight.data.copy_(rows)
        net.last.bias.data.fill_(5.0)
        net.decay(0.1)
        torch.testing.assert_close(net.hidden[1].weight.data, torch.tensor(expected))
        torch.testing.assert_close(net.last.bias.data, torch.full((4,), 4.5))


def test_schedules_are_upstreams() -> None:
    """Epochs 0,100,0,750,800 and p 8 -> 1000."""
    epochs = [0, 99, 100, 425, 750, 799.99, 800]
    assert [linf_recipe.p_at(e / 800) for e in epochs] == pytest.approx(
        [8, 8, 8, (8 * 1000) ** 0.5, math.inf, math.inf, math.inf]
    )
    assert linf_recipe.p_at(749.999 / 800) == pytest.approx(1000, rel=1e-4)
    assert [linf_recipe.lr_at(e / 800) for e in (0, 100, 450, 800)] == pytest.approx([1, 1, 0.5, 0])
    assert (linf_recipe.BETAS, linf_recipe.ADAM_EPS) == ((0.9, 0.99), 1e-10)
    assert linf_recipe.EPS_TRAIN == 0.1568 == pytest.approx(5 * 8 / 255, rel=1e-3)


def test_hinge_by_hand() -> None:
    """z - z_y + 1 = (0, 3, -1) and (., 0, .5, .5): worst 3 and .5, sums 3 and 1 of 3 classes."""
    logits = torch.tensor([[1.0, 3.0, -1.0], [0.5, 1.0, 0.5]])
    y = torch.tensor([0, 1])
    loss = linf_recipe.hinge_mix(logits, y, threshold=1.0)
    assert float(loss) == pytest.approx(0.75 * (3 + 0.5) / 2 + 0.25 * (3 + 1) / 6)
    assert float(linf_recipe.hinge_mix(logits, y, threshold=1.0, mix=1)) == pytest.approx(1.75)
    far = torch.tensor([[2.0, 0.0, 0.0]])
    assert linf_recipe.hinge_mix(far, y[:1], threshold=2.0) == 0
    assert linf_recipe.hinge_mix(far, y[:1], threshold=2.1) > 0
