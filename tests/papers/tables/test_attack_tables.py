from math import isnan

import pyarrow as pa
import pytest

from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Measure, Published
from fftune.papers.tables.attack_tables import COLUMNS, defense_measures, defense_rows
from fftune.risk import Rate
from tests.evaluation.test_defended import BY_HAND
from tests.test_risk import changed


def test_defenses_by_hand() -> None:
    """Two draws of 50 and 100 % are 75; whoever has a draw (`known-hedge`) is left out."""
    found = defense_measures(BY_HAND)
    means = {
        method: {name: measure.mean for name, measure in row.items()}
        for method, row in found.items()
    }
    assert means == {
        "none": {"clean": 75, "pgd-20": 25, "cw": 25, "worst": 0, "eot-hedge": 75, "best": 0},
        "random": {
            "clean": 87.5,
            "pgd-20": 37.5,
            "cw": 50,
            "worst": 25,
            "eot-hedge": 100,
            "best": 25,
        },
        "hedge": {
            "clean": 75,
            "pgd-20": 50,
            "cw": 62.5,
            "worst": 37.5,
            "eot-hedge": 37.5,
            "best": 25,
        },
    }
    assert list(found) == ["none", "random", "hedge"]
    hedge = found["hedge"]["clean"]
    assert (hedge.sd**2, hedge.seeds, hedge.n) == (pytest.approx(1250), 2, 4)
    lows, highs = zip(Rate(2, 4).interval, Rate(4, 4).interval, strict=True)
    assert (hedge.low, hedge.high) == pytest.approx((50 * sum(lows), 50 * sum(highs)))
    assert isnan(found["none"]["pgd-20"].sd)


def test_rows_are_in_the_layout_of_table_1() -> None:
    rows = defense_rows(BY_HAND, "TRADES")
    assert [(row.block, row.label) for row in rows] == [
        *(("TRADES", "-"), ("TRADES", "Random"), ("TRADES", "Hedge")),
    ]
    cells = dict(zip(COLUMNS.values(), rows[2].cells, strict=True))
    assert isinstance(cells["C&W"].ours, Measure) and cells["C&W"].ours.mean == 62.5
    assert cells["RayS"].ours is None and cells["RayS"].reason == "there are no rows of rays"


def test_cells_are_put_beside_published_ones() -> None:
    def beside(defense: str, column: str, measure: Measure | None) -> Cell:
        printed = {("hedge", "worst"): 56.21}.get((defense, column))
        return Cell(ours=measure, published=Published(mean=printed) if printed else None)

    *_, hedge = defense_rows(BY_HAND, "TRADES", ("clean", "worst"), beside)
    assert hedge.cells[0].published is None
    assert hedge.cells[1] == Cell(ours=hedge.cells[1].ours, published=Published(mean=56.21))


def test_seeds_of_the_attack_are_draws_too() -> None:
    """The variance of "-" is over attacks, not over defenses; natural accuracy has none."""
    table = BY_HAND.table
    other = changed(table, "seed", [1] * len(table), pa.int64())
    failing = changed(other, "pred_pert", [0] * len(table), pa.int32())
    found = defense_measures(Outcomes.of([table, failing]))
    assert found["none"]["pgd-20"].mean == 62.5 and found["none"]["pgd-20"].seeds == 2
    assert found["none"]["pgd-20"].sd ** 2 == pytest.approx(75**2 / 2)
    assert found["hedge"]["pgd-20"].seeds == 4


def test_without_defenses_the_bare_net_is_one_row() -> None:
    bare = BY_HAND.where(defense="none", attack="pgd-20")
    (row,) = defense_rows(bare, "net", ("clean", "pgd-20", "worst"))
    assert [cell.ours.mean for cell in row.cells if cell.ours] == [75, 25, 25]
