"""Tao et al. 2022, table 15 and figures 8 to 12: the examples of appendix E, exact and drawn."""

from collections.abc import Iterable
from fractions import Fraction
from math import asin

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fftune.papers.artifacts import Cell, Direction, Figure, Measure, Published, Row, Table
from fftune.papers.declarations import Need, Setup
from fftune.papers.false_friends.toys import (
    CENTRE,
    RADIUS,
    REACH,
    CircleExample,
    ExactRisks,
    StepExample,
    attacked,
    best_precision,
    circle_points,
)
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables.published import published
from fftune.papers.tables.verdicts import cell
from fftune.report.plots import COLORS, LAYOUT

BLUE, ORANGE, GREY = COLORS[0], COLORS[1], COLORS[5]
DRAWN_B = 0.3
"""Threshold of figures 9 and 10."""
SIDE = 100
"""Points a side of the grid on which PGD is tried beside the exact curves."""
RISKS = {
    "R_nat": "natural_risk",
    "R_hyp": "hypocritical_risk_all",
    "R_adv": "adversarial_risk_all",
    "R_hyp on D-": "hypocritical_risk",
    "R_adv on D+": "adversarial_risk",
}
EXACT = Setup(scale="full")
"""The setup of numbers without error, which can be compared at whatever scale."""


def _table_15(_: Results) -> Iterable[Table]:
    bayes, all_one = StepExample().bayes(), StepExample().all_one()
    found = {"bayes": bayes, "all-one": all_one}
    rows = tuple(
        Row(
            label=label,
            cells=tuple(
                _exact(getattr(found[who], risk), published("P1.T15", label, who)) for who in found
            ),
        )
        for label, risk in RISKS.items()
    )
    yield Table(
        name="P1.T15",
        title="Bayes-optimal and all-one classifier on example E.1, exact",
        columns=(("", "Bayes optimal"), ("", "all-one")),
        rows=rows,
        corner="risk",
        notes=(
            f"As fractions: Bayes optimal {_fractions(bayes)}; all-one "
            f"{_fractions(all_one)}. They hold wherever 1 / (2 eps) is whole; else the "
            "share L of x with eta = 1/4 is not one half, and 1/8 and 3/8 become L/4 and 3L/4.",
            "Nothing is estimated: the scale does not matter.",
        ),
        directions=(
            Direction(
                claim="the smaller natural risk comes with the larger hypocritical risk",
                found=bayes.natural_risk < all_one.natural_risk
                and bayes.hypocritical_risk > all_one.hypocritical_risk,
                seen=f"natural {bayes.natural_risk} and {all_one.natural_risk}, "
                f"on D- {bayes.hypocritical_risk} and {all_one.hypocritical_risk}",
            ),
        ),
    )


def _exact(risk: Fraction, printed: Published | None) -> Cell:
    percent = float(100 * risk)
    return cell(Measure(mean=percent, low=percent, high=percent), printed, EXACT)


def _fractions(risks: ExactRisks) -> str:
    return ", ".join(str(getattr(risks, risk)) for risk in RISKS.values())


def _figure_8(_: Results) -> Iterable[Figure]:
    example = StepExample()
    eps, figure = float(example.eps), go.Figure()
    edges = np.linspace(0, 1, round(1 / eps) + 1)
    heights = example.positive(edges[:-1] + eps / 2)
    for height, color, name in ((0.25, ORANGE, "eta = 1/4"), (1.0, BLUE, "eta = 1")):
        x, y = [], []
        for i in np.flatnonzero(heights == height):
            x += [edges[i], edges[i + 1], None]
            y += [height, height, None]
        line = {"color": color, "width": 4, "dash": "solid" if height == 1 else "dot"}
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name=name, line=line))
    figure.add_hline(y=0.5, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "x", "dtick": eps},
        yaxis={"title": "eta(x) = P(y = +1 | x)", "range": [0, 1.1]},
        height=360,
    )
    yield Figure(
        name="P1.F8",
        title="eta(x) of example E.1, eps = .1",
        plot=figure,
        notes=("The Bayes-optimal classifier says +1 where eta lies above the dashed line.",),
    )


