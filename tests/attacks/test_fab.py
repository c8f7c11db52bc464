"""FAB against alg. 1 written down a second time, iterate by iterate."""

import plain_fab
import plain_losses
import pytest
import torch
from nets import Recorded, images, smooth
from plain_box_projection import length
from torch import Tensor

from fftune.attacks import fab
from fftune.attacks.fab import offered_nearest
from fftune.attacks.iteration import BatchState
from fftune.config import AttackConfig, ThreatModel
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import distance, start

SHAPE = (2, 3, 4)
NOISE = Noise(3).fold("somewhere")
RADIUS = {"linf": 0.15, "l2": 0.5}


def search(model, x, y, *, norm, goal="adversarial", eps=None, **settings) -> Tensor:
    threat = ThreatModel(norm=norm, eps=RADIUS[norm] if eps is None else eps)
    config = AttackConfig(threat=threat, search="fab", **settings)
    ids = torch.arange(len(x)) + 5
    kept = {"config": config, "goal": goal, "loss": "margin", "noise": NOISE, "ids": ids}
    return fab(model, x, y, **kept)


def plain(net, x, y: int, x_start, *, norm, goal, steps, clean=None, target=None):
    """(points, across) of alg. 1 for one example (C, H, W)."""

    def lead(point: Tensor) -> tuple[float, Tensor]:
        point = point.clone().requires_grad_(True)
        z = net(point[None])[0]
        value = plain_losses.climbed(z, goal, "margin", y, clean, target)
        return float(value.detach()), torch.autograd.grad(value, point)[0]

    def reached(point: Tensor) -> bool:
        return plain_losses.reached(net(point[None])[0], goal, y, clean)

    return plain_fab.fab(lead, reached, x, x_start, steps=steps, norm=norm)


def nearest(tried: list[tuple[list[Tensor], list[bool]]], x: Tensor, norm: str, eps: float):
    """The nearest success in the ball, the first of equals, else x; and its length."""
    best, away = x, torch.inf
    for points, across in tried:
        for point, won in zip(points, across, strict=True):
            if won and length(point - x, norm) <= min(eps, away - 1e-12):
                best, away = point, length(point - x, norm)
    return best


def labels(clean: Tensor, goal: str) -> Tensor:
    """Whom the goal is not yet reached for."""
    order = clean.argsort(1, descending=True)
    return order[:, 1] if goal in ("targeted", "hypocritical") else order[:, 0]


@pytest.mark.some(3)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("goal", ["adversarial", "targeted", "hypocritical", "stability"])
def test_every_iterate_is_that_of_the_algorithm(goal, norm) -> None:
    net, x, steps = smooth(4, SHAPE, 1), images(4, SHAPE, 2), 8
    clean = net(x).detach()
    y = labels(clean, goal)
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, norm=norm, goal=goal, steps=steps)
    asked = [
        batch
        for batch, wanted in zip(recorded.asked, recorded.wanted, strict=True)
        if not wanted
    ][-steps - 1 :]  # fmt: skip
    met = 0
    for row in range(4):
        tried = plain(
            net, x[row], int(y[row]), x[row], norm=norm, goal=goal, steps=steps, clean=clean[row]
        )
        ours = torch.stack([batch[row] for batch in asked])
        torch.testing.assert_close(ours, torch.stack(tried[0]), rtol=0, atol=1e-5)
        best = nearest([tried], x[row], norm, RADIUS[norm])
        torch.testing.assert_close(x_pert[row], best, rtol=0, atol=1e-5)
        met += not torch.equal(best, x[row])
    assert met >= 2  # else nothing was compared


def restarted(x: Tensor, job: int, norm: str) -> Tensor:
    """Where a later restart begins: in the ball of half the radius."""
    half = AttackConfig(threat=ThreatModel(norm=norm, eps=RADIUS[norm] / 2))
    return start(x, half, ExampleNoise(NOISE.fold("fab", job), torch.arange(len(x)) + 5))


