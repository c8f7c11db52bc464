"""PGD and its cases against the loop written down a second time: every iterate of every goal."""

import plain_losses
import pytest
import torch
from nets import Recorded, images, smooth
from plain_pgd import pgd as plain_pgd
from torch import Tensor

from fftune.attacks import cw, fgsm, pgd, pgd_hedged
from fftune.attacks.losses import is_defined
from fftune.config import AttackConfig, ThreatModel
from fftune.errors import ConfigError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start

SHAPE = (2, 3, 4)
NOISE = Noise(3).fold("somewhere")
RADIUS = {"linf": 0.1, "l2": 0.4}
GOALS = ("adversarial", "targeted", "hypocritical", "stability", "hedge", "label_free")
LOSSES = ("ce", "margin", "dlr", "kl", "linear")
CASES = [
    (goal, loss)
    for goal in GOALS
    for loss in LOSSES
    # Untargeted DLR is flat where the label is third: there rounding alone would lead on.
    if is_defined(goal, loss) and (goal, loss) not in {("adversarial", "dlr"), ("stability", "dlr")}
]


def settings(norm: str, *, walls: bool = True, **more) -> AttackConfig:
    return AttackConfig(threat=ThreatModel(norm=norm, eps=RADIUS[norm], clamp=walls), **more)


def search(model, x, y, config, *, goal="adversarial", loss="ce", by=pgd) -> Tensor:
    kept = {"config": config, "goal": goal, "loss": loss, "noise": NOISE}
    return by(model, x, y, ids=torch.arange(len(x)) + 5, **kept)


def begin(x: Tensor, config: AttackConfig, job: int) -> Tensor:
    return start(x, config, ExampleNoise(NOISE.fold("pgd", job), torch.arange(len(x)) + 5))


def iterates(net, x, y, clean, config, *, goal="adversarial", loss="ce", job=0) -> list[Tensor]:
    """Of each example, (steps + 1, C, H, W). The label of a step is its own where y is (B, steps),
    and -1 stands for all of them."""
    found = []
    for row, x_start in enumerate(begin(x, config, job)):
        labels = y[row].tolist() if y.dim() == 2 else [int(y[row])] * config.steps

        def climbed(point: Tensor, k: int, row=row, labels=labels) -> Tensor:
            z = net(point[None])[0]
            if labels[k] < 0:
                return plain_losses.climbed(z, "hedge", loss if loss == "linear" else "ce", 0)
            return plain_losses.climbed(z, goal, loss, labels[k], clean[row])

        points = plain_pgd(
            climbed, x[row], x_start, steps=config.steps, length=config.step_length,
            norm=config.threat.norm, eps=config.threat.eps, walls=config.threat.clamp,
        )  # fmt: skip
        found.append(torch.stack(points))
    return found


def of_every_kind(clean: Tensor) -> Tensor:
    """Labels first, second and last in the order of three examples' logits."""
    order = clean.argsort(1, descending=True)
    return torch.stack([order[0, 0], order[1, 1], order[2, -1]])


