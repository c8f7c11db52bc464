"""Tables 14 and 16 of Tao et al. 2022, built from rows whose counts give the printed numbers."""

from collections.abc import Callable

import pyarrow as pa

from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Table
from fftune.papers.declarations import Exam, Net
from fftune.papers.false_friends.attacks import T14
from fftune.papers.false_friends.certified import T16
from fftune.papers.items import Item
from fftune.papers.tables.published import published
from tests.papers.synthetic_rows import FULL, both_goals, friends, synthetic

ATTACKS = ("fgsm", "pgd-20", "pgd-100", "cw-100")
LABELS = {"standard": "NT", "pgd_at": "PGD-AT", "trades": "TRADES", "thrm": "THRM"}


def net_of(exam: Exam) -> Net:
    assert isinstance(exam.net, Net)
    return exam.net


def value(*path: str) -> float:
    found = published(*path)
    assert found is not None
    return found.mean


def label_of(net: Net) -> str:
    return "Naive" if net.kind == "naive" else f"Quality ({LABELS[net.objective]})"


def under_attacks(exam: Exam) -> Outcomes:
    assert exam.battery == "hypocritical"
    label = label_of(net_of(exam))
    under = {attack: value("P1.T14", label, attack) for attack in ATTACKS}
    return friends(value("P1.T14", label, "clean"), under | {"strong": under["cw-100"]})


def certified(exam: Exam) -> Outcomes:
    net = net_of(exam)
    if net.objective == "trades":
        return both_goals(*(value("P1.T10", "TRADES", "80", name) for name in "DAF"))
    assert exam.battery == "certified"
    label = net.kind.capitalize()
    found = (value("P1.T16", label, name) for name in "DAF")
    bound = (value("P1.T16", label, name) for name in ("D", "A certified", "F certified"))
    return together(both_goals(*found), both_goals(*bound, "certified"))


def together(*parts: Outcomes) -> Outcomes:
    return Outcomes(pa.concat_tables([part.table for part in parts]).unify_dictionaries())


def built(item: Item, answer: Callable[[Exam], Outcomes | None]) -> Table:
    (table,) = item.build(synthetic(answer))
    assert isinstance(table, Table)
    return table


def test_attacks_come_out_as_printed_and_in_their_order() -> None:
    table = built(T14, under_attacks)
    assert [row.label for row in table.rows] == [label_of(net_of(exam)) for exam in T14.needs(FULL)]
    for row in table.rows:
        for (_, name), cell in zip(table.columns, row.cells, strict=True):
            printed = published("P1.T14", row.label, name)
            assert cell.ours is not None
            assert (printed is None) == (name == "strong")
            if printed:
                assert f"{cell.ours.mean:.2f}" == f"{printed.mean:.2f}"
                assert cell.verdict == ("not comparable" if row.label == "Naive" else "within")
    assert [one.found for one in table.directions] == [True, True, True]


def test_a_weaker_long_attack_is_told() -> None:
    table = built(T14, lambda _exam: friends(50.0, dict.fromkeys((*ATTACKS, "strong"), 60.0)))
    assert [one.found for one in table.directions] == [None, True, True]
    falling = {"fgsm": 90.0, "pgd-20": 80.0, "pgd-100": 70.0, "cw-100": 60.0, "strong": 60.0}
    table = built(T14, lambda _exam: friends(50.0, falling))
    assert [one.found for one in table.directions] == [False, False, False]


def test_nets_of_table_14() -> None:
    nets = [net_of(exam) for exam in T14.needs(FULL) if isinstance(exam, Exam)]
    assert [(net.objective, net.lam, net.kind) for net in nets] == [
        ("standard", 0.0, "naive"),
        ("standard", 0.0, "quality"),
        ("pgd_at", 0.0, "quality"),
        ("trades", 6.0, "quality"),
        ("thrm", 40.0, "quality"),
    ]


def test_the_papers_slip_is_flagged_and_the_formulas_value_printed() -> None:
    """D 55.62 and F 76.57 give 47.21, where the paper prints 47.25."""
    table = built(T16, certified)
    (poisoned, quality) = table.rows
    cells = dict(zip(table.columns, poisoned.cells, strict=True))
    slip = cells["R_hyp", "empirical"]
    assert slip.ours is not None
    assert slip.published is not None
    assert (f"{slip.ours.mean:.2f}", slip.published.mean) == ("47.21", 47.25)
    assert slip.published.remark == "the paper's D and F give 47.21"
    for row in (poisoned, quality):
        for cell in row.cells[:-1]:
            assert cell.ours is not None
            assert cell.published is not None
            assert cell.verdict == "within"
            if not cell.published.remark:
                assert f"{cell.ours.mean:.2f}" == f"{cell.published.mean:.2f}"
        assert row.cells[-1].published is None
    assert [one.found for one in table.directions] == [True, True, True]


def test_an_attack_beyond_the_certificate_is_told() -> None:
    def beyond(_exam: Exam) -> Outcomes:
        bound = both_goals(60.0, 40.0, 70.0, "certified")
        return together(both_goals(60.0, 50.0, 70.01), bound)

    assert built(T16, beyond).directions[0].found is False


def test_a_net_that_failed_has_no_cells() -> None:
    lost = "poisoning"
    table = built(T16, lambda exam: None if net_of(exam).kind == lost else certified(exam))
    assert {cell.ours for cell in table.rows[0].cells} == {None}
    assert table.rows[0].cells[2].published is not None
    assert table.rows[1].cells[2].ours is not None
    assert table.directions[0].found is None
