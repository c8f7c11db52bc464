"""Auto-PGD against alg. 1 written down a second time: every iterate, loss and step length."""

import importlib

import plain_apgd
import plain_losses
import pytest
import torch
from nets import Recorded, Scripted, images, smooth
from torch import Tensor

from fftune.attacks import apgd, success
from fftune.config import AttackConfig, ThreatModel
from fftune.errors import ModelError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start

SHAPE = (2, 3, 4)
NOISE = Noise(3).fold("somewhere")
RADIUS = {"linf": 0.1, "l2": 0.4}


def search(model, x, y, *, goal="adversarial", loss="ce", norm="linf", ids=None, **settings):
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=RADIUS[norm]), **settings)
    ids = torch.arange(len(x)) + 5 if ids is None else ids
    kept = {"config": config, "goal": goal, "loss": loss, "noise": NOISE, "ids": ids}
    return apgd(model, x, y, **kept)


def begin(x: Tensor, job: int, norm: str) -> Tensor:
    """Where the search begins: the draw of this attack, this job and this example."""
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=RADIUS[norm]))
    return start(x, config, ExampleNoise(NOISE.fold("apgd", job), torch.arange(len(x)) + 5))


def plain(net, x, y: int, x_start, clean, *, goal, loss, norm, steps, target=None):
    """Alg. 1 for one example of (C, H, W): points, losses, lengths, best, and who succeeds."""

    def logits(point: Tensor) -> Tensor:
        return net(point[None])[0]

    def ask(point: Tensor) -> tuple[float, Tensor]:
        point = point.clone().requires_grad_(True)
        value = plain_losses.climbed(logits(point), goal, loss, y, clean, target)
        return float(value.detach()), torch.autograd.grad(value, point)[0]

    found = plain_apgd.apgd(ask, x, x_start, steps=steps, norm=norm, eps=RADIUS[norm])
    won = [plain_losses.reached(logits(point), goal, y, clean) for point in found[0]]
    return *found, won


@pytest.fixture
def lengths(monkeypatch) -> list[Tensor]:
    """The length of every step, as it is taken."""
    module, taken = importlib.import_module("fftune.attacks.apgd"), []
    step = module.step

    def noted(x, grad, length, norm):
        taken.append(length.flatten().clone())
        return step(x, grad, length, norm)

    monkeypatch.setattr(module, "step", noted)
    return taken


def script(steps: int, seed: int, kind: str) -> Scripted:
    """Losses that mostly rise, that wander over a few values, or that do nothing."""
    rng = torch.Generator().manual_seed(seed)
    chance = torch.tensor([0.97, 0.75, 0.4])  # of each row to rise
    steps_up = torch.rand(steps + 1, 3, generator=rng) < chance
    if kind == "wander":
        leads = -torch.randint(1, 4, (steps + 1, 3), generator=rng).double()
    else:
        leads = -50 + torch.where(steps_up, 0.25, -0.25).double().cumsum(0)
    gradients = torch.randn(steps + 1, 3, *SHAPE, generator=rng, dtype=torch.float64)
    return Scripted(leads, gradients)


@pytest.mark.some(20)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["climb", "wander"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 9, 10, 14, 20, 25, 34, 50, 67, 100])
def test_whatever_the_losses_do_every_iterate_is_that_of_the_algorithm(
    steps, kind, norm, lengths
) -> None:
    """The net's answers are dictated, so that each row meets its checkpoints otherwise."""
    x = images(3, SHAPE, 1)
    for seed in range(2):
        lengths.clear()
        net = script(steps, 100 * steps + seed, kind)
        x_pert = search(
            net, x, torch.zeros(3).long(), loss="margin", norm=norm, steps=steps, search="apgd"
        )
        x_start = begin(x, 0, norm)
        assert len(net.asked) == steps + 1
        for row in range(3):
            answers = iter(zip(net.leads[:, row].tolist(), net.gradients[:, row], strict=True))
            points, _, taken, best = plain_apgd.apgd(
                lambda _, answers=answers: next(answers),
                x[row], x_start[row], steps=steps, norm=norm, eps=RADIUS[norm],
            )  # fmt: skip
            ours = torch.stack([asked[row] for asked in net.asked])
            torch.testing.assert_close(ours, torch.stack(points), rtol=0, atol=1e-12)
            assert [float(length[row]) for length in lengths] == pytest.approx(taken, rel=1e-12)
            torch.testing.assert_close(x_pert[row], best, rtol=0, atol=1e-12)


def test_of_a_hundred_steps_the_checkpoints_are_those_of_the_paper() -> None:
    assert plain_apgd.checkpoints(100)[:8] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert plain_apgd.printed_checkpoints(100) == plain_apgd.checkpoints(100)[:8]


