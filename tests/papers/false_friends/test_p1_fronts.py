"""Tables of both methods over lambda: derived risks equal all the printed ones."""

from collections.abc import Callable

import numpy as np
import pytest

from fftune.comparison import GapBand
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Row, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.false_friends.fronts import LEFT_OUT, T10, T11, T12, T13, at_equal_natural_risk
from fftune.papers.items import Item
from fftune.papers.pages.render import render
from fftune.papers.tables.net_risks import CONSTANT
from fftune.papers.tables.published import published
from tests.papers.synthetic_rows import FULL, both_goals, of_one_class, synthetic

ITEMS = [T10, T11, T12, T13]
METHODS = {"thrm": "THRM", "trades": "TRADES"}
EXPECTED: dict[str, dict[str, bool | None]] = {
    "P1.T10": {"at equal": True, "with lambda THRM": True, "with lambda TRADES": True},
    "P1.T11": {"at equal": True, "with lambda THRM": True, "with lambda TRADES": True},
    "P1.T12": {"at equal": True, "with lambda THRM": True, "with lambda TRADES": True},
    "P1.T13": {"with small": True, "at equal": True, "with lambda TRADES": True},
}
"""What the printed numbers say of the paper's claims, by the claims' first words."""


def net_of(exam: Exam) -> Net:
    assert isinstance(exam.net, Net)
    return exam.net


def printed_rows(key: str) -> Callable[[Exam], Outcomes]:
    """Rows that give the printed accuracies; lambda = 0 has THRM's, which are TRADES', too."""

    def answer(exam: Exam) -> Outcomes:
        net = net_of(exam)
        where = METHODS.get(net.objective, "THRM"), f"{net.lam:g}"
        cells = [published(key, *where, name) for name in "DAF"]
        return both_goals(*(cell.mean for cell in cells if cell))

    return answer


def built(
    item: Item, answer: Callable[[Exam], Outcomes | None] | None = None, setup: Setup = FULL
) -> Table:
    (table,) = item.build(synthetic(answer or printed_rows(item.key), setup))
    assert isinstance(table, Table)
    return table


def means(row: Row) -> list[float]:
    return [cell.ours.mean if cell.ours else float("nan") for cell in row.cells]


@pytest.mark.some(2)
@pytest.mark.parametrize("item", ITEMS, ids=[item.key for item in ITEMS])
def test_derived_risks_and_claims_are_the_printed_ones(item: Item) -> None:
    """18 rows of three accuracies and three risks, and what the paper says of them."""
    table = built(item)
    risks = 0
    for row in table.rows:
        for (group, name), cell in zip(table.columns, row.cells, strict=True):
            assert cell.ours is not None
            printed = published(item.key, row.block, row.label, name)
            assert (printed is None) == (group == "Direct")
            if printed:
                assert f"{cell.ours.mean:.2f}" == f"{printed.mean:.2f}", (row.block, row.label)
                assert cell.verdict == "within"
                risks += group == "Risk"
    assert (len(table.rows), risks) == (18, 54)
    verdicts = {one.claim: one.found for one in table.directions}
    for words, found in EXPECTED[item.key].items():
        (claim,) = (claim for claim in verdicts if claim.startswith(words))
        assert verdicts[claim] is found, claim


def test_lambda_0_is_one_net_for_both_methods() -> None:
    table = built(T10)
    assert [row.label for row in table.rows] == [
        "0",
        "1",
        "5",
        "10",
        "20",
        "40",
        "60",
        "80",
        "100",
    ] * 2
    first, second = (
        next(row for row in table.rows if row.block == one) for one in METHODS.values()
    )
    assert means(first) == means(second)
    assert len(list(T10.needs(FULL))) == 18
    assert len(set(T10.needs(FULL))) == 17


def test_direct_risks_differ_where_the_friend_breaks_images() -> None:
    """Of 40 mistakes 30 are concealed, and 10 correct images are broken; F is 80."""
    rows = both_goals(60.0, 40.0, 90.0)
    frame = rows.to_pandas()
    broken = (frame["goal"] == "hypocritical") & (frame["id"] < 1000)
    spoiled = np.where(broken, 1, frame["pred_pert"]).astype(np.int32)
    at = rows.table.schema.get_field_index("pred_pert")
    table = built(T10, lambda _exam: Outcomes(rows.table.set_column(at, "pred_pert", [spoiled])))
    columns = dict(zip(table.columns, means(table.rows[0]), strict=True))
    assert columns["Accuracy", "F"] == pytest.approx(80.0)
    assert columns["Risk", "R_hyp"] == pytest.approx(50.0)
    assert columns["Direct", "R_hyp on D-"] == pytest.approx(75.0)
    assert columns["Direct", "inflation"] == pytest.approx(30.0)
    assert any("1,000 of 10,000 examples are correct until they are" in n for n in table.notes)


