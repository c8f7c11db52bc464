"""No attack beats a certificate; ties and other nets are never certified."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from fftune.attacks import apgd, pgd
from fftune.certified import CertifiedCounts, certify, stays_right, stays_wrong
from fftune.config import AttackConfig, InputSpec, ThreatModel
from fftune.errors import ConfigError, ModelError
from fftune.keyed_noise import Noise
from fftune.models import make_model
from fftune.models.linf_training import hinge_mix, p_at

INPUTS = InputSpec(shape=(1, 4, 4), classes=3, mean=(0.5,), std=(0.3,))
EPS = 0.05


def data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes of 4 x 4 images: one bright column each, under noise."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (count,), generator=rng)
    x = 0.7 * torch.rand(count, 1, 4, 4, generator=rng)
    x[torch.arange(count), 0, :, y] += 0.25
    return x.clamp(0, 1), y


def net(steps: int, seed: int = 0) -> nn.Module:
    """Trained for so many steps by the recipe; 0 is a fresh one."""
    model = make_model("linf_dist", INPUTS, width=16, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.02, (0.9, 0.99), 1e-10)
    for step in range(steps):
        x, y = data(64, 100 + step)
        model.set_p(p_at(step / steps))
        loss = hinge_mix(model(x), y, threshold=2 * 2 * EPS * model.lipschitz)
        optimizer.zero_grad()
        loss.backward()
        model.decay(0.02 * 5e-3)
        optimizer.step()
    model.set_p(torch.inf)
    return model.eval()


@pytest.mark.parametrize(("steps", "eps"), [(0, 0.02), (150, EPS)])
def test_no_attack_beats_the_bound(steps, eps) -> None:
    model, (x, y), ids = net(steps), data(300, 7), torch.arange(300)
    threat = ThreatModel(eps=eps)
    counts = certify(model, x, y, threat=threat)
    with torch.no_grad():
        logits = model(x)
    right = logits.argmax(1) == y
    bounds = {"eps": eps, "lipschitz": model.lipschitz, "slack": 2 * model.rounding()}
    kept = {"adversarial": stays_right(logits, y, **bounds)}
    kept["hypocritical"] = stays_wrong(logits, y, **bounds)
    assert int(kept["adversarial"].sum()) == counts.stays_right
    assert int(kept["hypocritical"].sum()) == counts.stays_wrong
    beaten = {}
    for goal, bar in kept.items():
        turned = torch.zeros(300, dtype=torch.bool)
        for search, loss in ((pgd, "ce"), (apgd, "margin")):
            config = AttackConfig(threat=threat, steps=20)
            noise = Noise(1).fold("certified", search.__name__)
            found = search(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
            with torch.no_grad():
                turned |= (model(found).argmax(1) == y) != right
        assert not (turned & bar).any()
        beaten[goal] = int((turned & (right == (goal == "adversarial"))).sum())
    assert beaten["adversarial"] <= counts.foolable
    assert beaten["hypocritical"] <= counts.concealable
    if steps:  # the bound is of some use, and so are the attacks
        assert counts.stays_right > 30 and counts.stays_wrong > 0
        assert min(beaten.values()) > 0


def test_margins_of_the_closed_ball() -> None:
    """At eps = .25 and lipschitz 1 the bar is .5: a margin of .5 can end in a tie."""
    logits = torch.tensor([[0.5, 0.0], [0.501, 0.0], [0.0, 0.5], [0.0, 0.501], [0.0, 0.0]])
    y = torch.zeros(5, dtype=torch.long)
    bounds = {"eps": 0.25, "lipschitz": 1.0}
    assert stays_right(logits, y, **bounds).tolist() == [False, True, False, False, False]
    assert stays_wrong(logits, y, **bounds).tolist() == [False, False, False, True, False]
    assert not stays_right(logits, y, **bounds, slack=0.001).any()
    assert not stays_wrong(logits, y, eps=0.25, lipschitz=1.01).any()
    for flawed in (torch.nan, torch.inf):
        with pytest.raises(ModelError, match="not finite"):
            stays_right(logits.clone().fill_(flawed), y, **bounds)


def bar(eps: float, lipschitz: float, slack: float = 0.0) -> float:
    """Both logits move by lipschitz x the radius that rounded points keep to; slack here and at x'.

    In plain float64, by hand.
    """
    reach = eps + 0.00001 * eps + 0.000001
    return lipschitz * reach + lipschitz * reach + slack + slack


@pytest.mark.parametrize("slack", [0.0, 1e-3])
@pytest.mark.parametrize(("eps", "lipschitz"), [(0.25, 1.0), (0.5, 4.0), (0.0, 2.0), (0.031, 5.0)])
def test_a_margin_lasts_from_just_above_the_bar(eps, lipschitz, slack) -> None:
    """Not at eps alone, nor at one slack, nor where rounded points may lie a little outside."""
    edge = bar(eps, lipschitz, slack)
    margins = [edge - 1e-9, edge + 1e-9, edge - slack / 2 - 1e-9]
    logits = torch.zeros(3, 3, dtype=torch.float64)
    logits[:, 0], logits[:, 2] = torch.tensor(margins, dtype=torch.float64), -9
    lasts = [False, True, False]
    bounds = {"eps": eps, "lipschitz": lipschitz, "slack": slack}
    assert stays_right(logits, torch.tensor([0, 0, 0]), **bounds).tolist() == lasts
    for y in (1, 2):  # the second's lead over y is larger by 9
        wrong = stays_wrong(logits, torch.full((3,), y), **bounds).tolist()
        assert wrong == (lasts if y == 1 else [True] * 3)


def test_the_bar_itself_is_not_enough() -> None:
    """At the closed ball's edge a margin of exactly the bar can end in a tie."""
    edge = 2 * (0.25 * (1 + 1e-5) + 1e-6)
    logits = torch.tensor([[edge, 0.0], [math.nextafter(edge, 1), 0.0]], dtype=torch.float64)
    assert stays_right(logits, torch.zeros(2).long(), eps=0.25, lipschitz=1.0).tolist() == [0, 1]
    assert stays_wrong(logits, torch.ones(2).long(), eps=0.25, lipschitz=1.0).tolist() == [0, 1]