def _figure_9(_: Results) -> Iterable[Figure]:
    figure = go.Figure()
    pixels, y = circle_points(24)
    x = pixels.flatten(1)
    right = (x[:, 1] > DRAWN_B).long() == y
    for label, name, color in ((1, "positive", ORANGE), (0, "negative", BLUE)):
        for ok in (True, False):
            which = (y == label) & (right == ok)
            figure.add_trace(
                go.Scatter(
                    x=x[which, 0].tolist(),
                    y=x[which, 1].tolist(),
                    mode="markers",
                    name=f"{name}, {'right' if ok else 'wrong'}",
                    marker={"color": color, "size": 6, "symbol": "circle" if ok else "x"},
                )
            )
    figure.add_trace(_outline("oracle", 0, 1, GREY))
    line = {"color": COLORS[3], "width": 3}
    figure.add_trace(
        go.Scatter(x=[0, 1], y=[DRAWN_B, DRAWN_B], mode="lines", name="f, x_2 = b", line=line)
    )
    _square(figure, height=560)
    yield Figure(
        name="P1.F9",
        title=f"Decision boundaries of oracle and classifier in example E.2, b = {DRAWN_B:g}",
        plot=figure,
        notes=("The paper does not say which b its figure shows.",),
    )


Corners = tuple[list[float], list[float]]


def _slab(low: float, high: float) -> Corners:
    """Corners of the square's part between two heights."""
    return [0, 1, 1, 0, 0], [low, low, high, high, low]


def _cap(low: float, high: float) -> Corners:
    """Corners of the circle's part between two heights."""
    begin, end = (asin(min(max((at - CENTRE) / RADIUS, -1), 1)) for at in (low, high))
    angles = np.linspace(begin, end, 101)
    heights, half = CENTRE + RADIUS * np.sin(angles), RADIUS * np.cos(angles)
    x = np.concatenate([CENTRE - half, (CENTRE + half)[::-1]])
    y = np.concatenate([heights, heights[::-1]])
    return [*x.tolist(), float(x[0])], [*y.tolist(), float(y[0])]


def _outline(name: str, low: float, high: float, color: str) -> go.Scatter:
    x, y = _cap(low, high)
    line = {"color": color, "width": 2, "simplify": False}
    return go.Scatter(x=x, y=y, mode="lines", name=name, line=line)


def _square(figure: go.Figure, *, height: int) -> None:
    figure.update_xaxes(range=[0, 1], constrain="domain", showgrid=False, title="x_1")
    figure.update_yaxes(range=[0, 1], showgrid=False, title="x_2")
    figure.update_layout(**LAYOUT, height=height)
    for axis in figure.select_yaxes():
        axis.scaleanchor = axis.anchor or "x"


def _figure_10(_: Results) -> Iterable[Figure]:
    b, low, high = DRAWN_B, DRAWN_B - REACH, DRAWN_B + REACH
    light, dark, none = "rgba(11, 110, 153, 0.25)", ORANGE, "white"
    panels = {
        "precision": [(_slab(b, 1), light), (_cap(b, 1), dark)],
        "recall": [(_cap(0, 1), light), (_cap(b, 1), dark)],
        "R_adv(f, D+)": [
            (_slab(0, b), light),
            (_slab(low, b), dark),
            (_cap(0, b), none),
            (_cap(b, 1), light),
            (_cap(b, high), dark),
        ],
        "R_hyp(f, D-)": [
            (_slab(b, 1), light),
            (_slab(b, high), dark),
            (_cap(b, 1), none),
            (_cap(0, b), light),
            (_cap(low, b), dark),
        ],
    }
    exact = CircleExample(b)
    values = (exact.precision, exact.recall, exact.adversarial_risk, exact.hypocritical_risk)
    titles = [f"{name} = {value:.4f}" for name, value in zip(panels, values, strict=True)]
    figure = make_subplots(rows=2, cols=2, subplot_titles=titles, vertical_spacing=0.14)
    for i, areas in enumerate(panels.values()):
        at = {"row": i // 2 + 1, "col": i % 2 + 1}
        for (x, y), color in areas:
            area = {"fill": "toself", "fillcolor": color, "line": {"width": 0}, "mode": "lines"}
            figure.add_trace(go.Scatter(x=x, y=y, hoverinfo="skip", showlegend=False, **area), **at)
        outline = _outline("oracle", 0, 1, GREY).update(showlegend=False)
        figure.add_trace(outline, **at)
        figure.add_hline(y=b, line={"color": COLORS[3], "width": 2}, **at)
    _square(figure, height=760)
    figure.update_layout(margin={"t": 60})
    yield Figure(
        name="P1.F10",
        title=f"The measures of example E.2 as ratios of areas, b = {b:g}, eps = {REACH:g}",
        plot=figure,
        notes=("Each is the orange area by the coloured one, orange and blue together.",),
    )


def _curves(names: dict[str, list[float]], at: list[float]) -> go.Figure:
    figure = go.Figure()
    for (name, values), color, dash in zip(
        names.items(), (BLUE, ORANGE), ("solid", "dash"), strict=True
    ):
        line = {"color": color, "dash": dash, "width": 3, "simplify": False}
        figure.add_trace(go.Scatter(x=at, y=values, mode="lines", name=name, line=line))
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "threshold b", "range": [0, 1]},
        yaxis={"rangemode": "tozero"},
        height=420,
    )
    return figure


