"""Order of tasks, failures and what hangs on them; a driver that dies at any moment."""

import pytest

from fftune.errors import ConfigError, DivergedError
from fftune.papers.declarations import Analysis, Exam, Net, Setup
from fftune.papers.graph.plan import makespan
from fftune.papers.graph.schedule import Schedule, left, wanted
from fftune.papers.reproduce import keys_of
from fftune.papers.tasks import Task, tasks_of
from fftune.registry import PAPERS

ITEMS = "tests/papers/paper_items.py"
SETUP = Setup()
NATURAL, POISONED = Net(), Net(kind="poisoning")


def tasks_by_name() -> dict[str, Task]:
    """natural -> poison -> poisoned -> rows; natural -> natural's rows; analysis of both."""
    needs = [
        Exam(net=POISONED),
        Exam(net=NATURAL),
        Analysis(run="tests.papers.paper_items:counted", nets=(NATURAL, POISONED)),
    ]
    names = ("natural", "poison", "poisoned", "rows", "natural's rows", "analysis")
    return dict(zip(names, tasks_of(needs, SETUP), strict=True))


def schedule_of(tasks: dict[str, Task], **seconds: float) -> Schedule:
    return Schedule(
        list(tasks.values()), seconds={t.key: seconds.get(n, 1.0) for n, t in tasks.items()}
    )


def test_a_task_waits_for_its_needs_and_the_longest_chain_goes_first() -> None:
    tasks = tasks_by_name()
    schedule = schedule_of(tasks, analysis=5.0)
    order = []
    while (task := schedule.next()) is not None:
        assert all(need in order for need in task.needs)
        order.append(task)
        schedule.done(task, 1.0)
    assert schedule.over
    names = {task.key: name for name, task in tasks.items()}
    expected = ["natural", "poison", "poisoned", "analysis", "rows", "natural's rows"]
    assert [names[task.key] for task in order] == expected


def test_nothing_begins_before_its_needs_have_ended() -> None:
    schedule = schedule_of(tasks_by_name())
    first = schedule.next()
    assert first is not None and schedule.next() is None
    schedule.done(first, 1.0)
    assert schedule.next() is not None and schedule.next() is not None
    assert schedule.next() is None and not schedule.over


def test_a_failure_fails_what_hangs_on_it_and_nothing_else() -> None:
    tasks = tasks_by_name()
    schedule = schedule_of(tasks)
    done = set()
    while (task := schedule.next()) is not None:
        if task is tasks["poison"]:
            schedule.ended(task, DivergedError("loss is nan"))
        else:
            schedule.done(task, 1.0)
            done.add(task.key)
    failed = {tasks[name].key for name in ("poison", "poisoned", "rows", "analysis")}
    assert schedule.over and set(schedule.reasons) == failed
    assert done == {tasks["natural"].key, tasks["natural's rows"].key}
    assert schedule.reasons[tasks["poison"].key] == "loss is nan"
    assert "cifar10 poisoning failed: loss is nan" in schedule.reasons[tasks["poisoned"].key]


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (RuntimeError("the worker died"), 2),
        (DivergedError("loss is nan"), 1),
        (ConfigError("eps must be >= 0"), 1),
    ],
)
def test_only_what_may_end_otherwise_is_tried_again(error: Exception, attempts: int) -> None:
    task = tasks_by_name()["natural"]
    schedule = Schedule([task], seconds={task.key: 1.0})
    tried = 0
    while schedule.next() is not None:
        tried += 1
        schedule.ended(task, error)
    assert tried == attempts
    assert schedule.reasons == {task.key: str(error)}


def test_a_lost_node_costs_no_attempt() -> None:
    task = tasks_by_name()["natural"]
    schedule = Schedule([task], seconds={task.key: 1.0})
    for _ in range(5):
        assert schedule.next() is task
        schedule.again(task)
    assert schedule.next() is task
    schedule.done(task, 1.0)
    assert schedule.over and not schedule.reasons


def test_time_left_is_measured_and_no_shorter_than_the_longest_chain() -> None:
    tasks = tasks_by_name()
    schedule = schedule_of(tasks)
    schedule.at_once = 100
    assert schedule.left == pytest.approx(4.0)  # of the estimates: nothing was measured
    task = schedule.next()
    assert task is not None
    schedule.done(task, 10.0)
    assert schedule.left == pytest.approx(30.0)  # poison, poisoned, rows
    schedule.at_once = 1
    assert schedule.left == pytest.approx(50.0)


@pytest.mark.parametrize(("places", "hours"), [(1, 6.0), (2, 4.0), (100, 4.0)])
def test_makespan_heeds_needs(places: int, hours: float) -> None:
    tasks = list(tasks_by_name().values())
    assert makespan(tasks, {task.key: 1.0 for task in tasks}, places) == hours


def test_items_share_tasks_and_what_is_done_is_left_out(tmp_path) -> None:
    table, sizes = wanted([f"{ITEMS}:TABLE", f"{ITEMS}:SIZES"], SETUP)
    assert len(table.tasks) == 7 and len(sizes.tasks) == 4
    both = left([*table.asked, *sizes.asked], tmp_path)
    assert len(both) == 8
    for task in table.asked:  # their nets need not be trained for them
        task.folder(tmp_path).mkdir(parents=True)
        (task.folder(tmp_path) / "done.json").touch()
    assert left(table.asked, tmp_path) == []
    ahead = left(sizes.asked, tmp_path)
    assert [task.kind for task in ahead] == ["net", "net", "analysis"]


def test_an_item_that_cannot_be_asked_does_not_stop_others() -> None:
    found = wanted([f"{ITEMS}:NOTHING", f"{ITEMS}:TABLE"], SETUP)
    assert "defines no 'NOTHING'" in found[0].error
    assert not found[1].error and found[1].title == "accuracies of three nets"


def test_keys_are_groups_items_and_patterns() -> None:
    assert keys_of(["all"]) == list(PAPERS)
    assert keys_of(["P1.T10", "P1"])[0] == "P1.T10"
    assert keys_of(["P1", "P2.T1"]) == [key for key in PAPERS if key.startswith("P1.")] + ["P2.T1"]
    assert keys_of(["all"], ["P2.T*", "P1.F1"]) == ["P1.F1", *(f"P2.T{n}" for n in range(1, 9))]
    with pytest.raises(ConfigError, match=r"'P1.T100' .*did you mean 'P1.T10'"):
        keys_of(["P1.T100"])
    with pytest.raises(ConfigError, match="only P3 leaves nothing"):
        keys_of(["P2"], ["P3"])


def test_an_item_that_cannot_say_what_it_needs_is_told(tmp_path) -> None:
    """Whatever a file of the user's raises, others are done."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from fftune.papers.items import Item\n"
        "ITEM = Item(key='mine', title='', needs=lambda s: {}[s.scale], build=lambda r: [])\n"
    )
    mine, table = wanted([f"{file}:ITEM", f"{ITEMS}:TABLE"], SETUP)
    assert (mine.error, mine.asked) == ("'tiny'", ())
    assert not table.error
