"""Study of libraries: passes counted on nets whose answers are known, orders worked out by hand."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import library
import library_attacks
from library import Record, in_best_order, summary
from pass_hook import PassHook, fooled

EPS = 0.1


class Brightness(nn.Module):
    """Class 1 where the first pixel is above .5, else class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        lead = self.scale * (x.flatten(1)[:, :1] - 0.5)
        return torch.cat([-lead, lead], 1)


def images() -> Tensor:
    """Three images of four pixels, far apart; the first pixels are .45, .2 and .5."""
    x = torch.zeros(3, 1, 2, 2)
    x[:, 0, 0, 0] = torch.tensor([0.45, 0.2, 0.5])
    x[1, 0, 1], x[2, 0, :, 1] = 1.0, 0.9
    return x


def hook(goal: str = "adversarial") -> PassHook:
    return PassHook(
        Brightness(), images(), torch.tensor([0, 0, 1 - (goal == "adversarial")]), goal, EPS
    )


def moved(rows: list[int], by: float) -> Tensor:
    x = images()[rows]
    x[:, 0, 0, 0] += by
    return x


def test_rows_are_counted_for_their_images_in_any_order() -> None:
    net = hook()
    net(moved([2, 0], 0.0))
    net(moved([0, 0, 1], 0.01))
    assert net.forwards.tolist() == [3, 1, 1]
    assert net.backwards.tolist() == [0, 0, 0]
    assert net.doubtful == 0


def test_every_backward_pass_counts_all_rows_of_its_batch() -> None:
    net, x = hook(), moved([0, 2], 0.0).requires_grad_()
    logits = net(x)
    torch.autograd.grad(logits[:, 0].sum(), x, retain_graph=True)
    torch.autograd.grad(logits[:, 1].sum(), x)
    assert net.forwards.tolist() == [1, 0, 1]
    assert net.backwards.tolist() == [2, 0, 2]


def test_the_first_success_inside_the_ball_is_noted_with_the_passes_so_far() -> None:
    net, x = hook(), moved([0, 1], 0.0).requires_grad_()
    net(x).sum().backward()
    net(moved([0, 1], 0.4))  # both answer 1, far outside the ball
    assert net.first.tolist() == [-1, -1, -1]
    net(moved([0, 1], 0.09))  # .54 and .29
    net(moved([0, 1], 0.08))
    assert net.first.tolist() == [4, -1, -1]


def test_a_friend_is_first_right_where_an_adversary_is_first_wrong() -> None:
    net = hook("hypocritical")
    net(moved([2], 0.0))
    net(moved([2], 0.05))
    assert net.first.tolist()[2] == 2


@pytest.mark.parametrize(("by", "won"), [(0.09, True), (0.11, False), (-0.05, False)])
def test_one_rule_for_all(by: float, won: bool) -> None:
    point, x = moved([0], by), images()[:1]
    y = torch.tensor([0])
    assert fooled("adversarial", Brightness()(point), x, point, y, EPS).tolist() == [won]
    bright = point.clone()
    bright[0, 0, 1, 1] = -0.01
    assert not fooled("adversarial", Brightness()(bright), x, bright, y, EPS).any()


def record(attack: str, cost: list[int], found: str, seed: int = 0, library: str = "a") -> Record:
    """A run whose images each cost so many forwards; those marked x were found half way."""
    won = [mark == "x" for mark in found]
    return Record(
        net="n",
        goal="adversarial",
        library=library,
        attack=attack,
        seed=seed,
        ids=list(range(len(cost))),
        found=won,
        first=[c // 2 if w else -1 for c, w in zip(cost, won, strict=True)],
        forwards=cost,
        backwards=[0] * len(cost),
        doubtful=0,
        seconds=1.0,
    )


SHORT = record("short", [4, 4, 4, 4], "xx..")  # 2 + 2 + 4 + 4 passes for two images
LONG = record("long", [100, 100, 100, 100], "xxx.")  # 50 + 50 + 50 + 100 for three


def test_the_best_order_is_by_gain_per_pass_and_the_last_attack_is_cut() -> None:
    short, long = in_best_order([LONG, SHORT], enough=3)
    assert (short.attack, short.found, short.passes) == ("short", 2, 12)
    # The third image is found after 50 passes; the fourth gets no more than those.
    assert (long.attack, long.found, long.passes) == ("long", 3, 112)
    (enough,) = in_best_order([LONG, SHORT], enough=1)
    assert (enough.found, enough.passes) == (2, 8)
    steps = in_best_order([LONG, SHORT], enough=4)
    assert [(s.attack, s.found, s.passes) for s in steps] == [("short", 2, 12), ("long", 3, 162)]


def test_whole_attacks_cost_all_their_passes() -> None:
    steps = in_best_order([LONG, SHORT], enough=3, whole=True)
    assert [(s.attack, s.found, s.passes) for s in steps] == [("short", 2, 16), ("long", 3, 216)]


def test_the_last_attack_is_the_one_that_gets_there_with_least() -> None:
    """Three images in 60 passes by greed and one cut, in 3 x 9 + 9 by one cut of another."""
    steep = record("steep", [1, 1, 50, 50], "xx..")  # 0 passes for two images, 100 for the others
    flat = record("flat", [18, 18, 18, 400], "xxxx")
    assert [s.attack for s in library.in_best_order([steep, flat], enough=4)] == ["flat"]
    (one,) = in_best_order([steep, flat], enough=3)
    assert (one.attack, one.found, one.passes) == ("flat", 4, 36)


def test_the_summary_tells_the_union_with_and_without_ours() -> None:
    ours = record("pgd", [2, 2, 2, 2], "..xx", library="ours")
    lines = summary([SHORT, ours], [0])
    assert "union of all 4, without ours 2" in lines[0]
    assert "a                 ends at 0.500 after      3.0 passes an image, cut" in lines[1]
    assert "a                 ends at 0.500 after      4.0 passes an image, whole" in lines[2]
    assert "ours              ends at 0.500 after      1.5 passes" in lines[3]


def test_ours_run_through_the_hook_is_counted_exactly(monkeypatch) -> None:
    """PGD of 20 steps on a net that it cannot fool: 21 forward and 20 backward passes.

    And one more forward: what has not succeeded is asked of the copy, which may have claimed it.
    """
    monkeypatch.setattr(library_attacks, "CLASSES", 2)
    x, y = torch.full((2, 1, 2, 2), 0.2), torch.zeros(2, dtype=torch.int64)
    x[1, 0, 1] = 0.9
    part = library.Images(ids=torch.arange(2), x=x, y=y)
    (pgd, *_) = library_attacks.ours("adversarial")
    assert pgd.name == "PGD-20"
    run = library.run(pgd, Brightness(), "toy", part, "adversarial", seed=0)
    assert (run.forwards, run.backwards, run.found) == ([22, 22], [20, 20], [False, False])
    x[1, 0, 0, 0] = 0.49  # within reach
    run = library.run(pgd, Brightness(), "toy", part, "adversarial", seed=0)
    assert run.found == [False, True]
    # The pass that succeeds also takes a gradient, after which the image leaves the search.
    assert run.first[1] == run.cost[1] == run.total[1] - 1 < 20
