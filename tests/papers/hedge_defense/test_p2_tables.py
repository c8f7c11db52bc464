from dataclasses import replace
from math import isnan

import pyarrow as pa
import pytest

from fftune.config import BatteryConfig
from fftune.evaluation.adaptive import adaptive_attacks, is_adaptive
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.defended import CLEAN, CONTROLS, DefenseSet
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Published
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.hedge_defense import tables as p2_tables
from fftune.papers.hedge_defense.adaptive_tables import T6, T8
from fftune.papers.hedge_defense.fast_at_table import T3
from fftune.papers.hedge_defense.tables import T1, T2, T5, T7
from fftune.papers.hedge_defense.variance_table import T4, variances
from fftune.papers.scales import ball_of, behind, config_of
from fftune.papers.tables.attack_tables import COLUMNS, WORST
from fftune.papers.tables.net_risks import CONSTANT
from fftune.papers.tables.published import published
from fftune.papers.tasks import runs
from fftune.papers.zoo import ZooNet
from tests.papers.defended_rows import defended

NET = ZooNet(
    name="Zhang2019Theoretically", factory="nets.py:trades", tables=("P2.T1", "P2.T6", "P2.T8")
)
FULL = Setup(scale="full", zoo=(NET,))
AFTER = {"none": 3, "random": 120, "hedge": 278}
"""Where AutoAttack's right images begin, so that the worst case is the published one."""


class Answers:
    """Results of one evaluation of every net in `rows`, whatever is asked."""

    def __init__(self, setup, rows):
        self.setup, self._rows = setup, rows

    def rows(self, exam):
        return self._rows.get(exam.net)

    def why_missing(self, need):
        return "its training diverged"


def trades(n=10_000):
    """Images under every attack, as many right as the paper prints of TRADES."""
    right = {}
    for defense, begin in AFTER.items():
        for column in COLUMNS:
            cell = published("P2.T1", NET.name, defense, column)
            if column != "worst":
                first = begin if column == "autoattack" else 0
                count = round(n * cell.mean / 100)
                right[defense, column] = [range(first, first + count)]
    return defended(right, n)


