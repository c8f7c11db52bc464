from math import isnan

import pyarrow as pa
import pytest

from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Measure
from fftune.papers.attack_tables import DEFENDED_COLUMNS, defense_measures, defense_rows
from fftune.risk import Rate
from tests.evaluation.test_defended import BY_HAND
from tests.test_risk import changed


def test_defences_by_hand() -> None:
    """Two draws of 50 and 100 % are 75; the adaptive attackers of these rows are left out."""
    found = defense_measures(BY_HAND)
    means = {
        method: {name: measure.mean for name, measure in row.items()}
        for method, row in found.items()
    }
    assert means == {
        "-": {"natural": 75, "PGD": 25, "C&W": 25, "worst case": 0},
        "Random": {"natural": 87.5, "PGD": 37.5, "C&W": 50, "worst case": 25},
        "Hedge": {"natural": 75, "PGD": 50, "C&W": 62.5, "worst case": 37.5},
    }
    assert list(found) == ["-", "Random", "Hedge"]
    hedge = found["Hedge"]["natural"]
    assert (hedge.sd**2, hedge.seeds, hedge.n) == (pytest.approx(1250), 2, 4)
    lows, highs = zip(Rate(2, 4).interval, Rate(4, 4).interval, strict=True)
    assert (hedge.low, hedge.high) == pytest.approx((50 * sum(lows), 50 * sum(highs)))
    assert isnan(found["-"]["PGD"].sd)


def test_rows_are_in_the_layout_of_table_1() -> None:
    rows = defense_rows(BY_HAND, "TRADES")
    assert [(row.block, row.label) for row in rows] == [
        *(("TRADES", "-"), ("TRADES", "Random"), ("TRADES", "Hedge")),
    ]
    cells = dict(zip(DEFENDED_COLUMNS, rows[2].cells, strict=True))
    assert isinstance(cells["C&W"].ours, Measure) and cells["C&W"].ours.mean == 62.5
    assert cells["RayS"].ours is None and cells["RayS"].reason == "no rows of RayS"


def test_seeds_of_the_attack_are_draws_too() -> None:
    """The variance of "-" is over attacks, not over defences; natural accuracy has none."""
    table = BY_HAND.table
    other = changed(table, "seed", [1] * len(table), pa.int64())
    failing = changed(other, "pred_pert", [0] * len(table), pa.int32())
    found = defense_measures(Outcomes.of([table, failing]))
    assert found["-"]["PGD"].mean == 62.5 and found["-"]["PGD"].seeds == 2
    assert found["-"]["PGD"].sd ** 2 == pytest.approx(75**2 / 2)
    assert found["Hedge"]["PGD"].seeds == 4


def test_without_defences_the_bare_net_is_one_row() -> None:
    bare = BY_HAND.where(defense="none", attack="pgd-20")
    (row,) = defense_rows(bare, "net", ("natural", "PGD", "worst case"))
    assert [cell.ours.mean for cell in row.cells if cell.ours] == [75, 25, 25]
