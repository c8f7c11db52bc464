"""Square against alg. 1-3 written down a second time: every query, from the same draws."""

import numpy as np
import plain_losses
import plain_square
import pytest
import torch
from nets import Recorded, Scripted, images, smooth
from torch import Tensor

from fftune.attacks import square
from fftune.config import AttackConfig, ThreatModel
from fftune.keyed_noise import Noise

NOISE = Noise(3).fold("somewhere")
RADIUS = {"linf": 0.1, "l2": 0.6}
DRAWN_AT_ONCE = 250


def search(model, x, y, *, norm, goal="adversarial", loss="margin", **settings) -> Tensor:
    threat = ThreatModel(norm=norm, eps=RADIUS[norm])
    config = AttackConfig(threat=threat, search="square", **settings)
    kept = {"config": config, "goal": goal, "loss": loss, "noise": NOISE}
    return square(model, x, y, ids=torch.arange(len(x)) + 5, **kept)


def draws(row: int, shape: tuple[int, ...], *names, job: int = 0) -> np.ndarray:
    ids = torch.tensor([row + 5])
    return NOISE.fold("square", *names, job).uniform(ids, shape)[0].double().numpy()


def proposals(ask, x: Tensor, row: int, *, norm: str, queries: int, job: int = 0):
    """Points asked, their losses, and whether each succeeded; the search ends with a success.

    Args:
        ask: the loss of a point, and whether it succeeds.
    """
    x, eps = x.numpy(), RADIUS[norm]
    channels, height, width = x.shape
    if norm == "linf":
        ahead = plain_square.stripes(
            x, draws(row, (channels, 1, width), "stripes", job=job)[:, 0], eps
        )
    else:
        tile = max(min(height, width) // 5, 1)
        shape = (channels, -(-height // tile), -(-width // tile))
        ahead = plain_square.tiles(x, draws(row, shape, "tiles", job=job), eps)
    propose = plain_square.square_of_colour if norm == "linf" else plain_square.shifted_mass
    points, losses, best, loss_best = [], [], ahead, -np.inf
    for query, side in enumerate(plain_square.sides(height, width, queries)):
        value, won = ask(torch.from_numpy(ahead))
        points.append(ahead)
        losses.append(value)
        if value > loss_best:
            best, loss_best = ahead, value
        if won:
            break
        chunk, at = query - query % DRAWN_AT_ONCE, query % DRAWN_AT_ONCE
        draw = draws(row, (DRAWN_AT_ONCE, 5 + channels), "squares", chunk, job=job)[at]
        ahead = propose(best, x, draw, side, eps)
    return points, losses, best, bool(points) and won


def asker(net, y: int, clean: Tensor, goal: str, loss: str):
    def ask(point: Tensor) -> tuple[float, bool]:
        z = net(point[None])[0].detach()
        value = plain_losses.climbed(z, goal, loss, y, clean)
        return float(value), plain_losses.reached(z, goal, y, clean)

    return ask


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 11, 10), (3, 4, 4), (1, 2, 3)])
def test_every_query_is_that_of_the_algorithm(shape, norm) -> None:
    """Dictated losses that rise now and then, with no success: proposals alone are compared."""
    queries, rng = 40, torch.Generator().manual_seed(4)
    x = images(3, shape, 2)
    leads = (
        -torch.randint(1, 30, (queries, 3), generator=rng).double()
        - torch.linspace(50, 0, queries)[:, None]
    )
    net = Scripted(leads, torch.zeros(queries, 3, *shape).double())
    x_pert = search(net, x, torch.zeros(3).long(), norm=norm, steps=queries)
    assert len(net.asked) == queries
    for row in range(3):
        told = iter(leads[:, row].tolist())
        points, _, best, _ = proposals(
            lambda _, told=told: (next(told), False), x[row], row, norm=norm, queries=queries
        )
        ours = torch.stack([asked[row] for asked in net.asked])
        torch.testing.assert_close(ours, torch.from_numpy(np.stack(points)), rtol=0, atol=1e-6)
        torch.testing.assert_close(x_pert[row], torch.from_numpy(best), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_new_squares_are_drawn_after_each_250_queries(norm) -> None:
    shape, queries = (1, 5, 5), 510
    rng = torch.Generator().manual_seed(5)
    leads = -torch.randint(1, 9, (queries, 1), generator=rng).double()
    net = Scripted(leads, torch.zeros(queries, 1, *shape).double())
    x = images(1, shape, 3)
    search(net, x, torch.zeros(1).long(), norm=norm, steps=queries)
    told = iter(leads[:, 0].tolist())
    points, *_ = proposals(lambda _: (next(told), False), x[0], 0, norm=norm, queries=queries)
    ours = torch.cat(net.asked)
    torch.testing.assert_close(ours, torch.from_numpy(np.stack(points)), rtol=0, atol=1e-6)


@pytest.mark.some(6)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("goal", "loss"),
    [("adversarial", "margin"), ("hypocritical", "ce"), ("targeted", "dlr"), ("stability", "kl")],
)
@pytest.mark.parametrize("protocol", ["first_success", "last_success"])
def test_an_example_leaves_with_its_first_success(protocol, goal, loss, norm) -> None:
    shape, queries, net = (2, 5, 5), 30, smooth(4, (2, 5, 5), 2)
    x = images(5, shape, 4)
    clean = net(x).detach()
    order = clean.argsort(1, descending=True)
    y = order[:, 0] if goal in ("adversarial", "stability") else order[:, 1]
    recorded = Recorded(net)
    x_pert = search(
        recorded, x, y, norm=norm, goal=goal, loss=loss, steps=queries, protocol=protocol
    )
    spent = []
    for row in range(5):
        ask = asker(net, int(y[row]), clean[row], goal, loss)
        points, losses, best, won = proposals(ask, x[row], row, norm=norm, queries=queries)
        spent.append(len(points))
        expected = torch.from_numpy(points[-1] if won else best)
        if not won and (protocol == "last_success" or ask(x[row])[0] >= max(losses)):
            expected = x[row]
        torch.testing.assert_close(x_pert[row], expected, rtol=0, atol=1e-6)
    sizes = [len(batch) for batch in recorded.asked][-max(spent) :]
    assert sizes == [sum(n > query for n in spent) for query in range(max(spent))]
    assert min(spent) < queries


def test_restarts_draw_their_own_squares_and_the_first_success_ends_them_all() -> None:
    shape, queries, net = (1, 4, 4), 12, smooth(3, (1, 4, 4), 7)
    x = images(6, shape, 5)
    clean = net(x).detach()
    y = clean.argmax(1)
    x_pert = search(net, x, y, norm="linf", steps=queries, restarts=4)
    several = 0
    for row in range(6):
        ask = asker(net, int(y[row]), clean[row], "adversarial", "margin")
        runs = [
            proposals(ask, x[row], row, norm="linf", queries=queries, job=job) for job in range(4)
        ]
        soonest = min(len(points) if won else queries + 1 for points, _, _, won in runs)
        if soonest > queries:
            best = max(runs, key=lambda run: max(run[1]))[2]
        else:
            hits = [run for run in runs if run[3] and len(run[0]) == soonest]
            best = max(hits, key=lambda run: run[1][-1])[0][-1]
            several += soonest > 1
        torch.testing.assert_close(x_pert[row], torch.from_numpy(best), rtol=0, atol=1e-6)
    assert several


def test_no_query_is_no_search() -> None:
    net, x = smooth(3, (1, 4, 4), 7), images(2, (1, 4, 4), 5)
    assert torch.equal(search(net, x, torch.zeros(2).long(), norm="l2", steps=0), x)
