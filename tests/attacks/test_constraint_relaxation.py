"""The CR attack against its cycles written down a second time, and on nets with known answers."""

from dataclasses import replace

import plain_cr
import plain_losses
import pytest
import torch
from nets import images, smooth
from plain_pgd import pgd as plain_pgd
from torch import Tensor, nn

from fftune.attacks import attack_spec, cr, success
from fftune.attacks.query_counter import QueryCounter
from fftune.config import AttackConfig, ThreatModel
from fftune.errors import ConfigError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start

SHAPE, COUNT = (2, 3, 4), 12
NOISE = Noise(3).fold("somewhere")
RADIUS = {"linf": 0.1, "l2": 0.3}


def settings(norm: str, **more) -> AttackConfig:
    return AttackConfig(threat=ThreatModel(norm=norm, eps=RADIUS[norm]), search="cr", **more)


def moved(x: Tensor, config: AttackConfig, id_: int, *branch, eps: float | None = None) -> Tensor:
    """A uniform draw around one (C, H, W) point, of this branch and example."""
    threat = replace(config.threat, eps=config.threat.eps if eps is None else eps)
    noise = ExampleNoise(NOISE.fold(*branch), torch.tensor([id_]))
    return start(x[None], replace(config, threat=threat), noise)[0]


class Example:
    """One example of a search, asked in plain words."""

    def __init__(self, net, x: Tensor, y: int, id_: int, goal: str, config: AttackConfig) -> None:
        self.net, self.x, self.y, self.id, self.goal, self.config = net, x, y, id_, goal, config
        self.clean, self.passes = net(x[None])[0].detach(), plain_cr.Passes()

    def reached(self, z: Tensor) -> bool:
        return plain_losses.reached(z, self.goal, self.y, self.clean)

    def first(self) -> tuple[Tensor, bool, list[int]]:
        """Where a short PGD ends, its success, and the likeliest other classes there."""
        eps, norm = self.config.threat.eps, self.config.threat.norm

        def ce(point: Tensor, _step: int = 0) -> Tensor:
            return plain_losses.climbed(self.net(point[None])[0], self.goal, "ce", self.y)

        begun = moved(self.x, self.config, self.id, "cr", "pgd", 0)
        walk = plain_pgd(
            ce, self.x, begun, steps=self.config.steps // 15, length=eps / 2, norm=norm, eps=eps
        )
        best = walk[0]
        for k, point in enumerate(walk):
            self.passes.forwards += 1
            self.passes.backwards += k < len(walk) - 1
            if self.reached(self.net(point[None])[0]):
                best = point
                break
            best = max(best, point, key=lambda p: float(ce(p).detach()))
        self.passes.forwards += 1
        z = self.net(best[None])[0]
        order = [int(j) for j in z.argsort(descending=True) if int(j) != self.y]
        return best, self.reached(z), order

    def search(self) -> tuple[Tensor, bool]:
        """The first success of all, and whether there is one."""
        if self.reached(self.clean):
            return self.x, True
        best, won, order = self.first()
        if won:
            return best, True
        targets = order[: self.config.targets] if self.goal == "adversarial" else []
        near = dict.fromkeys(range(max(len(targets), 1)), True)
        for job in range(len(near) * self.config.restarts):
            which = job % len(near)
            if near[which]:
                target = targets[which] if targets else None
                found, nearest = self.climb(job, target)
                if found is not None:
                    return found, True
                near[which] = nearest > -0.025 * self.unit
        return best, False

    def climb(self, job: int, target: int | None) -> tuple[Tensor | None, float]:
        """The first success of one job, if any, and the largest lead."""

        def ask(point: Tensor) -> tuple[float, Tensor, bool]:
            point = point.clone().requires_grad_(True)
            z = self.net(point[None])[0]
            lead = plain_losses.climbed(z, self.goal, "margin", self.y, target=target)
            return float(lead.detach()), torch.autograd.grad(lead, point)[0], self.reached(z)

        def draw(cycle: int, point: Tensor, by: float) -> Tensor:
            return moved(point, self.config, self.id, "cr", "moved", cycle, job, eps=by)

        threat, nearest = self.config.threat, -torch.inf
        for point, lead, won in plain_cr.points(
            ask, self.x, moved(self.x, self.config, self.id, "cr", job), draw,
            steps=self.config.steps, norm=threat.norm, eps=threat.eps, unit=self.unit,
            passes=self.passes,
        ):  # fmt: skip
            nearest = max(nearest, lead)
            if won:
                return point, nearest
        return None, nearest

    @property
    def unit(self) -> float:
        return float(self.clean.std(correction=0))