@pytest.mark.some(1)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targets", [0, 2])
def test_the_first_restart_begins_at_x_and_later_ones_at_half_the_radius(targets, norm) -> None:
    net, x, steps, jobs = smooth(4, SHAPE, 1), images(3, SHAPE, 2), 4, 3 * max(1, targets)
    clean = net(x).detach()
    y = labels(clean, "adversarial")
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, norm=norm, steps=steps, restarts=3, targets=targets)
    asked = recorded.asked[1::2] if targets else recorded.asked[::2]
    assert {len(batch) for batch in asked} == {3 * jobs}
    for row in range(3):
        others = [int(k) for k in clean[row].argsort(descending=True) if int(k) != int(y[row])]
        every = []
        for job in range(jobs):
            first = job < max(1, targets)
            begin = x[row] if first else restarted(x, job, norm)[row]
            every.append(
                plain(
                    net, x[row], int(y[row]), begin, norm=norm, goal="adversarial", steps=steps,
                    target=others[job % targets] if targets else None,
                )
            )  # fmt: skip
            ours = torch.stack([batch[3 * job + row] for batch in asked])
            torch.testing.assert_close(ours, torch.stack(every[-1][0]), rtol=0, atol=1e-5)
        best = nearest(every, x[row], norm, RADIUS[norm])
        torch.testing.assert_close(x_pert[row], best, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_later_restarts_begin_within_half_the_radius(norm) -> None:
    """Far from the walls the starts of many restarts fill that ball, and leave it nowhere."""
    net, x = smooth(3, SHAPE, 1), torch.full((2, *SHAPE), 0.5, dtype=torch.float64)
    recorded = Recorded(net)
    search(recorded, x, net(x).argmax(1), norm=norm, eps=0.2, steps=0, restarts=40)
    away = distance(recorded.asked[0], x.repeat(40, 1, 1, 1), norm)
    assert away[:2].tolist() == [0, 0]
    assert float(away[2:].min()) > 0.05 and 0.095 < float(away[2:].max()) <= 0.1 + 1e-9


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_lies_outside_the_ball_is_no_success(norm) -> None:
    net, x = smooth(4, SHAPE, 1), images(4, SHAPE, 2)
    y = net(x).argmax(1)
    x_far = search(net, x, y, norm=norm, eps=1, steps=20)
    away = distance(x_far, x, norm)
    assert bool((net(x_far).argmax(1) != y).all())
    for row in range(4):
        one = slice(row, row + 1)
        for share, found in ((1.001, True), (0.9, False)):
            eps = share * float(away[row])
            x_pert = search(net, x[one], y[one], norm=norm, eps=eps, steps=20)
            assert bool(net(x_pert).argmax(1) != y[one]) == found
            assert torch.equal(x_pert, x[one]) != found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_under_strong_the_first_success_in_the_ball_ends_the_search(norm) -> None:
    net, x, steps = smooth(4, SHAPE, 1), images(4, SHAPE, 2), 8
    y = net(x).argmax(1)
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, norm=norm, steps=steps, protocol="first_success")
    left = []
    for row in range(4):
        points, across = plain(
            net, x[row], int(y[row]), x[row], norm=norm, goal="adversarial", steps=steps
        )
        hits = [
            i
            for i in range(steps + 1)
            if across[i] and length(points[i] - x[row], norm) <= RADIUS[norm]
        ]
        left.append(hits[0] if hits else steps)
        expected = points[hits[0]] if hits else x[row]
        torch.testing.assert_close(x_pert[row], expected, rtol=0, atol=1e-5)
    queries = [len(batch) for batch in recorded.asked[1::2]]
    assert queries == [n for i in range(steps + 1) if (n := sum(at >= i for at in left))]


def test_what_is_wrong_already_stays_as_it_is() -> None:
    net, x = smooth(4, SHAPE, 1), images(4, SHAPE, 2)
    y = (net(x).argmax(1) + torch.tensor([0, 1, 0, 1])) % 4
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, norm="linf", steps=3)
    assert torch.equal(x_pert[1::2], x[1::2])
    assert [len(batch) for batch in recorded.asked] == [4, 2, 2, 2, 2, 2, 2]


class Flat(torch.nn.Module):
    """Class 0 leads everywhere, or class 1 does beyond a mean of .75."""

    def __init__(self, reach: bool) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).mean(1) - 0.75
        return torch.stack([0 * total, total + 1e-9 if self.reach else 0 * total - 1], 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_where_there_is_no_gradient_it_stays_at_x(norm) -> None:
    x, recorded = images(2, SHAPE, 2), Recorded(Flat(reach=False))
    search(recorded, x, torch.zeros(2).long(), norm=norm, steps=3)
    for asked in recorded.asked:
        torch.testing.assert_close(asked, x)


def test_a_success_on_the_surface_of_the_ball_lies_inside() -> None:
    x = torch.full((1, *SHAPE), 0.5, dtype=torch.float64)
    far, threat = x + 0.25, ThreatModel(norm="linf", eps=0.25)
    won = torch.tensor([True])
    found = offered_nearest(BatchState.begin(x), x, far, won, threat, stop=False)
    assert torch.equal(found.x, far) and found.score.tolist() == [-0.25]
