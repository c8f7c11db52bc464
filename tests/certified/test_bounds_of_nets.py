"""No point of a ball ever crosses a bound: intervals, CROWN, sharpened, with optimised slopes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune.certified.crown import Relaxation, least, refined, relaxations
from fftune.certified.graph import graph_of
from fftune.certified.interval import Ball, intervals
from fftune.certified.margins import decide
from fftune.certified.slopes import optimised
from fftune.certified.time_limit import Deadline
from fftune.config import ThreatModel
from tests.certified.small_nets import images, nets, points

THREATS = [ThreatModel(eps=0.1), ThreatModel(norm="l2", eps=0.4)]
ROUNDED = 1e-4
FOREVER = Deadline.after(1e9)


def bounds(net: nn.Module, x: Tensor, threat: ThreatModel) -> dict[str, Tensor]:
    """(B, K, K) lower bounds of z_i - z_j by each way."""
    graph, ball = graph_of(net, x), Ball.of(x, threat)
    every = torch.eye(graph.classes)
    rows = (every[:, None] - every[None]).flatten(0, 1).repeat(len(x), 1)
    owner, last = torch.arange(len(x)).repeat_interleave(graph.classes**2), len(graph.steps) - 1
    known = intervals(graph, ball)
    low, high = known[-1]
    sharp = refined(graph, ball, known, FOREVER)
    lines = relaxations(graph, sharp)
    enough = torch.full((len(rows),), torch.inf)
    found = {
        "intervals": (low[:, :, None] - high[:, None]).flatten(),
        "CROWN-IBP": least(graph, last, rows, owner, relaxations(graph, known), ball),
        "CROWN": least(graph, last, rows, owner, lines, ball),
        "slopes": optimised(
            graph, lambda: rows, owner, lines, ball, enough=enough, deadline=FOREVER
        ),
    }
    return {way: bound.view(len(x), graph.classes, -1) for way, bound in found.items()}


def crossed(
    net: nn.Module, x: Tensor, threat: ThreatModel
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The bounds, and how far a point of the ball goes below each at most; 0 if none does."""
    found = bounds(net, x, threat)
    apart = ~torch.eye(next(iter(found.values())).shape[1], dtype=torch.bool)
    most = dict.fromkeys(found, 0.0)
    for point in points(net, x, threat):
        logits = net(point)
        margins = logits[:, :, None] - logits[:, None]
        for way, bound in found.items():
            most[way] = max(most[way], float((bound - margins)[:, apart].max()))
    return found, most


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_no_point_crosses_a_bound(threat) -> None:
    for net in nets(2):
        x = images(3)
        found, most = crossed(net, x, threat)
        assert max(most.values()) < ROUNDED
        assert (found["CROWN"] >= found["CROWN-IBP"] - 1e-4).float().mean() > 0.9
        assert (found["slopes"] >= found["CROWN"] - 1e-4).all()
        assert found["slopes"].mean() > found["intervals"].mean() + 0.1


FLIPS = {
    "the chord is too flat": lambda r: replace(r, chord=r.chord * 0.5),
    "the chord's height has the other sign": lambda r: replace(r, intercept=-r.intercept),
    "the lower line is too steep": lambda r: replace(r, line=r.line + 0.5 * r.is_free),
    "the upper line starts at 0": lambda r: replace(r, intercept=0 * r.intercept),
}


@pytest.mark.some(2)
@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS)
def test_a_wrong_relaxation_is_crossed(monkeypatch, flip) -> None:
    """Else the test above proves nothing."""
    of = Relaxation.of.__func__
    monkeypatch.setattr(
        Relaxation, "of", classmethod(lambda cls, low, high: flip(of(cls, low, high)))
    )
    most = [crossed(net, images(3), THREATS[0])[1] for net in nets(2)]
    assert max(one["CROWN"] for one in most) > 10 * ROUNDED


def test_the_ball_is_cut_to_the_pixels_there_are() -> None:
    """At a black pixel nothing falls below 0, and at a white one nothing rises above 1."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).eval()
    net[1].weight.data = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    low, high = intervals(graph_of(net, x), Ball.of(x, ThreatModel(eps=0.1)))[-1]
    assert low[0, 0].item() == pytest.approx(0.9, abs=1e-4)
    assert high[0, 0].item() == pytest.approx(1.1, abs=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_net_is_certified_to_its_exact_radius(norm) -> None:
    """Margin over the dual norm of the difference of two rows."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    x = 0.4 + 0.2 * torch.rand(20, 1, 3, 4)
    z, apart = net(x).detach(), (net[1].weight[0] - net[1].weight[1]).detach()
    length = apart.abs().sum() if norm == "linf" else apart.norm()
    radii = (z[:, 0] - z[:, 1]).abs() / length
    usable = ((radii > 0.02) & (radii < 0.3)).nonzero().flatten()[:3].tolist()
    y = z.argmax(1)
    assert len(usable) == 3
    for i in usable:
        for share, holds in ((0.98, True), (1.001, False)):
            threat = ThreatModel(norm=norm, eps=float(radii[i]) * share)
            one = x[i : i + 1]
            for kept, label in (("right", y[i]), ("wrong", 1 - y[i])):
                found = decide(net, one, label[None], threat=threat, kept=kept, seconds=9.0)
                assert found.kept.tolist() == [holds]
