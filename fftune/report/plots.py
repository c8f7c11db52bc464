"""Fronts as curves."""

from collections.abc import Sequence

import plotly.graph_objects as go

from fftune.report.results import Result
from fftune.risk import Rate
from fftune.sweep.front import Point

COLORS = ("#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#a67c00", "#495057")

LABELS = ("top right", "bottom left", "top left", "bottom right")
"""Where each study's points carry their lambda, so that neighbours can be told apart."""


def fronts(results: Sequence[Result]) -> go.Figure:
    """Natural risk (x) against hypocritical risk (y) on the test split, a curve a study.

    Members of a front are joined and carry 95 % intervals; dominated models are faint.
    """
    figure = go.Figure()
    for i, result in enumerate(results):
        color, members = COLORS[i % len(COLORS)], result.front.members
        others = [point for point in result.front.points if point not in members]
        shown = sorted(members, key=lambda p: p.test.natural_risk.value)
        figure.add_trace(_trace(result.config.name, shown, color, LABELS[i % len(LABELS)]))
        if others:
            figure.add_trace(_trace(f"{result.config.name}, dominated", others, color))
    figure.update_layout(
        template="plotly_white",
        xaxis={
            "title": "natural risk (numbers at points: lambda)",
            "tickformat": ".0%",
            "rangemode": "tozero",
        },
        yaxis={"title": "hypocritical risk (on the model's own mistakes)", "tickformat": ".0%"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02},
        margin={"l": 70, "r": 30, "t": 30, "b": 60},
        height=560,
    )
    return figure


def _trace(name: str, points: Sequence[Point], color: str, labels: str | None = None) -> go.Scatter:
    """A curve with labels on that side of its points; without a side, faint points."""
    faint = labels is None
    natural = [point.test.natural_risk for point in points]
    hypocritical = [point.test.hypocritical_risk for point in points]
    return go.Scatter(
        x=[rate.value for rate in natural],
        y=[rate.value for rate in hypocritical],
        error_x=None if faint else _bars(natural, color),
        error_y=None if faint else _bars(hypocritical, color),
        mode="markers" if faint else "lines+markers+text",
        text=[f"{point.lam:.3g}" for point in points],
        textposition=labels,
        textfont={"color": color},
        name=name,
        line={"color": color},
        marker={"color": color, "size": 9, "symbol": "circle-open" if faint else "circle"},
        opacity=0.45 if faint else 1,
        customdata=[(str(n), str(h)) for n, h in zip(natural, hypocritical, strict=True)],
        hovertemplate="lambda %{text}<br>natural risk %{customdata[0]}"
        "<br>hypocritical risk %{customdata[1]}<extra></extra>",
    )


def _bars(rates: Sequence[Rate], color: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [rate.interval[1] - rate.value for rate in rates],
        "arrayminus": [rate.value - rate.interval[0] for rate in rates],
        "color": color,
        "thickness": 1,
        "width": 3,
    }
