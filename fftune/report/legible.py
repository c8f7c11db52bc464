"""Optuna's plots made legible: nothing white on white, risks in percent, axes as searched."""

from collections.abc import Collection
from functools import partial
from math import log1p

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

COLORSCALE = [[0.0, "rgb(217, 72, 15)"], [0.5, "rgb(134, 46, 156)"], [1.0, "rgb(11, 79, 108)"]]
"""Colours from the first trial to the last, or the least value to the largest; Optuna's begin in
white, which cannot be seen."""
TICKS = (0, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
"""Values at the ticks of an axis of log(1 + value)."""
BENT = "log1p("


def legible(figure: go.Figure, risks: Collection[str], log1p_axes: Collection[str]) -> None:
    """Mend a plot of Optuna's in place.

    Args:
        risks: titles of axes that are rates.
        log1p_axes: titles of axes of parameters that were searched along log(1 + value).
    """
    _recolour(figure)
    figure.for_each_xaxis(partial(_bend, figure, log1p_axes))
    _in_percent(figure, risks)
    bars = max((len(trace.y) for trace in figure.data if trace.type == "bar"), default=0)
    figure.update_layout(
        template="plotly_white",
        title=None,  # the heading above says more
        height=140 + 16 * bars if bars else 400,
        margin={"t": 40, "b": 50},
        modebar={"orientation": "v"},
    )


def _recolour(figure: go.Figure) -> None:
    """Give points and lines colours that stand out from a white page."""
    for trace in figure.data:
        marker = getattr(trace, "marker", None)
        if marker is not None and marker.colorscale:
            marker.update(colorscale=COLORSCALE, reversescale=False)
            if getattr(marker, "line", None) is not None:
                marker.update(size=9, line={"width": 0.5, "color": "#343a40"})
        elif (
            trace.type == "scatter" and trace.mode == "lines" and trace.line.color and len(trace.y)
        ):
            share = min(max(float(trace.y[0]), 0.0), 1.0)  # a line of parallel coordinates
            trace.line.color = sample_colorscale(COLORSCALE, share)[0]


def _bend(figure: go.Figure, log1p_axes: Collection[str], axis: go.layout.XAxis) -> None:
    """Draw a parameter along log(1 + value), where it was searched so, with its values at ticks."""
    name = axis.title.text or ""
    if name in log1p_axes:
        which = axis.plotly_name.replace("axis", "")
        for trace in figure.select_traces({"xaxis": which if which != "x" else None}):
            trace.x = [log1p(float(x)) for x in trace.x]
    elif name.startswith(BENT):
        name = name.removeprefix(BENT).removesuffix(")")
    else:
        return
    axis.update(
        title=f"{name}, along log(1 + {name})",
        tickvals=[log1p(tick) for tick in TICKS],
        ticktext=[f"{tick:g}" for tick in TICKS],
    )


def _in_percent(figure: go.Figure, risks: Collection[str]) -> None:
    """Write risks in percent; a constant one gets an axis about it."""
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        if axis.title.text in risks:
            axis.tickformat = ".0%"
    title = figure.layout.yaxis.title.text
    values = {y for trace in figure.data if trace.type == "scatter" for y in trace.y or ()}
    if title in risks and len(values) == 1:
        (value,) = values
        figure.layout.yaxis.range = (value - 0.05, value + 0.05)
    for note in figure.layout.annotations:
        if note.x == 0 and figure.layout.xaxis.ticktext:  # ends of the first parallel axis
            note.text = f"{float(note.text):.1%}"