@pytest.mark.some(4)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize(("steps", "targets"), [(45, 2), (30, 0), (7, 9)])
def test_points_and_passes_are_those_of_the_plain_search(steps, targets, goal, norm) -> None:
    net, x = smooth(4, SHAPE, 1), images(COUNT, SHAPE, 2)
    order = net(x).argsort(1, descending=True)
    y = order[:, 2] if goal == "hypocritical" else order[:, 0]
    y[0] = order[0, 0] if goal == "hypocritical" else order[0, 1]  # reached at x itself
    config = settings(norm, steps=steps, targets=targets, restarts=3)
    counted = QueryCounter(net, net(x).detach())
    ids = torch.arange(COUNT) + 5
    x_pert = cr(counted, x, y, config=config, goal=goal, loss="margin", noise=NOISE, ids=ids)
    won = success(goal, net(x_pert).argmax(1), net(x).argmax(1), y)
    plain = [Example(net, x[i], int(y[i]), i + 5, goal, config) for i in range(COUNT)]
    found = [example.search() for example in plain]
    assert won.tolist() == [reached for _, reached in found]
    assert 1 < int(won.sum()) < COUNT  # else nothing was told apart
    assert counted.forwards.tolist() == [example.passes.forwards for example in plain]
    assert counted.backwards.tolist() == [example.passes.backwards for example in plain]
    for ours, (point, reached) in zip(x_pert, found, strict=True):
        if reached:
            torch.testing.assert_close(ours, point, rtol=0, atol=1e-12)


class Ridge(nn.Module):
    """Two classes in one dimension: class 1 wins at the rim of the ball, behind a valley.

    The lead of class 1 falls from x = 0.5 to 0.56 and rises steeply from there to 0.6.
    """

    def forward(self, x: Tensor) -> Tensor:
        u = x.flatten(1)[:, 0] - 0.5
        lead = -0.3 - u.clamp(max=0.06) + 20 * (u - 0.06).clamp_min(0)
        return torch.stack([torch.zeros_like(lead), lead], 1)


def test_the_wider_ball_and_the_random_move_cross_a_valley() -> None:
    """A false friend that starts at x walks to the other side, and so does PGD for ever."""
    x, y = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.tensor([1])
    kept = {"goal": "hypocritical", "noise": NOISE, "ids": torch.arange(1)}
    config = AttackConfig(threat=ThreatModel(eps=0.1), search="cr", steps=150, restarts=5)
    net = Ridge()
    still = replace(config, search="pgd", start="none", restarts=1, protocol="first_success")
    x_pgd = attack_spec("pgd").run(net, x, y, config=still, loss="margin", **kept)
    x_cr = cr(net, x, y, config=config, loss="margin", **kept)
    assert net(x_pgd).argmax(1) == 0 and net(x_cr).argmax(1) == 1


def test_thresholds_do_not_mind_the_scale_of_the_logits() -> None:
    """With two classes the direction of no loss does either."""
    net, x = smooth(2, SHAPE, 1), images(COUNT, SHAPE, 2)
    y = net(x).argmax(1)
    config = settings("linf", steps=30, restarts=2)
    counts = []
    for factor in (1, 20):
        hot = nn.Sequential(net, Times(factor))
        counted = QueryCounter(hot, hot(x).detach())
        cr(
            counted, x, y, config=config, goal="adversarial", loss="margin", noise=NOISE,
            ids=torch.arange(COUNT),
        )  # fmt: skip
        counts.append(counted.counts[:2])
    assert torch.equal(*counts) and len(counts[0][0].unique()) > 2


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, z: Tensor) -> Tensor:
        return self.factor * z


class Near(nn.Module):
    """A rival so near that no row is given up, and never reached."""

    def forward(self, x: Tensor) -> Tensor:
        way = 1e-4 * x.flatten(1).mean(1)
        return torch.stack([torch.zeros_like(way), way - 0.01, torch.full_like(way, -10)], 1)


@pytest.mark.parametrize("steps", [4, 16, 31, 44, 45, 152])
def test_whatever_the_number_of_steps_no_more_are_taken(steps) -> None:
    """Where they are no multiple of the cycles, the last cycle is cut short."""
    x, y = images(2, SHAPE, 1), torch.zeros(2, dtype=torch.int64)
    counted = QueryCounter(Near(), Near()(x))
    config = settings("linf", steps=steps)
    kept = {"config": config, "goal": "adversarial", "noise": NOISE, "ids": torch.arange(2)}
    cr(counted, x, y, loss="margin", **kept)
    assert counted.backwards.tolist() == [steps // 15 + steps] * 2


def test_it_climbs_the_margin_alone_and_hands_over_the_first_success_alone() -> None:
    assert attack_spec("cr").losses == ("margin",)
    assert attack_spec("cr").protocols == ("first_success",)
    with pytest.raises(ConfigError, match="loss of 'cr' must be 'margin', got 'ce'"):
        cr(
            smooth(4, SHAPE, 1), images(1, SHAPE, 2), torch.tensor([0]), config=settings("linf"),
            goal="adversarial", loss="ce", noise=NOISE, ids=torch.arange(1),
        )  # fmt: skip
