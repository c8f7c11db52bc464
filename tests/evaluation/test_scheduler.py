"""Which task is next, which is tried again, whose turn is over: by hand, without any net."""

import pytest

from fftune.config import AttackConfig, ThreatModel
from fftune.errors import ModelError
from fftune.evaluation.batteries import Probe, nine
from fftune.evaluation.cost_model import Expense, passes
from fftune.evaluation.job import Task
from fftune.evaluation.scheduler import Queue, Sitting
from fftune.evaluation.tiers import Part


def probe(steps: int, **attack) -> Probe:
    config = AttackConfig(threat=ThreatModel(), steps=steps, **attack)
    return Probe(attack=f"pgd-{steps}", goal="adversarial", parts=(Part(config=config, loss="ce"),))


SHORT, LONG = probe(5), probe(50)
TASKS = [Task(SHORT, (0, 1)), Task(SHORT, (2, 3)), Task(LONG, (0, 1)), Task(LONG, (2,))]


def two_rounds(tasks, then=()):
    """Asks for `tasks`, then for those in `then`; its result is all that it was sent."""
    tables = dict((yield tasks))
    if then:
        tables |= yield then
    return tables


def sitting(tasks=TASKS, then=()) -> Sitting:
    return Sitting(plan=two_rounds(list(tasks), list(then)))


def drain(queue: Queue) -> list[Task]:
    order = []
    while len(queue):
        item = queue.next()
        order.append(item.task)
        queue.done(item, f"rows of {item.task.rows}")
    return order


def test_the_longest_come_first_and_the_plan_ends_with_all_tables() -> None:
    one = sitting()
    assert drain(Queue([one], Expense())) == [TASKS[2], TASKS[3], TASKS[0], TASKS[1]]
    assert one.over
    assert one.result.outcomes == {task: f"rows of {task.rows}" for task in TASKS}


def test_what_was_measured_beats_what_was_guessed() -> None:
    expense = Expense()
    guess = expense.of(TASKS[0])
    assert guess == 2 * passes(SHORT) < expense.of(TASKS[2])
    expense.measured(Task(SHORT, (7, 8, 9, 10)), 40.0)
    assert expense.of(TASKS[0]) == 20.0
    expense.measured(Task(LONG, (7,)), 1.0)
    assert expense.of(TASKS[2]) == 2.0
    assert Queue([sitting()], expense).next().task in TASKS[:2]
    assert expense.left(TASKS) == 20 + 20 + 2 + 1


def test_an_unmeasured_probe_is_told_by_the_pace_of_the_others() -> None:
    expense = Expense()
    expense.measured(Task(SHORT, (0,)), passes(SHORT) * 0.25)
    assert expense.of(TASKS[3]) == pytest.approx(passes(LONG) * 0.25)


def test_the_guess_knows_the_long_tails() -> None:
    cost = {p.attack: passes(p) for p in nine(ThreatModel())}
    assert cost["pgd-20"] == 1 + 20 * 3
    assert cost["apgd-t"] == 1 + 9 * 100 * 3
    assert cost["square"] == 5001 and cost["rays"] == 10001
    assert max(cost, key=cost.get) == "autoattack"


def test_a_plan_asks_again_and_other_sittings_go_on() -> None:
    first, second = sitting(TASKS[:1], then=TASKS[2:]), sitting(TASKS[:2])
    queue = Queue([first, second], Expense())
    order = drain(queue)
    assert sorted(order, key=TASKS.index) == sorted(
        [TASKS[0], TASKS[0], TASKS[1], TASKS[2], TASKS[3]], key=TASKS.index
    )
    assert set(first.result.outcomes) == {TASKS[0], TASKS[2], TASKS[3]}
    assert set(second.result.outcomes) == set(TASKS[:2])


def test_three_failures_are_recorded_and_the_others_are_scored() -> None:
    one = sitting(TASKS[:2])
    queue = Queue([one], Expense())
    item = queue.next()
    assert queue.failed(item, "first") and queue.failed(item, "second")
    assert not queue.failed(item, "third")
    (lost,) = one.result.lost
    assert lost.task == item.task
    assert str(lost).endswith("2 examples are missing: failed 3 times, the last time: third")
    while len(queue):
        other = queue.next()
        if other is not item:
            queue.done(other, "rows")
    assert one.over and set(one.result.outcomes) == set(TASKS[:2]) - {item.task}


def test_a_node_that_went_away_is_nobodys_fault() -> None:
    queue = Queue([sitting(TASKS[:1])], Expense())
    for _ in range(10):
        queue.again(queue.next())
    assert not queue.next().sitting.result.lost


def test_what_no_attempt_would_mend_ends_its_sitting_alone() -> None:
    bad, good = sitting(), sitting(TASKS[:2])
    queue = Queue([bad, good], Expense())
    item, running = queue.next(), queue.next()
    error = ModelError("net returned logits that are not finite")
    queue.refused(item, error)
    assert bad.result.error is error and bad.result.outcomes is None
    late = running if running.sitting is bad else item
    queue.done(late, "rows that came too late")
    assert not queue.failed(late, "too late as well")
    if running.sitting is good:
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
    one = Sitting(plan=two_rounds(TASKS[:2], TASKS[:1]), cache=cache)
    queue = Queue([one], Expense())
    assert queue.known == 1 and drain(queue) == [TASKS[1]]
    assert one.result.outcomes[TASKS[0]] == "known"
    again = Sitting(plan=two_rounds(TASKS[:2]), cache=cache)
    assert not len(Queue([again], Expense())) and again.over
