"""Nets trained on helped data: what they hang on, and the table."""

import pytest

from fftune.papers.declarations import Exam, Net, Setup, Substandard
from fftune.papers.false_friends.true_friend import COLUMNS, TRUE_FRIEND, _directions
from fftune.papers.results import Results
from fftune.papers.tables.net_risks import NetRisks
from fftune.papers.tasks import perform, tasks_of, trained_as
from fftune.risk import RiskCounts

TINY = Setup(scale="tiny", seeds=1)


def test_help_is_crafted_on_the_natural_net_that_it_is_compared_with() -> None:
    found = tasks_of(TRUE_FRIEND.needs(TINY), TINY)
    natural, rows, data, helped, rows_helped = found
    assert [task.kind for task in found] == ["net", "rows", "data", "net", "rows"]
    assert data.needs == (natural,) == rows.needs
    assert helped.needs == (data,) and rows_helped.needs == (helped,)
    assert data.need == Substandard(data="cifar10", kind="helped")


@pytest.mark.slow
def test_a_helped_net_trains_on_helped_images(tmp_path) -> None:
    for task in tasks_of([Net(model="mlp", kind="helped")], TINY):
        perform(task, tmp_path, device="cpu")
    data, net = tasks_of([Net(model="mlp", kind="helped")], TINY)[-2:]
    place = data.folder(tmp_path) / "digits-helped"
    assert trained_as(net, tmp_path).data.name == f"folder:{place}"
    assert (place / "train.beton").is_file() and (place / "clean.beton").is_file()


def test_what_failed_leaves_its_reason(tmp_path) -> None:
    (table,) = TRUE_FRIEND.build(Results(setup=TINY, root=tmp_path))
    assert [row.label for row in table.rows] == ["quality", "helped"]
    cells = [cell for row in table.rows for cell in row.cells]
    assert len(cells) == 2 * len(COLUMNS)
    assert {cell.reason for cell in cells} == {"it was not computed"}
    assert [one.found for one in table.directions] == [None, None]


def risks(wrong: int) -> NetRisks:
    counts = RiskCounts(total=1000, wrong=wrong, fooled=(1000 - wrong) // 2, concealed=wrong // 2)
    return NetRisks(counts=(counts,), seeds=1)


def test_directions_follow_the_accuracies() -> None:
    assert [one.found for one in _directions(risks(100), risks(400))] == [True, True]
    assert [one.found for one in _directions(risks(400), risks(100))] == [False, False]
    assert [one.found for one in _directions(risks(100), risks(101))] == [None, None]


def test_the_items_exam_is_of_both_kinds() -> None:
    needs = list(TRUE_FRIEND.needs(Setup(scale="tiny", seeds=2)))
    kinds = [(exam.net.kind, exam.net.seed) for exam in needs if isinstance(exam, Exam)]
    assert kinds == [("quality", 0), ("quality", 1), ("helped", 0), ("helped", 1)]