CASES = [
    ("adversarial", "ce"),
    ("adversarial", "margin"),
    ("targeted", "dlr"),  # untargeted it is flat where the label is third: rounding leads
    ("hypocritical", "ce"),
    ("stability", "kl"),
    ("hedge", "ce"),
    ("label_free", "ce"),
]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("goal", "loss"), CASES)
def test_on_a_net_every_iterate_is_that_of_the_algorithm(goal, loss, norm) -> None:
    net, x, steps = smooth(4, SHAPE, 1), images(3, SHAPE, 2), 12
    clean = net(x).detach()
    order = clean.argsort(1, descending=True)
    y = torch.stack([order[0, 0], order[1, 1], order[2, 3]])
    recorded = Recorded(net)
    x_pert = search(recorded, x, y, goal=goal, loss=loss, norm=norm, steps=steps, search="apgd")
    asked = recorded.asked[-steps - 1 :]  # before them, perhaps, x itself
    for row in range(3):
        points, losses, _, _, won = plain(
            net, x[row], int(y[row]), begin(x, 0, norm)[row], clean[row],
            goal=goal, loss=loss, norm=norm, steps=steps,
        )  # fmt: skip
        ours = torch.stack([batch[row] for batch in asked])
        torch.testing.assert_close(ours, torch.stack(points), rtol=0, atol=1e-9)
        best = max(range(steps + 1), key=lambda i: (won[i], losses[i]))
        torch.testing.assert_close(x_pert[row], points[best], rtol=0, atol=1e-9)


def jobs_of(net, x, y, clean, *, steps, targets, restarts, loss="dlr", norm="linf"):
    """Of each example, alg. 1 for each class aimed at, likeliest first, and each restart."""
    every = []
    for row in range(len(x)):
        others = clean[row].argsort(descending=True)
        others = [int(k) for k in others if int(k) != int(y[row])][:targets]
        every.append(
            [
                plain(
                    net, x[row], int(y[row]), begin(x, job, norm)[row], clean[row],
                    goal="adversarial", loss=loss, norm=norm, steps=steps,
                    target=others[job % targets] if targets else None,
                )
                for job in range(max(1, targets) * restarts)
            ]
        )  # fmt: skip
    return every


def is_close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-9)


def test_apgd_t_aims_at_one_class_after_another_and_each_restart_begins_elsewhere() -> None:
    """Five classes, three aimed at, twice each: six rows an example, side by side."""
    net, x, steps = smooth(5, SHAPE, 3), images(2, SHAPE, 3), 6
    clean = net(x).detach()
    y = clean.argmax(1)
    recorded = Recorded(net)
    search(recorded, x, y, loss="dlr", steps=steps, targets=3, restarts=2, search="apgd")
    every = jobs_of(net, x, y, clean, steps=steps, targets=3, restarts=2)
    asked = recorded.asked[-steps - 1 :]
    assert {len(batch) for batch in asked} == {12}
    for row in range(2):
        for job in range(6):
            ours = torch.stack([batch[2 * job + row] for batch in asked])
            assert is_close(ours, torch.stack(every[row][job][0]))


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_of_all_classes_aimed_at_the_best_iterate_is_returned(seed) -> None:
    net, x, steps = smooth(5, SHAPE, seed), images(4, SHAPE, seed), 6
    clean = net(x).detach()
    y = clean.argmax(1)
    x_pert = search(net, x, y, loss="margin", steps=steps, targets=4, search="apgd")
    every = jobs_of(net, x, y, clean, steps=steps, targets=4, restarts=1, loss="margin")
    for row in range(4):
        tried = [
            (won[i], losses[i], points[i])
            for points, losses, _, _, won in every[row]
            for i in range(steps + 1)
        ]
        best = max(tried, key=lambda at: at[:2])
        assert is_close(x_pert[row], best[2])


@pytest.mark.parametrize("seed", [6, 7, 8])
def test_under_strong_an_example_leaves_with_its_first_success(seed) -> None:
    """x itself is tried first; the jobs go side by side; failures keep their best iterate."""
    net, x, steps = smooth(4, SHAPE, seed), images(8, SHAPE, seed), 6
    clean = net(x).detach()
    y = clean.argmax(1)
    y[0] = (y[0] + 1) % 4
    recorded = Recorded(net)
    x_pert = search(
        recorded,
        x,
        y,
        loss="margin",
        steps=steps,
        targets=3,
        protocol="first_success",
        search="apgd",
    )
    every = jobs_of(net, x, y, clean, steps=steps, targets=3, restarts=1, loss="margin")
    left = [-1]  # before the first iterate
    assert torch.equal(x_pert[0], x[0])
    for row in range(1, 8):
        when = min(
            (i for _, _, _, _, won in every[row] for i in range(steps + 1) if won[i]),
            default=None,
        )
        left.append(steps + 1 if when is None else when)
        tried = [(False, float(plain_losses.margin(clean[row], int(y[row]))), x[row])] + [
            (won[i], losses[i], points[i])
            for points, losses, _, _, won in every[row]
            for i in (range(steps + 1) if when is None else [when])
        ]
        assert is_close(x_pert[row], max(tried, key=lambda at: at[:2])[2])
    sizes = [3 * sum(at >= i for at in left) for i in range(steps + 1)]
    assert [len(batch) for batch in recorded.asked[1:]] == [size for size in sizes if size]
    assert success("adversarial", net(x_pert).argmax(1), clean.argmax(1), y).tolist() == [
        at <= steps for at in left
    ]


def test_a_net_that_no_gradient_passes_is_refused() -> None:
    class Detached(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)[:, :3]

    with pytest.raises(ModelError, match="no input gradients"):
        search(Detached(), images(2, SHAPE, 0), torch.zeros(2).long(), steps=2, search="apgd")