def test_a_net_that_answers_one_class_is_no_robust_one() -> None:
    """Its accuracy under attack is its clean one, and a hedge costs it nothing."""
    n = 100
    right = {
        (defense, column): [range(10)] for defense in AFTER for column in COLUMNS if column != WORST
    }
    rows = defended(right, n)
    labels = pa.array([int(i >= 10) * (1 + i % 9) for i in range(n)] * (len(rows) // n), pa.int32())
    table = rows.table
    for name in ("pred_clean", "pred_pert", "pred_clean_defended"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array([0] * len(rows), pa.int32()))
    at = table.schema.get_field_index("y")
    rows = Outcomes(table.set_column(at, table.schema.field(at), labels))
    (table,) = T1.build(Answers(FULL, {NET: rows}))
    assert f"{NET.name}: 1 of 1 {CONSTANT}; claims leave it out." in table.notes
    assert {one.found for one in table.directions} == {None}
    assert {one.seen for one in table.directions} == {"no numbers"}


def test_rows_with_the_published_counts_give_the_published_block() -> None:
    (table,) = T1.build(Answers(FULL, {NET: trades()}))
    assert [column for _, column in table.columns] == list(COLUMNS.values())
    block = [row for row in table.rows if row.block == NET.name]
    assert [row.label for row in block] == ["-", "Random", "Hedge"]
    for row in block:
        assert len(row.cells) == len(COLUMNS)
        for cell in row.cells:
            assert cell.ours.mean == pytest.approx(cell.published.mean, abs=1e-9)
            assert cell.ours.n == 10_000
            assert (cell.verdict, cell.reason) == ("within", "")
    *gains, cost = table.directions
    assert all(one.found for one in gains)
    assert cost.found is None and cost.seen.startswith("-0.93 points (95 % CI -1.12 to -0.74")


def test_a_number_that_is_off_is_outside() -> None:
    net = replace(NET, name="Sehwag2020Hydra")  # other printed numbers, the same rows
    (table,) = T1.build(Answers(replace(FULL, zoo=(net,)), {net: trades(100)}))
    assert table.rows[0].cells[1].verdict == "outside"


def test_what_failed_says_why() -> None:
    (table,) = T1.build(Answers(FULL, {NET: trades(100)}))
    missing = [row for row in table.rows if row.block != NET.name]
    assert [row.block for row in missing] == ["AT (self-trained)"] * 3
    cell = missing[2].cells[1]
    assert cell.ours is None and cell.reason == "its training diverged"
    assert cell.published and cell.published.mean == 48.31


def test_other_scales_compare_nothing() -> None:
    (table,) = T1.build(Answers(replace(FULL, scale="small"), {NET: trades(100)}))
    cell = table.rows[0].cells[0]
    assert (cell.verdict, cell.reason) == ("not comparable", "other scale")


def test_cells_that_a_zoo_prints() -> None:
    own = ZooNet(
        name="mine",
        factory="nets.py:mine",
        tables=("P2.T1",),
        published=(("hedge", "pgd-20", 58.5),),
    )
    (table,) = T1.build(Answers(replace(FULL, zoo=(own,)), {own: trades(100)}))
    cell = table.rows[2].cells[1]
    assert cell.published == Published(mean=58.5, tolerance=0.5)
    assert cell.verdict == "within"
    assert table.rows[2].cells[2].published is None


def test_published_nets_in_the_papers_order(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    (table,) = T1.build(Answers(Setup(scale="full"), {}))
    names = [row.block for row in table.rows[::3]]
    assert len(names) == 9
    assert names[-2:] == ["AT (self-trained)", "Standard"]
    assert names[0] == "Gowal2020Uncovering_70_16_extra"
    for row in table.rows:
        assert all(cell.published for cell in row.cells)
    weights = tmp_path / "weights/cifar10/Linf/Gowal2020Uncovering_70_16_extra.pt"
    assert table.rows[0].cells[0].reason == f"there are no weights in {weights}"
    assert [exam.net for exam in T1.needs(Setup(scale="full"))] == [Net(objective="pgd_at")]
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert len(list(T1.needs(Setup(scale="full")))) == 2


def test_the_repeated_row_is_the_papers_own(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    (table,) = T5.build(Answers(Setup(scale="full"), {}))
    assert len(table.rows) == 17 * 3
    flagged = {row.block for row in table.rows if "repeats" in row.cells[0].published.exempt}
    assert flagged == {"Gowal2020Uncovering_34_20"}


def test_l2_has_its_own_worst_case() -> None:
    right = {("none", name): [range(8)] for name in (CLEAN, "apgd-ce", "apgd-t", "fab-t")}
    right |= {("none", "square"): [range(9)], ("none", "autoattack"): [range(7)]}
    rows = defended(right, 10)
    net = replace(NET, norm="l2", tables=("P2.T7",))
    (table,) = T7.build(Answers(replace(FULL, zoo=(net,)), {net: rows}))
    assert [cell.ours.mean for cell in table.rows[0].cells] == [80, 80, 80, 80, 90, 70, 70]


def test_variances_of_known_draws() -> None:
    right = {("none", CLEAN): [range(4)], ("hedge", CLEAN): [range(4)]}
    right |= {("none", "pgd-20"): [range(1)]}
    draws = {("hedge", "pgd-20"): [range(2), range(4), range(3)]}
    first = defended(right | draws, 4)
    others = [
        defended({("none", "pgd-20"): [range(count)]}, 4, seed=seed)
        for seed, count in ((1, 1), (2, 4))
    ]
    found = variances(first, *others)
    assert found["hedge"]["pgd-20"].mean == pytest.approx(625)  # of 50, 100, 75
    assert found["none"]["pgd-20"].mean == pytest.approx(1875)  # of 25, 25, 100
    assert found["none"]["worst"].mean == pytest.approx(1875)
    assert (found["none"]["pgd-20"].seeds, found["hedge"]["pgd-20"].seeds) == (3, 3)
    assert isnan(found["hedge"]["pgd-20"].sd)

    setup = Setup(scale="full", zoo=(NET,))
    rows = {(NET, 0): first, (NET, 1): others[0], (NET, 2): others[1]}

    class BySeed(Answers):
        def rows(self, exam):
            return self._rows.get((exam.net, exam.seed))

    (table,) = T4.build(BySeed(setup, rows))
    assert table.rows[0].cells[0].ours.mean == pytest.approx(1875)
    assert table.rows[2].cells[0].published.mean == 0.02
    assert table.rows[2].cells[0].verdict == "outside"


def both_nets():
    natural = {("none", CLEAN): [range(9)], ("none", "label-free"): [range(2)]}
    robust = {("none", CLEAN): [range(8)], ("none", "label-free"): [range(7)]}
    return (
        defended(natural | {("none", "pgd-20"): [range(0)]}, 10),
        defended(robust | {("none", "pgd-20"): [range(5)]}, 10),
    )


def test_the_label_free_attack() -> None:
    natural, _ = both_nets()
    exams = {exam.net: rows for exam, rows in zip(T6.needs(Setup()), (natural, None), strict=True)}
    (table,) = T6.build(Answers(Setup(), exams))
    assert [row.label for row in table.rows] == ["Standard", "TRADES"]
    assert [cell.ours.mean for cell in table.rows[0].cells] == [90, 20]
    assert [cell.published.mean for cell in table.rows[1].cells] == [84.92, 79.97]
    assert table.rows[1].cells[0].reason == "its training diverged"


def test_the_label_free_attack_costs_a_natural_net_more() -> None:
    exams = T6.needs(Setup())
    rows = {exam.net: one for exam, one in zip(exams, both_nets(), strict=True)}
    (table,) = T6.build(Answers(Setup(), rows))
    fools, more = table.directions
    assert fools.found and fools.seen.startswith("+70.00")
    assert more.found and more.seen.startswith("+60.00")


def test_the_aware_attack() -> None:
    (exam,) = T8.needs(Setup())
    right = {("none", CLEAN): [range(90)], ("none", "pgd-20"): [range(50)]}
    right |= {("hedge", "pgd-20"): [range(70), range(72)], ("none", "aware-hedge"): [range(60)]}
    right |= {("hedge", "aware-hedge"): [range(64), range(62)]}
    (table,) = T8.build(Answers(Setup(), {exam.net: defended(right, 100)}))
    assert [row.label for row in table.rows] == ["Attack the model", "Attack Hedge Defense"]
    assert [cell.ours.mean for row in table.rows for cell in row.cells] == [50, 71, 60, 63]
    printed = [cell.published.mean for row in table.rows for cell in row.cells]
    assert printed == [63.17, 66.38, 67.08, 65.78]
    assert [one.seen.split()[0] for one in table.directions] == ["+10.00", "+8.00", "+13.00"]
    assert all(one.found for one in table.directions)


def test_fast_at_has_a_net_for_each_radius() -> None:
    exams = list(T3.needs(Setup(scale="full")))
    assert {(exam.net.model, exam.net.eps, exam.eps) for exam in exams} == {
        (model, eps, eps) for model in ("resnet50", "resnet101") for eps in (2 / 255, 4 / 255)
    }
    for scale, unit in (("full", 1), ("tiny", 0.15 / (8 / 255))):
        for exam in T3.needs(Setup(scale=scale)):
            attack = config_of(exam.net, scale).attack
            assert attack.threat.eps == pytest.approx(unit * exam.eps)
            assert attack.step_length == pytest.approx(1.25 * unit * exam.eps)
    rows = {}
    for exam in exams:
        right = {("none", CLEAN): [range(10)], ("hedge", CLEAN): [range(10)]}
        count = 4 if exam.net.model == "resnet50" else 5
        for steps in (10, 50, 100):
            right["none", f"pgd-{steps}"] = [range(count)]
            right["hedge", f"pgd-{steps}"] = [range(2 * count)]
        rows[exam.net] = defended(right, 10)
    del rows[exams[0].net]  # ResNet-50 at 2/255
    (table,) = T3.build(Answers(Setup(scale="full"), rows))
    means = [[cell.ours and cell.ours.mean for cell in row.cells] for row in table.rows]
    assert means == [[None] * 3 + [40] * 3, [None] * 3 + [80] * 3, [50] * 6, [100] * 6]
    assert table.rows[3].cells[5].published.mean == 38.54
    assert [one.seen.split()[0] for one in table.directions] == ["+46.67", "+10.00"]


@pytest.mark.parametrize("setup", [Setup(), Setup(scale="small"), FULL])
def test_tables_share_their_evaluations(setup) -> None:
    assert set(T1.needs(setup)) <= set(T4.needs(setup))
    others = [exam for item in (T2, T5, T7) for exam in item.needs(setup)]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("item", [T1, T2, T3, T4, T5, T6, T7, T8])
def test_only_adaptive_attackers_that_a_table_shows_are_run(item) -> None:
    """Of those that the exam offers, by their names in rows; and any name is one of them."""
    shown = {T6: {"label-free"}, T8: {"aware-hedge"}}.get(item, set())
    for exam in item.needs(Setup()):
        threat = ball_of(exam.norm, "tiny", exam.eps)
        offered = attacks_of(BatteryConfig(name=exam.battery), threat)
        if exam.defenses:
            among = DefenseSet.of(
                behind(exam.defenses), threat, source="", split="", attacks=len(offered)
            )
            offered += adaptive_attacks(offered, among, threat)
        taken = {one.name for one in offered if runs(exam, one.name)}
        assert {name for name in taken if is_adaptive(name)} == shown
        assert set(exam.attacks) <= taken
        assert taken - shown - set(CONTROLS)


def test_the_worst_case_of_table_7_is_over_the_attacks_that_it_shows() -> None:
    (exam,) = T7.needs(Setup())
    assert exam.attacks == ("apgd-ce", "apgd-t", "fab-t", "square", "autoattack")
    assert [COLUMNS[name] for name in exam.attacks] == [
        column for _, column in T7.build(Answers(Setup(), {}))[0].columns[1:-1]
    ]


def test_a_zoo_stands_at_every_scale_for_our_nets() -> None:
    for scale in ("tiny", "small", "full"):
        exams = list(T1.needs(replace(FULL, scale=scale)))
        assert exams[0] == Exam(net=NET, battery="nine", defenses=p2_tables.DEFENSES, size="few")
        assert [exam.net for exam in exams[1:]] == [Net(objective="pgd_at")]
