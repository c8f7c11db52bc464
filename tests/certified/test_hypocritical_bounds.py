"""A mistake that is certified to stay one is right nowhere in its ball: toy nets by brute force."""

import pytest
import torch
from torch import Tensor, nn

from fftune.certified import margins
from fftune.certified.hypocritical import above_true
from fftune.certified.margins import decide
from fftune.config import ThreatModel

EPS = 0.05
THREAT = ThreatModel(eps=EPS)


def toy(seed: int) -> nn.Module:
    """Four classes of two pixels, of some curvature."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    net.requires_grad_(False)
    net[1].weight *= 6
    net[1].bias.copy_(-net[1].weight @ torch.rand(2) - net[1].bias)
    net[3].bias -= net(torch.rand(500, 1, 1, 2)).mean(0)  # else one class has it all
    return net


def grid(x: Tensor, side: int = 41) -> Tensor:
    """(side^2, 1, 1, 2) points of the ball around a (1, 1, 2) image."""
    ends = [(max(0.0, float(v) - EPS), min(1.0, float(v) + EPS)) for v in x.flatten()]
    first, second = (torch.linspace(*end, side) for end in ends)
    return torch.cartesian_prod(first, second).view(-1, 1, 1, 2)


def wrong_everywhere(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(B,) bool, by brute force on a grid of each ball."""
    return torch.stack(
        [(net(grid(one)).argmax(1) != label).all() for one, label in zip(x, y, strict=True)]
    )


def mistakes(seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A net, and images that it gets wrong: the labels are those that come second."""
    net = toy(seed)
    x = torch.rand(40, 1, 1, 2, generator=torch.Generator().manual_seed(seed))
    return net, x, net(x).argsort(1, descending=True)[:, 1]


def test_what_is_certified_wrong_is_wrong_at_every_point_of_the_grid() -> None:
    kept = truly = 0
    for seed in range(3):
        net, x, y = mistakes(seed)
        found = decide(net, x, y, threat=THREAT, kept="wrong", seconds=60.0).kept
        truth = wrong_everywhere(net, x, y)
        assert not (found & ~truth).any()
        kept, truly = kept + int(found.sum()), truly + int(truth.sum())
    assert 20 < truly < 110  # the task is neither trivial nor hopeless
    assert kept > 0.8 * truly


def test_the_other_sign_is_caught_by_brute_force(monkeypatch) -> None:
    """Bounds of z_y - z_j in place of z_j - z_y."""
    monkeypatch.setattr(margins, "above_true", lambda y, classes: -above_true(y, classes))
    net, x, y = mistakes(0)
    found = decide(net, x, y, threat=THREAT, kept="wrong", seconds=60.0).kept
    assert (found & ~wrong_everywhere(net, x, y)).any()


def linear(weight: list[list[float]], bias: list[float]) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, len(weight))).eval()
    net[1].weight.data, net[1].bias.data = torch.tensor(weight), torch.tensor(bias)
    return net.requires_grad_(False)


MIDDLE, ZERO = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])


@pytest.mark.parametrize(
    ("rivals", "kept"),
    [
        ([[0.0, 1.0], [0.0, -9.0]], True),  # one is above y, though the other is far below
        ([[0.0, -1.0], [0.0, -9.0]], False),  # y is above both
        ([[0.0, 0.0], [0.0, 0.0]], False),  # a tie is no mistake
    ],
)
def test_one_class_above_the_true_one_is_enough(rivals, kept) -> None:
    net = linear(
        [[0.0, 0.0], *([first, 0.0] for first, _ in rivals)], [0.0, *(b for _, b in rivals)]
    )
    found = decide(net, MIDDLE, ZERO, threat=THREAT, kept="wrong", seconds=60.0).kept
    asked = bool(net(MIDDLE).argmax(1) != 0)
    assert found.tolist() == [kept and asked]


def test_a_mean_of_classes_is_above_where_no_single_one_is() -> None:
    """z_1 and z_2 cross at the middle, and each falls below y; the larger one never does."""
    net = linear([[0.0, 0.0], [9.0, 0.0], [-9.0, 0.0]], [-0.2, -4.5 + 0.01, 4.5])
    found = decide(net, MIDDLE, ZERO, threat=THREAT, kept="wrong", seconds=60.0).kept
    assert found.tolist() == [True] == wrong_everywhere(net, MIDDLE[0:1], ZERO).tolist()


def test_images_that_are_right_are_not_asked_for_mistakes() -> None:
    net = toy(0)
    x = torch.rand(8, 1, 1, 2, generator=torch.Generator().manual_seed(1))
    y = net(x).argmax(1)
    assert not decide(net, x, y, threat=THREAT, kept="wrong", seconds=60.0).kept.any()
    assert not decide(net, x, (y + 1) % 4, threat=THREAT, kept="right", seconds=60.0).kept.any()
    none = decide(net, x[:0], y[:0], threat=THREAT, kept="right", seconds=60.0)
    assert none.kept.shape == none.late.shape == (0,)


def test_without_time_nothing_is_certified_and_that_is_told() -> None:
    """Intervals are taken in any case; what they leave open is late."""
    net, x, y = mistakes(0)
    patient = decide(net, x, y, threat=THREAT, kept="wrong", seconds=60.0)
    hasty = decide(net, x, y, threat=THREAT, kept="wrong", seconds=0.0)
    assert not (hasty.kept & ~patient.kept).any()
    assert hasty.late.any() and not patient.late.any()
    assert torch.equal(hasty.kept | hasty.late, torch.ones(40, dtype=torch.bool))
