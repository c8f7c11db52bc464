"""Which task is next, which is tried again, whose turn is over: by hand, without any net."""

from dataclasses import replace

import pytest

from fftune.config import AttackConfig, DefenseConfig, ThreatModel
from fftune.errors import ModelError
from fftune.evaluation.batteries import Attack, nine
from fftune.evaluation.cost_model import CostModel, passes
from fftune.evaluation.defended import CLEAN, DefenseSet
from fftune.evaluation.escalation import Evaluated
from fftune.evaluation.job import BlockTask
from fftune.evaluation.scheduler import JobState, TaskQueue
from fftune.evaluation.tiers import AttackStage


def attack(steps: int, **attack) -> Attack:
    config = AttackConfig(threat=ThreatModel(), steps=steps, **attack)
    return Attack(
        name=f"pgd-{steps}", goal="adversarial", stages=(AttackStage(config=config, loss="ce"),)
    )


SHORT, LONG = attack(5), attack(50)
TASKS = [
    BlockTask(SHORT, (0, 1)),
    BlockTask(SHORT, (2, 3)),
    BlockTask(LONG, (0, 1)),
    BlockTask(LONG, (2,)),
]


def two_rounds(tasks, then=()):
    """Asks for `tasks`, then for those in `then`; its result is all that it was sent."""
    tables = dict((yield tasks))
    if then:
        tables |= yield then
    return Evaluated(outcomes=tables)


def state(tasks=TASKS, then=()) -> JobState:
    return JobState(plan=two_rounds(list(tasks), list(then)))


def drain(queue: TaskQueue) -> list[BlockTask]:
    order = []
    while len(queue):
        item = queue.next()
        order.append(item.task)
        queue.done(item, f"rows of {item.task.rows}", 0.0)
    return order


def test_the_longest_come_first_and_the_plan_ends_with_all_tables() -> None:
    one = state()
    assert drain(TaskQueue([one], CostModel())) == [TASKS[2], TASKS[3], TASKS[0], TASKS[1]]
    assert one.over
    assert one.result.outcomes == {task: f"rows of {task.rows}" for task in TASKS}


def test_what_was_measured_beats_what_was_guessed() -> None:
    expense = CostModel()
    guess = expense.of(TASKS[0])
    assert guess == 2 * passes(SHORT) < expense.of(TASKS[2])
    expense.measured(BlockTask(SHORT, (7, 8, 9, 10)), 40.0)
    assert expense.of(TASKS[0]) == 20.0
    expense.measured(BlockTask(LONG, (7,)), 1.0)
    assert expense.of(TASKS[2]) == 2.0
    assert TaskQueue([state()], expense).next().task in TASKS[:2]
    assert expense.left(TASKS) == 20 + 20 + 2 + 1


def test_an_unmeasured_probe_is_told_by_the_pace_of_the_others() -> None:
    expense = CostModel()
    expense.measured(BlockTask(SHORT, (0,)), passes(SHORT) * 0.25)
    assert expense.of(TASKS[3]) == pytest.approx(passes(LONG) * 0.25)


def test_scoring_behind_defenses_is_part_of_the_guess() -> None:
    """A vote of 100 copies in 3 draws takes longer than a short search: the rest is no longer."""
    config = DefenseConfig(names=("smoothing", "jpeg"), repeats=3)
    threat = ThreatModel()
    defense_set = DefenseSet.of(config, threat, source="blobs", split="test", attacks=1)
    assert defense_set is not None
    votes, compressed = defense_set.defenses.values()
    assert not compressed.stochastic
    scoring = 3 * (votes.passes + 1) + compressed.passes + 1
    assert defense_set.passes("pgd") == scoring and defense_set.passes(CLEAN) > scoring
    expense = CostModel(defense_set)
    expense.measured(BlockTask(SHORT, (0,)), (passes(SHORT) + scoring) * 0.25)
    assert expense.of(TASKS[3]) == pytest.approx((passes(LONG) + scoring) * 0.25)