def test_the_better_method_is_told_apart() -> None:
    """THRM's rows under TRADES' name, and the other way round."""
    printed = printed_rows("P1.T11")
    other = {"thrm": "trades", "trades": "thrm"}

    def swapped(exam: Exam) -> Outcomes:
        net = net_of(exam)
        objective = other.get(net.objective, net.objective)
        return printed(Exam(net=Net(data=net.data, objective=objective, lam=net.lam)))

    directions = built(T11, swapped).directions
    (claim,) = (one for one in directions if one.claim.startswith("at equal"))
    assert claim.found is False


def test_a_front_that_turns_with_lambda_is_not_the_papers() -> None:
    """Natural risk falls as lambda grows."""
    table = built(T10, lambda exam: both_goals(50 + 0.4 * net_of(exam).lam, 40.0, 95.0))
    claims = [one for one in table.directions if one.claim.startswith("with lambda")]
    assert [one.found for one in claims] == [False, False]
    assert "contrary neighbours: R_nat, lambda 5 and 1" in claims[0].seen


def test_missing_nets_leave_the_claims_open() -> None:
    table = built(T13, lambda _exam: None)
    assert [one.found for one in table.directions] == [None, None, None]
    assert {cell.ours for row in table.rows for cell in row.cells} == {None}


def test_scales_have_their_own_lambdas() -> None:
    setup = Setup(scale="small")
    assert len(set(T10.needs(setup))) == 7
    assert [row.label for row in built(T10, setup=setup).rows] == ["0", "5", "20", "80"] * 2


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        ([-0.3, -0.3, -0.3, -0.1], [-0.1, -0.1, -0.1, 0.1], True),
        ([-0.3, -0.3, -0.1, -0.1], [-0.1, -0.1, 0.1, 0.1], None),
        ([-0.3, -0.3, -0.3, 0.1], [-0.1, -0.1, -0.1, 0.2], None),
        ([0.1, 0.1, 0.1, -0.1], [0.2, 0.2, 0.2, 0.1], False),
        ([float("nan")] * 4, [float("nan")] * 4, None),
    ],
)
def test_bands_decide_by_the_larger_part(
    low: list[float], high: list[float], found: bool | None
) -> None:
    natural = np.linspace(0.1, 0.2, 4)
    band = GapBand(natural=natural, gap=natural, low=np.array(low), high=np.array(high))
    assert at_equal_natural_risk("claim", band).found is found


def test_fronts_without_a_common_natural_risk() -> None:
    nothing = np.empty(0)
    band = GapBand(natural=nothing, gap=nothing, low=nothing, high=nothing)
    assert at_equal_natural_risk("claim", band).found is None


@pytest.mark.slow
def test_a_gap_says_which_nets_it_is_without() -> None:
    def answer(exam: Exam) -> Outcomes | None:
        place = net_of(exam).objective, net_of(exam).lam
        return None if place in (("thrm", 5), ("trades", 60), ("trades", 80)) else printed(exam)

    printed = printed_rows("P1.T10")
    (gap, *_) = built(T10, answer).directions
    assert gap.found is True
    assert gap.seen.endswith(f"without lambda of THRM 5 and TRADES 60, 80: {LEFT_OUT}")
    assert "without" not in built(T10).directions[0].seen


def test_nets_that_answer_one_class_are_marked_and_prove_nothing() -> None:
    """Nothing of theirs can be concealed: a lambda that destroys a net is no defense."""

    def answer(exam: Exam) -> Outcomes:
        return of_one_class(wrong=9000) if net_of(exam).lam == 100 else printed_rows("P1.T10")(exam)

    table = built(T10, answer)
    lasts = [row for row in table.rows if row.label == "100"]
    assert {cell.remark for row in lasts for cell in row.cells} == {f"1 of 1 {CONSTANT}"}
    assert all(not cell.remark for row in table.rows if row not in lasts for cell in row.cells)
    assert means(lasts[0])[5] == 0  # the hypocritical risk
    gap, thrm, trades = table.directions
    assert "without lambda of THRM 100 and TRADES 100" in gap.seen
    for one, method in ((thrm, "THRM"), (trades, "TRADES")):
        assert one.found is True and "lambda 1 and 80" in one.seen
        assert f"without lambda of {method} 100" in one.seen
    assert f"(a) 1 of 1 {CONSTANT}" in render([table])
    told = [note for note in table.notes if "no claim about training counts them" in note]
    assert [note.partition(":")[0] for note in told] == ["THRM 100", "TRADES 100"]
