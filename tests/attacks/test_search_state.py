"""The rows that a search works on: packing, narrowing, and which point is kept, counted by hand."""

from dataclasses import replace

import pytest
import torch
from nets import Recorded, images, smooth
from torch import Tensor, nn

from fftune.attacks import search_state as active
from fftune.attacks.iteration import slope
from fftune.attacks.query_counter import QueryCounter
from fftune.attacks.search_state import (
    ActiveBatch,
    BestSoFar,
    begin,
    label_schedule,
    run_packed,
    target_count,
)
from fftune.config import AttackConfig, ThreatModel
from fftune.devices import CPU
from fftune.errors import ConfigError, DataError, ModelError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start

SHAPE = (1, 2, 2)
NOISE = Noise(1)


def rows_of(
    count: int, *, goal="adversarial", loss="ce", net=None, y=None, **settings
) -> ActiveBatch:
    config = AttackConfig(**settings)
    net = smooth(3, SHAPE, 1) if net is None else net
    x = images(count, SHAPE, 1)
    y = torch.zeros(count).long() if y is None else y
    return begin(
        net, x, y, config=config, goal=goal, loss=loss, noise=NOISE, ids=torch.arange(count) + 10
    )


def point(value: float, like: Tensor) -> Tensor:
    return torch.full_like(like, value)


def points(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, *SHAPE).clone()


def values_of(x: Tensor) -> list[float]:
    return [round(v, 6) for v in x[:, 0, 0, 0].tolist()]


# What is the best point of a row?


def nothing(count: int, *, stop=False, copies=1) -> BestSoFar:
    return BestSoFar.nothing(torch.zeros(count, *SHAPE), stop=stop, copies=copies)


def offer(found: BestSoFar, xs, won, scores):
    return found.offer(points(*xs), torch.tensor(won).bool(), torch.tensor(scores))


def test_before_a_search_x_is_as_good_as_nothing() -> None:
    x = torch.rand(2, *SHAPE)
    found = BestSoFar.nothing(x, stop=True)
    assert torch.equal(found.x, x) and found.x is not x
    assert found.x.data_ptr() != x.data_ptr()
    assert found.won.tolist() == [False, False]
    assert found.score.tolist() == [-torch.inf, -torch.inf]
    assert found.active.tolist() == [0, 1]
    assert found.copies == 1


@pytest.mark.parametrize(
    ("won", "scores", "kept"),
    [
        ((0, 0), (1.0, 2.0), 0.2),  # the larger score
        ((0, 0), (2.0, 1.0), 0.1),
        ((0, 0), (1.0, 1.0), 0.1),  # the first of equals
        ((1, 1), (1.0, 1.0), 0.1),
        ((1, 1), (1.0, 2.0), 0.2),
        ((0, 1), (9.0, 1.0), 0.2),  # a success before any failure
        ((1, 0), (1.0, 9.0), 0.1),
    ],
)
def test_a_success_is_better_than_a_failure_then_the_larger_score_then_the_first(
    won, scores, kept
) -> None:
    found = nothing(1)
    assert offer(found, [0.1], [won[0]], [scores[0]]) is None
    assert offer(found, [0.2], [won[1]], [scores[1]]) is None
    assert values_of(found.x) == [kept]
    at = 0 if kept == 0.1 else 1
    assert found.won.tolist() == [bool(won[at])] and found.score.tolist() == [scores[at]]


def test_without_stop_a_success_goes_on() -> None:
    found = nothing(2)
    assert offer(found, [0.1, 0.1], [1, 0], [1.0, 1.0]) is None
    assert found.active.tolist() == [0, 1]


def test_with_stop_a_success_leaves_and_the_others_keep_their_places() -> None:
    found = nothing(4, stop=True)
    assert offer(found, [0.1] * 4, [0] * 4, [1.0] * 4) is None
    kept = offer(found, [0.2] * 4, [0, 1, 0, 0], [0.5, 0.5, 2.0, 1.0])
    assert kept.tolist() == [True, False, True, True]
    assert found.active.tolist() == [0, 2, 3]
    kept = offer(found, [0.3, 0.4, 0.5], [0, 1, 0], [7.0, 0.0, 0.0])
    assert kept.tolist() == [True, False, True]
    assert found.active.tolist() == [0, 3]
    assert values_of(found.x) == [0.3, 0.2, 0.4, 0.1]
    assert found.won.tolist() == [False, True, True, False]
    assert found.score.tolist() == [7.0, 0.5, 0.0, 1.0]