def test_the_guess_knows_the_long_tails() -> None:
    cost = {p.name: passes(p) for p in nine(ThreatModel())}
    assert cost["pgd-20"] == 1 + 20 * 3
    assert cost["apgd-t"] == 1 + 9 * 100 * 3
    assert cost["square"] == 5001 and cost["rays"] == 10001
    assert max(cost, key=cost.get) == "autoattack"


def test_a_plan_asks_again_and_other_sittings_go_on() -> None:
    first, second = state(TASKS[:1], then=TASKS[2:]), state(TASKS[:2])
    queue = TaskQueue([first, second], CostModel())
    order = drain(queue)
    assert sorted(order, key=TASKS.index) == sorted(
        [TASKS[0], TASKS[0], TASKS[1], TASKS[2], TASKS[3]], key=TASKS.index
    )
    assert set(first.result.outcomes) == {TASKS[0], TASKS[2], TASKS[3]}
    assert set(second.result.outcomes) == set(TASKS[:2])


def test_three_failures_are_recorded_and_the_others_are_scored() -> None:
    one = state(TASKS[:2])
    queue = TaskQueue([one], CostModel())
    item = queue.next()
    assert queue.failed(item, "first") and queue.failed(item, "second")
    assert not queue.failed(item, "third")
    (lost,) = one.result.lost
    assert lost.task == item.task
    assert str(lost).endswith("2 examples are missing: failed 3 times, the last time: third")
    while len(queue):
        other = queue.next()
        if other is not item:
            queue.done(other, "rows", 0.0)
    assert one.over and set(one.result.outcomes) == set(TASKS[:2]) - {item.task}


def test_a_node_that_went_away_is_nobodys_fault() -> None:
    queue = TaskQueue([state(TASKS[:1])], CostModel())
    for _ in range(10):
        queue.again(queue.next())
    assert not queue.next().state.result.lost


def test_what_no_attempt_would_mend_ends_its_sitting_alone() -> None:
    bad, good = state(), state(TASKS[:2])
    queue = TaskQueue([bad, good], CostModel())
    item, running = queue.next(), queue.next()
    error = ModelError("net returned logits that are not finite")
    queue.refused(item, error)
    assert bad.result.error is error and bad.result.outcomes is None
    late = running if running.state is bad else item
    queue.done(late, "rows that came too late", 0.0)
    assert not queue.failed(late, "too late as well")
    if running.state is good:
        queue.again(running)
    assert set(drain(queue)) == set(TASKS[:2])
    assert not bad.tables and good.over


def test_what_is_known_is_not_asked_for() -> None:
    class Known:
        def __init__(self) -> None:
            self.kept = {TASKS[0]: "known"}

        def known(self, tasks):
            return {task: self.kept[task] for task in tasks if task in self.kept}

        def put(self, task, table) -> None:
            self.kept[task] = table

    cache = Known()
    one = JobState(plan=two_rounds(TASKS[:2], TASKS[:1]), cache=cache)
    queue = TaskQueue([one], CostModel())
    assert queue.known == 1 and drain(queue) == [TASKS[1]]
    assert one.result.outcomes[TASKS[0]] == "known"
    again = JobState(plan=two_rounds(TASKS[:2]), cache=cache)
    assert not len(TaskQueue([again], CostModel())) and again.over


def test_seconds_are_those_of_an_attack_all_of_whose_blocks_were_run() -> None:
    aimed = replace(SHORT, goal="targeted", target=3)
    tasks = [*TASKS, BlockTask(aimed, (0,))]

    class Cache:
        def known(self, asked):
            return {task: "rows" for task in asked if task == TASKS[2]}

        def put(self, *_):
            pass

    one = JobState(plan=two_rounds(tasks), cache=Cache())
    queue = TaskQueue([one], CostModel())
    for seconds in (1.0, 2.0, 4.0, 8.0):
        item = queue.next()
        queue.done(item, "rows", seconds)
    assert one.over
    found = one.result.seconds
    assert set(found) == {("pgd-5", "adversarial", -1), ("pgd-5", "targeted", 3)}
    assert sum(found.values()) == 14.0  # the 1.0 was of the attack that was known in part
