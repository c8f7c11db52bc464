import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fftune.config import AttackConfig, Norm, ThreatModel
from fftune.noise import Noise
from fftune.threat import distance, project, start, step

IDS = torch.arange(4)


@given(
    norm=st.sampled_from(["linf", "l2"]),
    kind=st.sampled_from(["uniform", "gaussian", "narrow", "none"]),
    eps=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_starts_and_projections_stay_in_the_ball_and_in_the_box(norm, kind, eps, seed) -> None:
    x = torch.rand(4, 3, 5, 2, generator=torch.Generator().manual_seed(seed))
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=eps), start=kind)
    far = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    for point in (start(x, config, Noise(seed), IDS), project(far, x, config.threat)):
        assert (distance(point, x, norm) <= eps * (1 + 1e-5) + 1e-6).all()
        assert point.min() >= 0
        assert point.max() <= 1


def test_projection_by_hand() -> None:
    x = torch.tensor([0.5, 0.5]).view(1, 1, 1, 2)
    far = torch.tensor([0.9, 0.2]).view(1, 1, 1, 2)
    linf = project(far, x, ThreatModel(norm="linf", eps=0.1))
    l2 = project(far, x, ThreatModel(norm="l2", eps=0.25))
    assert linf.flatten().tolist() == pytest.approx([0.6, 0.4])
    assert l2.flatten().tolist() == pytest.approx([0.7, 0.35])  # (.4, -.3) / .5 * .25


def test_projection_leaves_inner_points_alone() -> None:
    x = torch.full((1, 1, 1, 2), 0.5)
    near = torch.tensor([0.51, 0.49]).view(1, 1, 1, 2)
    for norm in ("linf", "l2"):
        torch.testing.assert_close(project(near, x, ThreatModel(norm=norm, eps=0.3)), near)


def test_steps_by_hand() -> None:
    x, grad = torch.zeros(2, 1, 1, 2), torch.tensor([[3.0, -4.0], [0.0, 0.0]]).view(2, 1, 1, 2)
    linf, l2 = step(x, grad, 0.5, "linf"), step(x, grad, 0.5, "l2")
    assert linf.flatten(1).tolist() == [[0.5, -0.5], [0, 0]]
    assert l2.flatten(1).tolist() == [pytest.approx([0.3, -0.4]), [0, 0]]


@pytest.mark.parametrize(("kind", "deviation"), [("gaussian", 0.01), ("narrow", 0.001)])
def test_gaussian_starts_have_their_deviation(kind, deviation: float) -> None:
    x = torch.full((4, 1, 100, 100), 0.5)
    delta = start(x, AttackConfig(threat=ThreatModel(eps=0.5), start=kind), Noise(0), IDS) - x
    assert delta.std().item() == pytest.approx(deviation, rel=0.02)  # 5 errors of 40,000 draws


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_uniform_start_fills_the_ball(norm: Norm) -> None:
    """Of d = 2 dimensions: half of the mass lies beyond 2^(-1/2) of the radius."""
    x, ids = torch.full((4000, 1, 1, 2), 0.5), torch.arange(4000)
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=0.2))
    lengths = distance(start(x, config, Noise(0), ids), x, norm)
    beyond = (lengths > 0.2 / 2**0.5).float().mean().item()
    assert abs(beyond - 0.5) < 5 * (0.25 / 4000) ** 0.5