def test_all_copies_of_an_example_leave_with_the_first_that_succeeds() -> None:
    """Rows: the examples a b c, then a b c again."""
    found = nothing(6, stop=True, copies=2)
    kept = offer(found, [0.1] * 6, [0, 0, 0, 0, 1, 0], [1.0] * 6)
    assert kept.tolist() == [True, False, True, True, False, True]
    assert found.active.tolist() == [0, 2, 3, 5]
    kept = offer(found, [0.2] * 4, [1, 0, 0, 0], [0.0] * 4)
    assert kept.tolist() == [False, True, False, True]
    assert found.active.tolist() == [2, 5]


def test_a_search_may_leave_rows_by_itself() -> None:
    found = nothing(4)
    found.keep(torch.tensor([True, False, True, True]))
    found.keep(torch.tensor([False, True, True]))
    assert found.active.tolist() == [2, 3]
    offer(found, [0.1, 0.2], [1, 0], [1.0, 1.0])
    assert values_of(found.x) == [0, 0, 0.1, 0.2]


def test_who_has_won_already_is_not_searched_where_success_ends_the_search() -> None:
    won = torch.tensor([True, False, True])
    parts = {"x": torch.zeros(3, *SHAPE), "score": torch.zeros(3), "won": won}
    assert BestSoFar(**parts, stop=True).active.tolist() == [1]
    assert BestSoFar(**parts, stop=False).active.tolist() == [0, 1, 2]


def test_a_finished_pack_gives_each_example_the_best_of_its_rows() -> None:
    """Two copies of the examples 1 and 3 of four."""
    for stop, left in ((True, [0, 2, 3]), (False, [0, 1, 2, 3])):
        found = nothing(4, stop=stop)
        pack = nothing(4, copies=2)
        offer(pack, [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 0], [9.0, 5.0, 1.0, 5.0])
        found.merge(pack, torch.tensor([1, 3]))
        assert values_of(found.x) == [0, 0.3, 0, 0.2]
        assert found.won.tolist() == [False, True, False, False]
        assert found.active.tolist() == left


# Rows.


def test_rows_are_selected_in_the_order_given_and_may_repeat() -> None:
    net = smooth(3, SHAPE, 1)
    x = images(3, SHAPE, 1)
    with torch.no_grad():
        counted = QueryCounter(net, net(x))
    turns = torch.tensor([[0, -1], [1, -1], [2, -1]])
    rows = begin(
        counted, x, turns, config=AttackConfig(protocol="first_success"), goal="adversarial",
        loss="ce", noise=NOISE, ids=torch.tensor([7, 8, 9]),
    )  # fmt: skip
    rows = replace(rows, aim=replace(rows.aim, target=torch.tensor([1, 2, 0])))
    rows = replace(rows, job=torch.tensor([4, 5, 6]))
    part = rows.select(torch.tensor([2, 0, 2]))
    assert len(part) == 3
    assert torch.equal(part.x, x[[2, 0, 2]])
    assert part.noise.ids.tolist() == [9, 7, 9] and part.job.tolist() == [6, 4, 6]
    assert part.aim.y.tolist() == [2, 0, 2] and part.aim.target.tolist() == [0, 1, 0]
    assert part.aim.turns.tolist() == [[2, -1], [0, -1], [2, -1]]
    assert torch.equal(part.aim.logits_clean, counted.logits_clean[[2, 0, 2]])
    assert torch.equal(part.model.logits_clean, counted.logits_clean[[2, 0, 2]])
    part.ask(part.x)
    assert counted.queries.tolist() == [1, 0, 2]
    assert part.select(torch.tensor([False, True, False])).noise.ids.tolist() == [7]


def test_asking_takes_no_gradient_and_differentiating_keeps_none() -> None:
    net = smooth(3, SHAPE, 1)
    rows = rows_of(2, net=net)
    reached, loss = rows.ask(rows.x)
    assert not loss.requires_grad
    leaf = rows.x.clone().requires_grad_(True)
    expected = nn.functional.cross_entropy(net(leaf), torch.zeros(2).long(), reduction="none")
    (slopes,) = torch.autograd.grad(expected.sum(), leaf)
    with torch.no_grad():
        won, value, grad = rows.gradient(rows.x)
    torch.testing.assert_close(grad, slopes)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(loss, expected.detach())
    assert torch.equal(won, reached) and torch.equal(won, net(rows.x).argmax(1) != 0)
    assert not (value.requires_grad or grad.requires_grad or rows.x.requires_grad)
    assert all(p.grad is None for p in net.parameters())


