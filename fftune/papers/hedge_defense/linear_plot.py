"""Drawings of the linear model of Wu et al. 2021: examples on number lines, pushed and judged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from fftune.defenses.theory.linear import LinearCourse, LinearNet, LinearTask, course, numbers
from fftune.report.plots import COLORS, LAYOUT

DRAWN = 32
"""Examples of a panel."""
HEIGHTS = {0: -0.35, 1: 0.35}
LEVELS = (1.6, 2.05, 2.5)
"""Heights of arrows in those of their examples, in turn, so that they do not overlap."""
NAMES = {0: ("y = -1", COLORS[0], "square"), 1: ("y = +1", COLORS[1], "circle")}
PURPLE = "rgba(134, 46, 156, 0.22)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One moment of the examples, and where the next perturbation takes them."""

    title: str
    task: LinearTask
    """The model that answers."""
    loss: str = "linear"
    at: str
    """Field of `LinearCourse` that is shown."""
    to: str = ""
    """Field that arrows lead to; empty: no arrows."""


def draw(panels: Sequence[Panel]) -> go.Figure:
    """Draw number lines below each other, with wrong answers crossed and their region purple."""
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[panel.title for panel in panels],
        vertical_spacing=0.3 / (len(panels) + 1),
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    for row, panel in enumerate(panels, start=1):
        _draw(figure, panel, row)
    figure.update_yaxes(range=[-1, 1], visible=False)
    figure.update_xaxes(zeroline=False, showgrid=False, showline=True)
    figure.update_xaxes(title="x", row=len(panels))
    figure.update_layout(**LAYOUT, height=90 + 130 * len(panels))
    figure.update_layout(margin={"t": 80}, legend={"y": 1 + 0.35 / len(panels)})
    return figure


def _draw(figure: go.Figure, panel: Panel, row: int) -> None:
    shown = course(panel.task, loss=panel.loss, count=DRAWN)
    at, wrong = getattr(shown, panel.at), _wrong(panel, shown)
    for label, (name, color, symbol) in NAMES.items():
        which = shown.y == label
        for missed in (False, True):
            points = numbers(at)[which & (wrong == missed)].tolist()
            figure.add_trace(
                go.Scatter(
                    x=points,
                    y=[HEIGHTS[label]] * len(points),
                    mode="markers",
                    marker={"color": color, "size": 8, "symbol": "x" if missed else symbol},
                    name=name,
                    legendgroup=name,
                    showlegend=row == 1 and not missed,
                    hovertemplate="x = %{x:.3f}<extra>" + name + "</extra>",
                ),
                row=row,
                col=1,
            )
    _mark(figure, panel, row)
    if panel.to:
        _draw_arrows(figure, shown, panel, row)


def _mark(figure: go.Figure, panel: Panel, row: int) -> None:
    """Draw boundaries and the region of wrong answers, which needs traces to stand on."""
    for label, low, high in _wrong_regions(panel):
        figure.add_shape(
            x0=low,
            x1=high,
            y0=0,
            y1=3 * HEIGHTS[label],
            fillcolor=PURPLE,
            line_width=0,
            layer="below",
            row=row,
            col=1,
        )
    figure.add_vline(x=0, line={"color": COLORS[5], "dash": "dash", "width": 1}, row=row, col=1)
    if panel.task.zeta:
        line = {"color": COLORS[3], "width": 2}
        figure.add_vline(x=panel.task.zeta, line=line, row=row, col=1)


def _draw_arrows(figure: go.Figure, shown: LinearCourse, panel: Panel, row: int) -> None:
    """Draw arrows of some examples, above those of y = +1 and below those of y = -1."""
    axis = "" if row == 1 else str(row)
    begin, end = numbers(getattr(shown, panel.at)), numbers(getattr(shown, panel.to))
    cells = float(((end - begin).abs().max() / (begin[1] - begin[0])).abs())
    for turn, i in enumerate(range(0, len(begin), ceil(cells / len(LEVELS)))):
        label = int(shown.y[i])
        height = HEIGHTS[label] * LEVELS[turn % len(LEVELS)]
        figure.add_annotation(
            x=float(end[i]),
            ax=float(begin[i]),
            y=height,
            ay=height,
            xref=f"x{axis}",
            axref=f"x{axis}",
            yref=f"y{axis}",
            ayref=f"y{axis}",
            arrowhead=2,
            arrowwidth=1.2,
            arrowcolor=NAMES[label][1],
            opacity=0.75,
            text="",
        )


def _wrong(panel: Panel, found: LinearCourse) -> Tensor:
    logits: Tensor = LinearNet(panel.task)(getattr(found, panel.at))
    return logits.argmax(1) != found.y


def _wrong_regions(panel: Panel) -> Iterable[tuple[int, float, float]]:
    """Class and ends of its wrong examples, half a cell wider than their midpoints."""
    found = course(panel.task, loss=panel.loss)
    half = (panel.task.most - panel.task.least) / len(found.y)
    wrong, x = _wrong(panel, found), numbers(getattr(found, panel.at))
    for label in NAMES:
        points = x[wrong & (found.y == label)]
        if len(points):
            yield label, float(points.min()) - half, float(points.max()) + half