@pytest.mark.some(40)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("begins", ["uniform", "gaussian", "none"])
@pytest.mark.parametrize(("goal", "loss"), CASES)
def test_every_iterate_is_that_of_the_plain_loop(goal, loss, begins, norm) -> None:
    net, x = smooth(4, SHAPE, 1), images(3, SHAPE, 2)
    if (goal, loss) == ("stability", "kl") and begins == "none":
        begins = "narrow"  # at x itself the divergence is flat
    clean = net(x).detach()
    y, config = of_every_kind(clean), settings(norm, steps=5, start=begins, step_size=0.07)
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, config, goal=goal, loss=loss)
    asked = recorded.asked[-5:]
    for row, points in enumerate(iterates(net, x, y, clean, config, goal=goal, loss=loss)):
        ours = torch.stack([*(batch[row] for batch in asked), x_pert[row]])
        torch.testing.assert_close(ours, points, rtol=0, atol=1e-9)
    needs_clean = goal in ("stability", "label_free")
    assert recorded.wanted == [False] * needs_clean + [True] * 5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_walls_it_leaves_the_box_and_keeps_to_the_ball(norm) -> None:
    net, x = smooth(4, SHAPE, 1), images(3, SHAPE, 2)
    clean = net(x).detach()
    y, config = clean.argmax(1), settings(norm, steps=4, walls=False)
    x_pert = search(net, x, y, config)
    for row, points in enumerate(iterates(net, x, y, clean, config)):
        torch.testing.assert_close(x_pert[row], points[-1], rtol=0, atol=1e-9)
    assert float(x_pert.min()) < 0 and float(x_pert.max()) > 1


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize("loss", ["ce", "margin", "linear"])
def test_each_step_climbs_the_label_of_its_turn(loss, goal) -> None:
    """-1 stands for all classes, whose cross-entropy is climbed whatever the loss."""
    net, x = smooth(4, SHAPE, 1), images(3, SHAPE, 2)
    clean, config = net(x).detach(), settings("linf", steps=4)
    y = torch.tensor([[0, -1, 2, 3], [1, -1, 1, 0], [2, -1, 0, 0]])
    x_pert = search(net, x, y, config, goal=goal, loss=loss)
    for row, points in enumerate(iterates(net, x, y, clean, config, goal=goal, loss=loss)):
        torch.testing.assert_close(x_pert[row], points[-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
def test_pgd_hedged_takes_a_hedge_step_after_each_of_its_own(goal, steps) -> None:
    net, x = smooth(4, SHAPE, 1), images(3, SHAPE, 2)
    clean = net(x).detach()
    y = of_every_kind(clean)
    config = settings("linf", steps=steps)
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, config, goal=goal, by=pgd_hedged)
    assert len(recorded.asked) == 2 * steps
    turns = torch.stack([y, torch.tensor([-1, -1, -1])] * steps, 1) if steps else y[:, None]
    twice = settings("linf", steps=2 * steps)
    for row, points in enumerate(iterates(net, x, turns, clean, twice, goal=goal)):
        torch.testing.assert_close(x_pert[row], points[-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2])
def test_pgd_hedged_keeps_the_step_size_that_it_is_given(steps) -> None:
    net, x = smooth(4, SHAPE, 1), images(3, SHAPE, 2)
    y = of_every_kind(net(x).detach())
    config = settings("linf", steps=steps, step_size=0.01, start="none")
    x_pert = search(net, x, y, config, by=pgd_hedged)
    assert float((x_pert - x).abs().max()) == pytest.approx(2 * steps * 0.01)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("goal", ["adversarial", "targeted"])
def test_fgsm_is_one_step_of_the_whole_radius_from_x(goal, norm) -> None:
    """Whatever steps, step size, start and restarts the settings have."""
    net, x = smooth(4, SHAPE, 1), images(3, SHAPE, 2)
    clean = net(x).detach()
    y = of_every_kind(clean)
    recorded = Recorded(net)
    given = settings(norm, steps=7, step_size=0.001, restarts=3)
    x_pert = search(recorded, x, y, given, goal=goal, by=fgsm)
    one = settings(norm, steps=1, step_size=RADIUS[norm], start="none")
    for row, points in enumerate(iterates(net, x, y, clean, one, goal=goal)):
        torch.testing.assert_close(x_pert[row], points[-1], rtol=0, atol=1e-9)
    assert [len(batch) for batch in recorded.asked] == [3]


def test_cw_is_pgd_on_the_margin_and_takes_no_other_loss() -> None:
    net, x = smooth(4, SHAPE, 1), images(3, SHAPE, 2)
    clean = net(x).detach()
    y, config = clean.argmax(1), settings("linf", steps=4)
    x_pert = search(net, x, y, config, loss="margin", by=cw)
    for row, points in enumerate(iterates(net, x, y, clean, config, loss="margin")):
        torch.testing.assert_close(x_pert[row], points[-1], rtol=0, atol=1e-9)
    with pytest.raises(ConfigError, match="loss of 'cw' must be 'margin', got 'ce'"):
        search(net, x, y, config, loss="ce", by=cw)


def runs_of(net, x, y, clean, config, jobs: int) -> list[list[tuple[Tensor, list[bool], list]]]:
    """Of each example and restart: its iterates, who of them succeed, their losses."""
    every = [iterates(net, x, y, clean, config, job=job) for job in range(jobs)]
    found = []
    for row in range(len(x)):
        tried = []
        for job in range(jobs):
            logits = [net(point[None])[0].detach() for point in every[job][row]]
            won = [plain_losses.reached(z, "adversarial", int(y[row])) for z in logits]
            losses = [float(plain_losses.ce(z, int(y[row]))) for z in logits]
            tried.append((every[job][row], won, losses))
        found.append(tried)
    return found


@pytest.mark.parametrize("restarts", [2, 5])
def test_of_several_restarts_the_first_whose_last_iterate_succeeds_is_returned(restarts) -> None:
    """Else the first of all. The steps are so short that each restart ends where it begins."""
    later = 0
    for seed in (6, 7, 8):
        net, x = smooth(3, SHAPE, seed), images(8, SHAPE, seed)
        clean = net(x).detach()
        y, config = clean.argmax(1), settings("linf", steps=2, step_size=0.002, restarts=restarts)
        x_pert = search(net, x, y, config)
        for row, tried in enumerate(runs_of(net, x, y, clean, config, restarts)):
            ends = [points[-1] for points, won, _ in tried if won[-1]] or [tried[0][0][-1]]
            later += not torch.equal(ends[0], tried[0][0][-1])
            torch.testing.assert_close(x_pert[row], ends[0], rtol=0, atol=1e-9)
    assert later  # somebody needs more than the first


@pytest.mark.parametrize("seed", [6, 7, 8])
def test_under_strong_an_example_leaves_with_its_first_success(seed) -> None:
    """x itself is tried first, restarts go side by side, failures keep their best iterate."""
    net, x, steps = smooth(3, SHAPE, seed), images(8, SHAPE, seed), 4
    clean = net(x).detach()
    y = clean.argmax(1)
    y[0] = (y[0] + 1) % 3
    config = settings("linf", steps=steps, step_size=0.01, restarts=3, protocol="first_success")
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, config)
    assert torch.equal(x_pert[0], x[0])
    left = [-1]
    for row, tried in enumerate(runs_of(net, x, y, clean, config, 3)):
        if row == 0:
            continue
        hits = [i for i in range(steps + 1) if any(won[i] for _, won, _ in tried)]
        left.append(hits[0] if hits else steps)
        candidates = [(False, float(plain_losses.ce(clean[row], int(y[row]))), x[row])] + [
            (won[i], losses[i], points[i])
            for points, won, losses in tried
            for i in (hits[:1] or range(steps + 1))
        ]
        best = max(candidates, key=lambda at: at[:2])[2]
        torch.testing.assert_close(x_pert[row], best, rtol=0, atol=1e-9)
    sizes = [3 * sum(at >= i for at in left) for i in range(steps + 1)]
    assert [len(batch) for batch in recorded.asked] == [8, *(n for n in sizes if n)]
    assert recorded.wanted == [False, *[True] * steps, False][: len(recorded.asked)]


def test_the_goal_has_no_part_in_the_start() -> None:
    net, x = smooth(3, SHAPE, 1), images(3, SHAPE, 1)
    config = settings("linf", steps=0)
    ends = [
        search(net, x, torch.zeros(3).long(), config, goal=goal)
        for goal in ("adversarial", "targeted", "hedge")
    ]
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])
    assert torch.equal(ends[0], begin(x, config, 0))