def test_a_turn_changes_what_is_climbed_and_not_what_is_told() -> None:
    """The loss of the goal's label is told, the gradient is that of the step's."""
    net, y = smooth(3, SHAPE, 1), torch.tensor([[0, 2], [0, 1]])
    rows = rows_of(2, net=net, y=y)
    _, loss, grad = rows.gradient(rows.x, 1)
    leaf = rows.x.clone().requires_grad_(True)
    logits = net(leaf)
    told = nn.functional.cross_entropy(logits, y[:, 0], reduction="none")
    climbed = nn.functional.cross_entropy(logits, y[:, 1], reduction="sum")
    torch.testing.assert_close(loss, told.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(climbed, leaf)[0])


def test_starts_and_draws_are_keyed_by_job_and_id() -> None:
    config, noise = AttackConfig(threat=ThreatModel(eps=0.2)), Noise(1)
    rows = replace(rows_of(4), job=torch.tensor([3, 5, 3, 5]), jobs=(3, 4, 5))
    rows = replace(rows, noise=ExampleNoise(noise, torch.tensor([7, 7, 8, 9])))
    begun, drawn = rows.start(config, "a"), rows.uniform((2, 3), "b", 1)
    assert drawn.shape == (4, 2, 3) and drawn.dtype == rows.x.dtype
    for i, (job, key) in enumerate([(3, 7), (5, 7), (3, 8), (5, 9)]):
        ids, x = torch.tensor([key]), rows.x[i : i + 1]
        here = ExampleNoise(noise.fold("a", job), ids)
        assert torch.equal(begun[i : i + 1], start(x, config, here))
        there = noise.fold("b", 1, job).uniform(ids, (2, 3))
        assert torch.equal(drawn[i], there[0].double())


def test_a_net_whose_output_ignores_its_input_has_no_gradient_to_follow() -> None:
    x = torch.zeros(2, requires_grad=True)
    for value in (torch.tensor(1.0), torch.ones(1, requires_grad=True).sum()):
        with pytest.raises(ModelError, match="no input gradients"):
            slope(value, x)
    doubled = (2 * x).sum() + x.square().sum()
    assert slope(doubled, x, keep=True).tolist() == [2, 2]
    assert slope(doubled, x).tolist() == [2, 2]
    with pytest.raises(RuntimeError):
        slope(doubled, x)  # the graph was not to be kept


@pytest.mark.parametrize(
    ("goal", "settings", "passes"),
    [
        ("adversarial", {}, 0),
        ("adversarial", {"protocol": "first_success"}, 1),
        ("adversarial", {"targets": 2}, 1),
        ("hypocritical", {}, 0),
        ("stability", {}, 1),
        ("label_free", {}, 1),
        ("hedge", {}, 0),
    ],
)
def test_the_clean_logits_are_asked_only_where_something_needs_them(goal, settings, passes) -> None:
    net = Recorded(smooth(3, SHAPE, 1))
    rows = rows_of(2, net=net, goal=goal, **settings)
    assert len(net.asked) == passes and net.wanted == [False] * passes
    assert (rows.aim.logits_clean is not None) == bool(passes)
    assert rows.job.tolist() == [0, 0] and rows.aim.goal == goal


@pytest.mark.parametrize(
    ("low", "high", "fine"), [(0, 1, True), (-1e-6, 1, False), (0, 1.001, False)]
)
def test_pixels_outside_the_box_are_refused(low, high, fine) -> None:
    x = torch.tensor([low, high]).view(1, 1, 1, 2)
    kept = {"config": AttackConfig(), "goal": "hedge", "loss": "ce", "ids": torch.arange(1)}
    kept["noise"] = NOISE
    if fine:
        assert torch.equal(begin(nn.Flatten(), x, torch.zeros(1).long(), **kept).x, x)
        return
    with pytest.raises(DataError, match=rf"inputs must lie in \[0, 1\], got {low:g} to {high:g}"):
        begin(nn.Flatten(), x, torch.zeros(1).long(), **kept)


@pytest.mark.parametrize(
    ("y", "protocol", "fine"),
    [
        ([0, 2], "first_success", True),
        ([0, 3], "first_success", False),
        ([-1, 0], "first_success", False),
        ([-1, 0], "best_loss", False),
        ([0, 3], "best_loss", True),  # nobody has counted the classes yet
    ],
)
def test_labels_that_are_no_class_are_refused(y, protocol, fine) -> None:
    if fine:
        assert len(rows_of(2, y=torch.tensor(y), protocol=protocol)) == 2
        return
    said = f"labels must be classes of the net, got {min(y)} to {max(y)}"
    with pytest.raises(DataError, match=said):
        rows_of(2, y=torch.tensor(y), protocol=protocol)