THRESHOLDS = [i / 500 for i in range(501)]


def _figure_11(_: Results) -> Iterable[Figure]:
    examples = [CircleExample(b) for b in THRESHOLDS]
    measures = {
        "precision": [e.precision for e in examples],
        "recall": [e.recall for e in examples],
    }
    figure = _curves(measures, THRESHOLDS)
    begin, end = CircleExample(CENTRE - RADIUS), CircleExample(best_precision())
    for bound in (begin, end):
        figure.add_vline(x=bound.b, line={"color": GREY, "dash": "dot", "width": 2})
    yield Figure(
        name="P1.F11",
        title="Precision and recall over the threshold in example E.2, exact",
        plot=figure,
        notes=(
            "The paper does not print where its dotted lines stand. Ours are the bounds of the "
            f"trade-off: the circle's lowest point, b = {begin.b:.4f}, where recall begins to "
            f"fall, and b = {end.b:.4f}, where precision is highest.",
        ),
        directions=(
            Direction(
                claim="between the dotted lines precision rises as recall falls",
                found=begin.precision < end.precision and begin.recall > end.recall,
                seen=f"precision {begin.precision:.4f} to {end.precision:.4f}, recall "
                f"{begin.recall:.4f} to {end.recall:.4f}",
            ),
        ),
    )


def _figure_12(_: Results) -> Iterable[Figure]:
    examples = [CircleExample(b) for b in THRESHOLDS]
    adv = [e.adversarial_risk for e in examples]
    hyp = [e.hypocritical_risk for e in examples]
    figure = _curves({"R_adv(f, D+)": adv, "R_hyp(f, D-)": hyp}, THRESHOLDS)
    tried = [i / 10 for i in range(1, 10)]
    counts = [attacked(b, SIDE) for b in tried]
    for name, rates, color, symbol in (
        ("R_adv by PGD", [c.adversarial_risk for c in counts], BLUE, "circle-open"),
        ("R_hyp by PGD", [c.hypocritical_risk for c in counts], ORANGE, "square-open"),
    ):
        marker = {"color": color, "symbol": symbol, "size": 9}
        values = [rate.value for rate in rates]
        figure.add_trace(go.Scatter(x=tried, y=values, mode="markers", name=name, marker=marker))
    opposed = sum((np.diff(adv) * np.diff(hyp)) < 0) / len(np.diff(adv))
    yield Figure(
        name="P1.F12",
        title="Adversarial and hypocritical risk over the threshold in example E.2, exact",
        plot=figure,
        notes=(
            f"Marks: PGD-20 of this package, for both goals, on a grid of {SIDE} x {SIDE} points.",
        ),
        directions=(
            Direction(
                claim="almost everywhere one risk falls as the other rises",
                found=bool(opposed > 0.5),
                seen=f"on {opposed:.1%} of the thresholds in [0, 1]",
            ),
        ),
    )


def _nothing(_: Setup) -> Iterable[Need]:
    return ()


T15 = Item(key="P1.T15", title="Two classifiers on example E.1", needs=_nothing, build=_table_15)
F8 = Item(key="P1.F8", title="eta of example E.1", needs=_nothing, build=_figure_8)
F9 = Item(key="P1.F9", title="Boundaries of example E.2", needs=_nothing, build=_figure_9)
F10 = Item(key="P1.F10", title="Measures of example E.2 as areas", needs=_nothing, build=_figure_10)
F11 = Item(key="P1.F11", title="Precision and recall of E.2", needs=_nothing, build=_figure_11)
F12 = Item(key="P1.F12", title="Risks of example E.2", needs=_nothing, build=_figure_12)
