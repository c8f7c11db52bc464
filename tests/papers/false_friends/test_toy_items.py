"""Items that need nothing: the toys of Tao et al. 2022 and the linear model of Wu et al. 2021."""

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fftune.papers.artifacts import Figure, Published, Table
from fftune.papers.declarations import Setup
from fftune.papers.false_friends import toy_items
from fftune.papers.hedge_defense import linear_items, linear_plot
from fftune.papers.items import Item
from fftune.papers.results import Results

TOYS = {item.key: item for item in vars(toy_items).values() if isinstance(item, Item)}
LINEAR = {item.key: item for item in vars(linear_items).values() if isinstance(item, Item)}


@cache
def built(item: Item):
    assert list(item.needs(Setup())) == []
    return list(item.build(Results(setup=Setup(), root=Path("nowhere"))))


def test_every_key_is_there() -> None:
    assert {*TOYS} == {"P1.T15", "P1.F8", "P1.F9", "P1.F10", "P1.F11", "P1.F12"}
    assert {*LINEAR} == {"P2.F4", "P2.F10", "P2.F11", "P2.F12"}


@pytest.mark.some(5)
@pytest.mark.parametrize("key", [*TOYS, *LINEAR])
def test_an_item_is_built_from_nothing(key) -> None:
    """Every claim of the papers about these models holds: they are exact."""
    found = built((TOYS | LINEAR)[key])
    assert found[0].name == key
    assert len({artifact.name for artifact in found}) == len(found)
    for artifact in found:
        assert all(direction.found is True for direction in artifact.directions)
        if isinstance(artifact, Figure):
            assert artifact.plot.to_json()


def test_table_15_is_as_published() -> None:
    (table,) = built(TOYS["P1.T15"])
    assert isinstance(table, Table)
    cells = [cell for row in table.rows for cell in row.cells]
    assert [cell.ours.mean for cell in cells] == [12.5, 37.5, 100, 62.5, 100, 37.5, 100, 0, 100, 0]
    assert {cell.verdict for cell in cells} == {"within"}
    assert "1/8, 1, 1, 1, 1" in table.notes[0]
    assert "3/8, 5/8, 3/8, 0, 0" in table.notes[0]


def test_a_number_beside_the_published_one_is_outside() -> None:
    wrong = Published(mean=12.0, tolerance=0.1)
    assert toy_items._exact(Fraction(1, 8), wrong).verdict == "outside"


def area(trace) -> float:
    """The shoelace formula."""
    x, y = np.asarray(trace.x, float), np.asarray(trace.y, float)
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def test_drawn_areas_are_the_measures() -> None:
    (figure,) = built(TOYS["P1.F10"])
    filled = [trace for trace in figure.plot.data if trace.fill == "toself"]
    precision, recall = filled[:2], filled[2:4]
    exact = toy_items.CircleExample(toy_items.DRAWN_B)
    # In the first panel the circle's part lies on the slab; in the second on the whole circle.
    assert area(precision[1]) / area(precision[0]) == pytest.approx(exact.precision, abs=1e-3)
    assert area(recall[1]) / area(recall[0]) == pytest.approx(exact.recall, abs=1e-3)
    # Then slab, strip, white circle part, other part, its strip: twice.
    slab, strip, white, part, other = map(area, filled[4:9])
    inside = white - area_of_white_below(figure)
    assert (strip - inside + other) / (slab - white + part) == pytest.approx(
        exact.adversarial_risk, abs=1e-3
    )


def area_of_white_below(figure) -> float:
    """The white part that lies below the strip."""
    x, y = toy_items._cap(0, toy_items.DRAWN_B - toy_items.REACH)
    return area(type(figure.plot.data[0])(x=x, y=y))


def test_pgd_lies_on_the_exact_curves() -> None:
    (figure,) = built(TOYS["P1.F12"])
    traces = {trace.name: trace for trace in figure.plot.data}
    for exact, found in (("R_adv(f, D+)", "R_adv by PGD"), ("R_hyp(f, D-)", "R_hyp by PGD")):
        at = np.interp(traces[found].x, traces[exact].x, traces[exact].y)
        assert np.allclose(at, traces[found].y, atol=2 / toy_items.SIDE)


def regions(plot) -> list[tuple[float, float, float]]:
    """Ends of the purple rectangles, with the sign of their side."""
    shapes = [shape for shape in plot.layout.shapes if shape.fillcolor == linear_plot.PURPLE]
    return [(shape.x0, shape.x1, np.sign(shape.y1)) for shape in shapes]


@pytest.mark.some(3)
@pytest.mark.parametrize(
    ("key", "index", "expected"),
    [
        ("P2.F4", 0, [(0, 0.5, 1)] * 2),  # (d) and (e): (0, zeta) of y = +1
        ("P2.F4", 1, [(0, 0.5, 1), (-1, -0.5, 1)]),  # cross-entropy pushes them further away
        ("P2.F4", 2, [(0, 0.5, 1), (0.5, 1, -1), (-1, 0.5, 1)]),
        ("P2.F10", 0, [(0, 1, -1), (-1, 0, 1)] * 2 + [(1, 2, -1), (-2, -1, 1)]),
        ("P2.F11", 0, []),
        ("P2.F12", 0, [(1, 1.5, 1), (0, 1.5, 1), (0, 1.5, 1), (1, 1.5, 1)]),
    ],
)
def test_wrong_answers_are_where_the_papers_say(key, index, expected) -> None:
    figure = built(LINEAR[key])[index]
    assert regions(figure.plot) == [pytest.approx(region, abs=1e-9) for region in expected]


def test_arrows_lead_where_the_next_panel_begins() -> None:
    """Attackers push towards 0, the hedge away from it, each by eps = 1."""
    plot = built(LINEAR["P2.F4"])[0].plot
    arrows = [a for a in plot.layout.annotations if a.axref and a.axref.startswith("x")]
    by_row = {ref: [a.x - a.ax for a in arrows if a.axref == ref] for ref in ("x", "x3", "x5")}
    for ref, row in by_row.items():
        sides = [np.sign(a.y) for a in arrows if a.axref == ref]
        toward = -1 if ref != "x5" else 1
        assert row and np.allclose(row, toward * np.asarray(sides))


def test_cross_entropy_restores_nothing() -> None:
    note = built(LINEAR["P2.F4"])[1].notes[0]
    assert "attacked 91.67%, attacked and hedged 91.67%" in note
