"""Tables of accuracies, built from rows whose counts give the printed numbers."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import pytest

from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Direction, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.false_friends.tables import T1, T2, T3, T5, T6, T7, T8, T9
from fftune.papers.items import Item
from fftune.papers.tables.published import published
from tests.papers.synthetic_rows import FULL, both_goals, of_one_class, seeds_with, synthetic

GROUPS = {
    ("cifar10", "mlp"): "MLP",
    ("cifar10", "vgg16"): "VGG-16",
    ("cifar10", "wrn28_10"): "WRN-28-10",
    ("cifar10", "resnet18"): "CIFAR-10",
    ("svhn", "resnet18"): "SVHN",
    ("cifar100", "resnet18"): "CIFAR-100",
    ("tiny-imagenet", "resnet18"): "Tiny-ImageNet",
}
OBJECTIVES = {"standard": "NT", "pgd_at": "PGD-AT", "trades": "TRADES"}
TOTALS = [T5, T6, T7, T8, T9]
MEANS = [T1, T2, T3]


def named(items: list[Item]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("item", items, ids=[item.key for item in items])


def net_of(exam: Exam) -> Net:
    assert isinstance(exam.net, Net)
    return exam.net


def as_printed(key: str, exam: Exam) -> Outcomes | None:
    """Rows of one of five seeds whose means and deviations are those that the paper prints."""
    net = net_of(exam)
    kind, robust = net.kind.capitalize(), key in ("P1.T3", "P1.T8", "P1.T9")
    label = f"{kind} ({OBJECTIVES[net.objective]})" if robust else kind
    group = GROUPS[net.data, net.model]
    values = []
    for name in "DAF":
        places = [(key, label), ("P1.T3", label), ("P1.T7", kind)]
        cell = next(filter(None, (published(*one, group, name) for one in places)), None)
        if cell is None:
            return None
        values.append(seeds_with(cell.mean, cell.sd if cell.sd == cell.sd else 0.0)[net.seed])
    return both_goals(*values)


def built(
    item: Item, answer: Callable[[Exam], Outcomes | None] | None = None, setup: Setup = FULL
) -> tuple[Table, Table]:
    first, second = item.build(synthetic(answer or partial(as_printed, item.key), setup))
    assert isinstance(first, Table)
    assert isinstance(second, Table)
    return first, second


@cache
def built_as_printed(item: Item) -> Table:
    return built(item)[0]


def found(directions: tuple[Direction, ...]) -> dict[str, bool | None]:
    return {one.claim: one.found for one in directions}


@pytest.mark.some(4)
@named(TOTALS + MEANS)
def test_cells_and_deviations_are_those_printed(item: Item) -> None:
    table = built_as_printed(item)
    count = 0
    for row in table.rows:
        for (group, name), cell in zip(table.columns, row.cells, strict=True):
            printed = published(item.key, row.label, group, name)
            assert cell.ours is not None
            assert printed is not None
            assert cell.published is not None
            assert f"{cell.ours.mean:.2f}" == f"{printed.mean:.2f}"
            sd = "nan" if item in MEANS else f"{printed.sd:.2f}"
            assert (f"{cell.ours.sd:.2f}", f"{cell.published.sd:.2f}") == (sd, sd)
            exempt = row.label in ("Naive", "Noise")
            assert cell.verdict == ("not comparable" if exempt else "within")
            count += 1
    assert count == {"P1.T3": 54, "P1.T8": 36, "P1.T9": 12}.get(item.key, 45)


@pytest.mark.some(4)
@named(TOTALS + MEANS)
def test_the_claims_hold_for_the_printed_numbers(item: Item) -> None:
    """All but one, which the deviations of untrained nets leave open under l_2."""
    verdicts = found(built_as_printed(item).directions)
    open_ones = ["F exceeds D for every net"] if item is T6 else []
    assert [claim for claim, one in verdicts.items() if one is None] == open_ones
    assert False not in verdicts.values()


def test_a_claim_is_not_found_where_the_friend_makes_things_worse() -> None:
    table, _ = built(T9, lambda _exam: both_goals(60.0, 40.0, 50.0))
    assert found(table.directions)["F exceeds D for every net"] is False


def test_a_robust_net_that_answers_one_class_supports_no_claim() -> None:
    """No friend conceals its mistakes, as no attack moves it."""

    def answer(exam: Exam) -> Outcomes | None:
        net = net_of(exam)
        failed = net.objective == "pgd_at" and net.data == "cifar10"
        return of_one_class(wrong=9000) if failed else as_printed("P1.T3", exam)

    table, _ = built(T3, answer)
    claims = found(table.directions)
    risk = "PGD-AT has a lower hypocritical risk on D- than natural training"
    assert claims[risk] is None
    assert claims["TRADES has a higher hypocritical risk on D- than PGD-AT on Tiny-ImageNet"]
    assert sum("5 of 5 nets answer one class" in note for note in table.notes) == 2


def test_a_training_outside_the_tolerance_is_told() -> None:
    def off(exam: Exam) -> Outcomes:
        trades = net_of(exam).objective == "trades"
        return both_goals(90.69 if trades else 10.0, 59.78, 98.9 + (0.51 if trades else 0.0))

    table, _ = built(T9, off)
    row = next(row for row in table.rows if row.label == "Quality (TRADES)")
    assert [cell.verdict for cell in row.cells] == ["within", "within", "outside"]


def test_risks_of_the_same_nets_stand_beside() -> None:
    """30 of 40 mistakes in a hundred are concealed, 20 of 60 correct images are fooled."""
    _, risks = built(T9, lambda _exam: both_goals(60.0, 40.0, 90.0))
    means = [cell.ours and cell.ours.mean for cell in risks.rows[0].cells]
    assert [name for _, name in risks.columns] == [
        "R_nat",
        "R_adv on D+",
        "R_hyp on D-",
        "inflation",
    ]
    assert means == pytest.approx([40.0, 100 / 3, 75.0, 30.0])


def test_a_seed_that_failed_is_said_and_left_out() -> None:
    def lossy(exam: Exam) -> Outcomes | None:
        net = net_of(exam)
        lost = net.seed == 1 or net.objective == "trades"
        return None if lost else both_goals(80.0, 40.0, 90.0)

    table, _ = built(T9, lossy, Setup(scale="full", seeds=3))
    at, trades = table.rows[2], table.rows[3]
    assert at.cells[0].ours is not None
    assert at.cells[0].ours.seeds == 2
    assert trades.cells[0].ours is None
    assert "svhn resnet18 trades lambda 6 seed 0 failed" in trades.cells[0].reason
    assert any("Quality (PGD-AT) SVHN: 1 of 3 seeds are missing" in note for note in table.notes)


def test_nets_without_mistakes_have_no_hypocritical_risk() -> None:
    _, risks = built(T9, lambda _exam: both_goals(100.0, 40.0, 100.0))
    assert risks.rows[0].cells[2].ours is None
    assert any("undefined (n = 0) for 5 of 5 seeds" in note for note in risks.notes)


@pytest.mark.parametrize("scale", ["tiny", "small"])
def test_other_scales_compare_nothing(scale: str) -> None:
    setup = Setup(scale=scale, seeds=5)  # type: ignore[arg-type]
    table, _ = built(T9, setup=setup)
    cells = [cell for row in table.rows for cell in row.cells]
    assert {(cell.verdict, cell.reason) for cell in cells} == {("not comparable", "other scale")}


@pytest.mark.parametrize(
    ("items", "nets", "evaluations"),
    [
        ([T1, T5], 75, 75),  # 3 architectures x 5 kinds x 5 seeds
        ([T5, T6], 90, 150),  # under l_2 only the Poisoning nets are others
        ([T2, T7], 75, 75),
        ([T3, T8], 90, 90),  # 3 data sets x 2 kinds x 3 trainings x 5 seeds
        ([T9], 30, 30),  # 4 rows and the 2 natural nets that they are compared with
        ([T2, T3, T7, T8], 145, 145),  # 4 natural rows are in both
        ([T1, T2, T3, T5, T6, T7, T8, T9], 255, 315),
    ],
)
def test_tables_share_their_nets(items: list[Item], nets: int, evaluations: int) -> None:
    """Counted by hand."""
    exams = {need for item in items for need in item.needs(FULL)}
    assert len(exams) == evaluations
    assert len({net_of(exam) for exam in exams if isinstance(exam, Exam)}) == nets


def test_nets_are_those_of_the_paper() -> None:
    """Tao et al. 2022, A.1 to A.3: TRADES' lambda is 6, poisons are of the table's norm."""
    exams = [exam for exam in T6.needs(Setup(scale="full", seeds=1)) if isinstance(exam, Exam)]
    poisoned = [exam for exam in exams if net_of(exam).kind == "poisoning"]
    assert {exam.norm for exam in exams} == {"l2"}
    assert {net_of(exam).norm for exam in poisoned} == {"l2"}
    robust = [net_of(exam) for exam in T9.needs(FULL) if isinstance(exam, Exam)]
    assert {net.lam for net in robust if net.objective == "trades"} == {6.0}
    assert replace(robust[0], seed=0) == Net(data="svhn", kind="poisoning", objective="pgd_at")