def test_margins_are_taken_in_float64() -> None:
    """A margin of 1 outlasts a bar of 1 - 2^-30, which fp32 would round to 1."""
    logits = torch.tensor([[2.0**24, 2.0**24 - 1, 0.0]])
    eps = ((1 - 2.0**-30) / 2 - 1e-6) / (1 + 1e-5)
    assert stays_right(logits, torch.tensor([0]), eps=eps, lipschitz=1.0).item()
    assert stays_wrong(logits, torch.tensor([1]), eps=eps, lipschitz=1.0).item()


def test_a_net_is_certified_from_four_roundings_above_what_its_logits_move() -> None:
    """Two logits make a margin, and two margins are misread, each logit by one rounding.

    The radius is chosen so that an example's margin lies between the wrong bars and the right one.
    """
    model, (x, _) = net(0), data(1, 11)
    with torch.no_grad():
        logits = model(x)[0].double()
    first, second = logits.topk(2).values.tolist()
    margin, rounding, lipschitz = first - second, model.rounding(), 1 / 0.2009
    label = {"stays_right": logits.argmax().view(1), "stays_wrong": logits.topk(2).indices[1:]}
    assert margin > 20 * rounding > 0

    def certified(name: str, roundings: float) -> int:
        reach = (margin - roundings * rounding) / (2 * lipschitz)
        eps = (reach - 1e-6) / (1 + 1e-5)
        return getattr(certify(model, x, label[name], threat=ThreatModel(eps=eps)), name)

    for name in label:
        found = [certified(name, roundings) for roundings in (0.5, 1.5, 2.5, 3.5, 4.5, 6.0)]
        assert found == [0, 0, 0, 0, 1, 1]


def test_what_is_certified_is_counted_by_hand(monkeypatch) -> None:
    """Labels 0: margins of +3, +1, -1, -3 under a bar of 2, and a tie; no graph is kept."""
    logits = torch.tensor([[3.0, 0, -9], [1, 0, -9], [0, 1, -9], [0, 3, -9], [0, 0, -9]])
    graphs = []

    def forward(_net: nn.Module, _x: torch.Tensor) -> torch.Tensor:
        graphs.append(torch.is_grad_enabled())
        return logits

    model = net(0)
    monkeypatch.setattr(type(model), "forward", forward)
    threat = ThreatModel(eps=0.2009)  # times lipschitz is 1
    counts = certify(model, torch.rand(5, 1, 4, 4), torch.zeros(5).long(), threat=threat)
    assert counts == CertifiedCounts(eps=0.2009, total=5, wrong=2, stays_right=1, stays_wrong=1)
    assert (counts.foolable, counts.concealable) == (2, 1)
    assert graphs == [False]


