"""DeepFool and RayS against their algorithms written down a second time, point by point."""

import plain_deepfool
import plain_losses
import plain_rays
import pytest
import torch
from nets import Recorded, images, smooth
from plain_box_projection import length
from torch import Tensor, nn

from fftune.attacks import deepfool, rays
from fftune.config import AttackConfig, ThreatModel
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise

SHAPE = (2, 3, 3)
GOALS = ("adversarial", "targeted", "hypocritical", "stability")
RADIUS = {"linf": 0.12, "l2": 0.4}


def search(by, model, x, y, *, norm="linf", goal="adversarial", eps=None, **settings) -> Tensor:
    threat = ThreatModel(norm=norm, eps=RADIUS[norm] if eps is None else eps)
    config = AttackConfig(threat=threat, **settings)
    kept = {"config": config, "goal": goal, "loss": "margin", "noise": Noise(0)}
    return by(model, x, y, ids=torch.arange(len(x)), **kept)


def case(goal: str, seed: int, count: int = 6, classes: int = 4):
    """A net, images, labels that are not yet served, and the clean logits; the last one is."""
    net, x = smooth(classes, SHAPE, seed), images(count, SHAPE, seed)
    clean = net(x).detach()
    order = clean.argsort(1, descending=True)
    y = order[:, 0] if goal in ("adversarial", "stability") else order[:, 1]
    if goal != "stability":
        y[-1] = order[-1, 1] if goal == "adversarial" else order[-1, 0]
    return net, x, y, clean


def toward(goal: str) -> bool:
    return goal in ("targeted", "hypocritical")


def plain_points(net, x, y: int, clean, *, goal, norm, steps, targets):
    """Alg. 2 for one example: an adversary looks at the boundaries to the `targets` classes that
    are likeliest where it stands (0: all), a friend at its label's strongest rival."""
    label = int(clean.argmax()) if goal == "stability" else y

    def reached(point: Tensor) -> bool:
        return plain_losses.reached(net(point[None])[0], goal, y, clean)

    def exits(point: Tensor) -> list[tuple[float, Tensor]]:
        point = point.clone().requires_grad_(True)
        z = net(point[None])[0]
        others = [int(k) for k in z.argsort(descending=True) if int(k) != label]
        if toward(goal):
            leads = [z[label] - z[others[0]]]
        else:
            leads = [z[k] - z[label] for k in others[: targets or None]]
        return [
            (float(f.detach()), torch.autograd.grad(f, point, retain_graph=True)[0]) for f in leads
        ]

    return plain_deepfool.deepfool(exits, reached, x, steps=steps, norm=norm)


@pytest.mark.some(8)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("targets", "steps"), [(0, 4), (1, 3), (2, 4), (9, 1)])
def test_every_step_of_deepfool_is_that_of_the_algorithm(targets, steps, goal, norm) -> None:
    net, x, y, clean = case(goal, 1)
    recorded = Recorded(net)
    x_pert = search(deepfool, recorded, x, y, norm=norm, goal=goal, steps=steps, targets=targets)
    found = [
        plain_points(
            net, x[row], int(y[row]), clean[row], goal=goal, norm=norm, steps=steps, targets=targets
        )
        for row in range(len(x))
    ]
    asked = [
        batch for batch, wanted in zip(recorded.asked, recorded.wanted, strict=True) if not wanted
    ]
    asked = asked[len(asked) - max(len(points) for points, _ in found) :]
    for i, batch in enumerate(asked):
        theirs = torch.stack([points[i] for points, _ in found if len(points) > i])
        torch.testing.assert_close(batch, theirs, rtol=0, atol=1e-5)
    inside = 0
    for row, (points, won) in enumerate(found):
        max_concurrent = won and length(points[-1] - x[row], norm) <= RADIUS[norm]
        inside += max_concurrent
        expected = points[-1] if max_concurrent else x[row]
        torch.testing.assert_close(x_pert[row], expected, rtol=0, atol=1e-5)
    assert inside >= 2


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize("protocol", ["best_loss", "first_success"])
def test_a_crossing_outside_the_ball_is_none_and_is_not_searched_on(protocol, goal) -> None:
    net, x, y, _ = case(goal, 1)
    far = search(deepfool, net, x[:-1], y[:-1], goal=goal, eps=1, steps=20)
    away = (far - x[:-1]).abs().flatten(1).amax(1)
    assert float(away.min()) > 0
    recorded = [Recorded(net), Recorded(net)]
    near = search(
        deepfool, recorded[0], x[:-1], y[:-1], goal=goal, eps=float(away.min()) / 2, steps=20,
        protocol=protocol,
    )  # fmt: skip
    assert torch.equal(near, x[:-1])
    search(deepfool, recorded[1], x[:-1], y[:-1], goal=goal, eps=1, steps=20, protocol=protocol)
    sizes = [[len(batch) for batch in net.asked] for net in recorded]
    assert sizes[0] == sizes[1]