def test_no_example_is_no_fault() -> None:
    rows = rows_of(0, protocol="first_success")
    config = AttackConfig(protocol="first_success")
    assert run_packed(rows, 3, config, lambda *_: pytest.fail("searched")).shape == (0, *SHAPE)


# Aims.


@pytest.mark.parametrize(
    ("goal", "asked", "count"),
    [("adversarial", 0, 0), ("adversarial", 1, 1), ("adversarial", 2, 2), ("adversarial", 9, 2),
     ("stability", 9, 2), ("hypocritical", 9, 0), ("targeted", 2, 0)],
)  # fmt: skip
def test_an_adversary_aims_at_no_more_than_the_other_classes(goal, asked, count) -> None:
    config = AttackConfig(targets=asked, protocol="first_success")
    rows = rows_of(2, goal=goal, targets=asked, protocol="first_success")
    assert target_count(rows, config) == count
    if goal == "adversarial" and not asked:
        assert target_count(rows_of(2), config) == 0


def test_each_job_aims_at_the_next_likeliest_other_class() -> None:
    class Told(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([[4.0, 1.0, 3.0, 2.0]]).expand(len(x), 4)

    y = torch.tensor([0, 0, 0, 0, 2, 1])
    rows = rows_of(6, net=Told(), y=y, targets=3)
    rows = replace(rows, job=torch.tensor([0, 1, 2, 3, 0, 4]))
    assert label_schedule(rows, 3).aim.target.tolist() == [2, 3, 1, 2, 0, 2]
    assert label_schedule(rows, 2).aim.target.tolist() == [2, 3, 2, 3, 0, 0]
    assert label_schedule(rows, 0) is rows
    assert torch.equal(label_schedule(rows, 3).x, rows.x)


def test_stability_aims_away_from_the_clean_prediction() -> None:
    class Told(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([[4.0, 1.0, 3.0]]).expand(len(x), 3)

    rows = rows_of(1, net=Told(), y=torch.tensor([2]), goal="stability", loss="margin", targets=2)
    assert label_schedule(rows, 2).aim.target.tolist() == [2]


# Packs.


class Search:
    """Succeeds for an example in the jobs it is told, and notes whom it was given."""

    def __init__(self, wins: dict[int, list[int]], scores: dict[tuple[int, int], float]) -> None:
        self.wins, self.scores = wins, scores
        self.given: list[list[tuple[int, int]]] = []
        self.kinds: list[tuple[bool, int]] = []

    def __call__(self, rows: ActiveBatch, found: BestSoFar) -> None:
        pairs = list(zip((rows.noise.ids - 10).tolist(), rows.job.tolist(), strict=True))
        self.given.append(pairs)
        self.kinds.append((found.stop, found.copies))
        assert torch.equal(found.x, rows.x)
        won = torch.tensor([job in self.wins.get(i, []) for i, job in pairs])
        score = torch.tensor([self.scores.get(pair, 0.0) for pair in pairs]).double()
        ends = torch.tensor([[i + job / 100] for i, job in pairs]).double() / 100
        found.offer(ends.view(-1, 1, 1, 1).expand_as(rows.x), won, score)


def pack(
    count, jobs, *, monkeypatch, wins=None, scores=None, width=4, net=None, y=None, **settings
):
    monkeypatch.setattr(active, "policy", lambda _device: replace(CPU, width=width))
    rows = rows_of(count, net=net, y=y, **settings)
    search = Search(wins or {}, scores or {})
    x = run_packed(rows, jobs, AttackConfig(**settings), search)
    ends = [divmod(round(v * 1e4), 100) for v in x[:, 0, 0, 0].tolist()]
    return search, ends, x, rows


def test_as_many_jobs_as_fill_a_batch_go_side_by_side(monkeypatch) -> None:
    """Of width 4, two examples take two jobs at once; the last pack takes what is left."""
    search, ends, *_ = pack(2, 5, monkeypatch=monkeypatch)
    assert search.given == [
        [(0, 0), (1, 0), (0, 1), (1, 1)],
        [(0, 2), (1, 2), (0, 3), (1, 3)],
        [(0, 4), (1, 4)],
    ]
    assert search.kinds == [(False, 2), (False, 2), (False, 1)]
    assert ends == [(0, 0), (1, 0)]  # the first of equals


def test_more_examples_than_a_batch_has_room_for_take_one_job_at_a_time(monkeypatch) -> None:
    search, *_ = pack(5, 2, monkeypatch=monkeypatch)
    assert [len(given) for given in search.given] == [5, 5]
    assert [{job for _, job in given} for given in search.given] == [{0}, {1}]


def test_without_restarts_every_job_is_tried_and_the_best_is_kept(monkeypatch) -> None:
    """The classes aimed at: a success does not end them under `fixed`."""
    scores = {(0, 1): 3.0, (0, 3): 5.0, (1, 3): 1.0, (1, 0): 2.0}
    search, ends, *_ = pack(2, 4, wins={0: [0, 1]}, scores=scores, monkeypatch=monkeypatch)
    assert sum(len(given) for given in search.given) == 8
    assert ends == [(0, 1), (1, 0)]


def test_an_example_takes_restarts_until_one_succeeds(monkeypatch) -> None:
    wins = {0: [1], 1: [4], 2: [0, 1]}
    search, ends, *_ = pack(3, 6, wins=wins, width=3, restarts=6, monkeypatch=monkeypatch)
    assert search.given == [
        [(0, 0), (1, 0), (2, 0)],
        [(0, 1), (1, 1)],
        [(1, 2), (1, 3), (1, 4)],
    ]
    assert search.kinds == [(False, 1), (False, 1), (False, 3)]
    assert ends == [(0, 1), (1, 4), (2, 0)]


def test_of_two_successes_side_by_side_the_better_then_the_first_is_kept(monkeypatch) -> None:
    wins = {0: [0, 1], 1: [0, 1]}
    _, ends, *_ = pack(2, 2, wins=wins, scores={(1, 1): 1.0}, restarts=2, monkeypatch=monkeypatch)
    assert ends == [(0, 0), (1, 1)]


def test_under_strong_x_itself_is_tried_first_and_a_success_ends_all_jobs(monkeypatch) -> None:
    """Example 0 is wrong as it is; 1 succeeds at once; 2 fails, and keeps its best point."""
    net = smooth(3, SHAPE, 1)
    x = images(3, SHAPE, 1)
    clean = net(x).detach().argmax(1)
    y = (clean + torch.tensor([1, 0, 0])) % 3
    scores = {(2, 3): 50.0}
    search, ends, x_pert, rows = pack(
        3, 6, wins={1: [0], 0: [1]}, scores=scores, net=net, y=y, protocol="first_success",
        monkeypatch=monkeypatch,
    )  # fmt: skip
    assert torch.equal(x_pert[0], rows.x[0])
    assert search.given == [
        [(1, 0), (2, 0), (1, 1), (2, 1)],
        [(2, 2), (2, 3), (2, 4), (2, 5)],
    ]
    assert search.kinds == [(True, 2), (True, 4)]
    assert ends[1:] == [(1, 0), (2, 3)]


def test_under_strong_a_failure_that_is_no_better_than_x_stays_at_x(monkeypatch) -> None:
    net = smooth(3, SHAPE, 1)
    x = images(2, SHAPE, 1)
    y = net(x).argmax(1)
    loss = nn.functional.cross_entropy(net(x), y, reduction="none").detach()
    scores = {(0, 0): float(loss[0]) - 0.01, (1, 0): float(loss[1]) + 0.01}
    _, ends, x_pert, rows = pack(
        2, 1, scores=scores, net=net, y=y, protocol="first_success", monkeypatch=monkeypatch
    )
    assert torch.equal(x_pert[0], rows.x[0])
    assert ends[1] == (1, 0)


def test_on_a_device_of_few_shapes_no_batch_is_larger_than_a_full_one(monkeypatch) -> None:
    """Of five examples two go at a time; the second job is for those that the first has left."""
    few = replace(CPU, width=2, buckets=(2,))
    monkeypatch.setattr(active, "policy", lambda _device: few)
    settings = {"protocol": "first_success"}
    rows = rows_of(5, y=smooth(3, SHAPE, 1)(images(5, SHAPE, 1)).argmax(1), **settings)
    search = Search({0: [0], 3: [0]}, {})
    run_packed(rows, 2, AttackConfig(**settings), search)
    assert search.given == [
        [(0, 0), (1, 0)],
        [(2, 0), (3, 0)],
        [(4, 0)],
        [(1, 1), (2, 1)],
        [(4, 1)],
    ]


def test_a_batch_is_full_at_128_rows() -> None:
    assert CPU.width == 128


def test_a_goal_without_the_loss_is_refused_before_anything_is_asked() -> None:
    net = Recorded(smooth(3, SHAPE, 1))
    with pytest.raises(ConfigError, match="loss 'kl' is not defined"):
        rows_of(1, net=net, loss="kl")
    assert not net.asked