def test_black_and_white_images_are_certified_and_no_images_are_none() -> None:
    x, y = torch.tensor([0.0, 1.0]).repeat(8).view(1, 1, 4, 4), torch.zeros(1).long()
    assert certify(net(0), x, y, threat=ThreatModel(eps=0.0)).total == 1
    assert certify(net(0), x[:0], y[:0], threat=ThreatModel(eps=EPS)) == CertifiedCounts(eps=EPS)


def test_counts_add_and_bound() -> None:
    one = CertifiedCounts(eps=0.1, total=10, wrong=4, stays_right=5, stays_wrong=1)
    two = one + replace(one, total=6, wrong=0, stays_right=6, stays_wrong=0)
    assert (two.total, two.wrong, two.foolable, two.concealable) == (16, 4, 1, 3)
    assert two.hypocritical_risk == 3 / 4
    assert two.adversarial_risk == 1 / 12
    assert two.adversarial_accuracy == 11 / 16
    assert two.hypocritical_accuracy == 15 / 16
    nothing = CertifiedCounts(eps=0.1)
    assert math.isnan(nothing.hypocritical_risk) and math.isnan(nothing.adversarial_risk)
    assert math.isnan(nothing.hypocritical_accuracy) and math.isnan(nothing.adversarial_accuracy)
    assert str(one) == (
        "certified for these 10 examples, l_inf <= 0.1, this fp32 net: hypocritical risk at most "
        "75.00% (n- = 4), adversarial accuracy at least 50.00%"
    )
    with pytest.raises(ConfigError, match="eps must be 0.1 for all counts, got 0.2"):
        one + replace(one, eps=0.2)


def test_batches_add_up_to_the_whole() -> None:
    model, (x, y), threat = net(30), data(50, 3), ThreatModel(eps=EPS)
    parts = (certify(model, a, b, threat=threat) for a, b in ((x[:7], y[:7]), (x[7:], y[7:])))
    assert sum(parts, CertifiedCounts(eps=EPS)) == certify(model, x, y, threat=threat)


def test_what_cannot_be_certified() -> None:
    x, y = data(4, 0)
    threat = ThreatModel(eps=EPS)
    with pytest.raises(ConfigError, match="norm must be 'linf'"):
        certify(net(0), x, y, threat=ThreatModel(norm="l2", eps=EPS))
    with pytest.raises(ModelError, match="only a bare linf_dist"):
        certify(nn.Flatten(), x, y, threat=threat)
    model = net(0)
    model.set_p(1000.0)
    with pytest.raises(ModelError, match="at p = inf only, got p = 1000"):
        certify(model, x, y, threat=threat)
    with pytest.raises(ModelError, match="in eval mode only"):
        certify(net(0).train(), x, y, threat=threat)
    with pytest.raises(ModelError, match="in fp32 only"):
        certify(net(0).double(), x.double(), y, threat=threat)
    with pytest.raises(ModelError, match="in fp32 only"):
        certify(net(0).bfloat16(), x.bfloat16(), y, threat=threat)
    for images in (x + 1, x + 0.5, x - 0.5, x.clone().fill_(torch.nan)):
        with pytest.raises(ModelError, match=r"pixels in \[0, 1\]"):
            certify(net(0), images, y, threat=threat)
    for part in ("hidden", "last"):
        model = net(0)
        getattr(model, part).train()
        with pytest.raises(ModelError, match="in eval mode only"):
            certify(model, x, y, threat=threat)
    means, weights = net(0), net(0)
    means.hidden[0].running_mean = means.hidden[0].running_mean.double()
    weights.last.weight = nn.Parameter(weights.last.weight.double())
    for model, images in ((means, x), (weights, x), (net(0), x.double())):
        with pytest.raises(ModelError, match="in fp32 only, got .*float32.*float64"):
            certify(model, images, y, threat=threat)