class Cornered(nn.Module):
    """Class 0 leads class 1 by 1 wherever one goes, and class 2 by a sum of pixels."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        zero = 0 * total
        return torch.stack([zero, zero - 1e-3, total - 1], 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_flat_boundary_is_no_exit(norm) -> None:
    """Class 1 is nearer by its logit, and cannot be reached."""
    x = torch.full((1, 1, 1, 4), 0.2, dtype=torch.float64)
    x_pert = search(deepfool, Cornered(), x, torch.tensor([0]), norm=norm, steps=3, eps=1)
    step = 1.02 * 0.05
    torch.testing.assert_close(x_pert, x + step, rtol=0, atol=1e-6)


def test_where_all_boundaries_are_flat_it_stays() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            zero = 0 * x.flatten(1).sum(1)
            return torch.stack([zero + 1, zero], 1)

    x = torch.full((2, 1, 1, 4), 0.2)
    x_pert = search(deepfool, Flat(), x, torch.tensor([0, 0]), steps=3)
    assert torch.equal(x_pert, x)


@pytest.mark.some(8)
@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("queries", "eps"), [(1, 0.1), (2, 0.1), (40, 0.12), (150, 0.03)])
@pytest.mark.parametrize("protocol", ["best_loss", "first_success"])
def test_rays_asks_what_the_algorithm_asks_and_ends_where_it_does(
    protocol, queries, eps, goal
) -> None:
    """One example at a time, so that every question is seen; then all of them together."""
    net, x, y, clean = case(goal, 2)
    kept = {"goal": goal, "steps": queries, "eps": eps, "protocol": protocol}
    together = search(rays, net, x, y, **kept)
    for row in range(len(x)):

        def reached(point: Tensor, row=row) -> bool:
            z = net(point[None])[0]
            return plain_losses.reached(z, goal, int(y[row]), clean[row])

        asked, end = plain_rays.rays(reached, x[row], eps=eps, queries=queries, friend=toward(goal))
        one, recorded = slice(row, row + 1), Recorded(net)
        x_pert = search(rays, recorded, x[one], y[one], **kept)
        extra = int(protocol == "first_success" or goal == "stability")
        if protocol == "first_success" and reached(x[row]):
            asked = []  # told by the clean logits
        theirs = torch.stack(asked) if asked else x[:0]
        ours = torch.cat(recorded.asked[extra:]) if asked else x[:0]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
        torch.testing.assert_close(x_pert[0], end, rtol=0, atol=1e-9)
        torch.testing.assert_close(together[row], end, rtol=0, atol=1e-9)


def test_rays_is_for_linf() -> None:
    net, x, y, _ = case("adversarial", 2)
    with pytest.raises(ConfigError, match="norm of 'rays' must be 'linf', got 'l2'"):
        search(rays, net, x, y, norm="l2")


def test_no_example_is_no_search() -> None:
    net, x, y, _ = case("adversarial", 2)
    for by in (rays, deepfool):
        assert search(by, net, x[:0], y[:0], steps=3).shape == (0, *SHAPE)
