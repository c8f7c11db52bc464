"""Plots of fronts, and of the gap between two of them."""

from collections.abc import Mapping, Sequence
from math import isfinite

import plotly.graph_objects as go

from fftune.comparison import Estimate, GapBand
from fftune.config import Selection
from fftune.report.point_labels import Point, Range, labels, point_names, spread
from fftune.report.results import StudyResult
from fftune.sweeping.trial_results import RISKS, TrialResult

COLORS = ("#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#a67c00", "#495057")

LAYOUT = {
    "template": "plotly_white",
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02},
    "margin": {"l": 70, "r": 50, "t": 30, "b": 60},
    "modebar": {"orientation": "v"},  # in the right margin: above, it would lie on the legend
}
NATURAL = {"tickformat": ".0%"}
TITLES = {
    "hypocritical_risk": "hypocritical risk (on the model's own mistakes)",
    "adversarial_risk_all": "adversarial risk on D (1 - robust accuracy)",
}
"""Titles of the axes of risks; others go by their names."""
MANY = 60
"""Dominated models of a study above which they are points alone: names and bars would be a cloud,
and hovering tells both."""


def fronts(studies: Sequence[StudyResult], risk: str = RISKS[1]) -> go.Figure:
    """Plot natural risk (x) against another risk (y) on the test split, a curve a study.

    Members of a front are joined; dominated models are hollow and faint. All carry 95 % intervals
    and their names, but for dominated models where they are many. The same members on the
    validation split, which chose them, are dotted.
    """
    figure = go.Figure()
    named: list[Point] = []
    less: list[Point] = []
    alone: list[Point] = []
    for i, study in enumerate(studies):
        color, front = COLORS[i % len(COLORS)], study.front.against(risk)
        members = sorted(front.members, key=lambda t: t.risks("test", front.risks))
        others = [trial for trial in front.trials if trial not in front.members]
        names, title = point_names(front.trials), study.config.name
        figure.add_trace(_trace(title, members, risk, color))
        named += _points(members, risk, names, color)
        if others:
            figure.add_trace(_trace(f"{title}, dominated", others, risk, color, faint=True))
            found = _points(others, risk, names, color)
            alone += found if len(others) > MANY else []
            less += found if len(others) <= MANY else []
        if study.config.selection == "validation":
            figure.add_trace(_selected(f"{title}, on validation", members, risk, color))
    ranges = spread([*named, *less, *alone])
    trained = any(trial.lam is not None for study in studies for trial in study.front.trials)
    points = "numbers at points: lambda" if trained else "# at points: number of the trial"
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": f"natural risk ({points})", **NATURAL, "range": ranges[0]},
        yaxis={
            "title": TITLES.get(risk, risk.replace("_", " ")),
            "tickformat": ".0%",
            "range": ranges[1],
        },
        annotations=labels([*named, *less], ranges),
        updatemenus=[_views(named, ranges)],
        height=600,
    )
    figure.update_layout(margin={"b": 100})
    return figure


def _points(
    trials: Sequence[TrialResult], risk: str, names: Mapping[int, str], color: str
) -> list[Point]:
    found = []
    for trial in trials:
        x, y = (trial.estimate("test", rate) for rate in (RISKS[0], risk))
        if isfinite(x.mean) and isfinite(y.mean):
            ends = {"x": (x.low, x.high), "y": (y.low, y.high)}
            name = names[trial.trial]
            found.append(Point(**ends, at=(x.mean, y.mean), name=name, color=color))
    return found


def _views(members: Sequence[Point], whole: tuple[Range, Range]) -> dict[str, object]:
    """Buttons below the axis: all points, the fronts alone, and both axes from 0."""
    zero = tuple((0.0, ends[1]) for ends in whole)
    views = {"all points": whole, "the fronts": spread(members), "from 0": zero}
    return {
        "type": "buttons",
        "direction": "right",
        "x": 1,
        "xanchor": "right",
        "y": -0.12,
        "yanchor": "top",
        "showactive": True,
        "buttons": [
            {
                "label": name,
                "method": "relayout",
                "args": [{"xaxis.range": list(x), "yaxis.range": list(y)}],
            }
            for name, (x, y) in views.items()
        ],
    }


def gap(names: tuple[str, str], band: GapBand) -> go.Figure:
    """Plot hypocritical risk of the first front minus that of the second, at equal natural risk."""
    figure = go.Figure()
    color, line = COLORS[3], {"width": 0}
    figure.add_trace(
        go.Scatter(x=band.natural, y=100 * band.high, line=line, mode="lines", showlegend=False)
    )
    figure.add_trace(
        go.Scatter(
            x=band.natural,
            y=100 * band.low,
            line=line,
            mode="lines",
            fill="tonexty",
            fillcolor="rgba(134, 46, 156, 0.18)",
            name="95 % band (seeds and examples)",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=band.natural,
            y=100 * band.gap,
            mode="lines",
            line={"color": color},
            name=" less ".join(names),
        )
    )
    figure.add_hline(y=0, line={"color": "#495057", "width": 1})
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "natural risk, where both fronts have points", "tickformat": ".0%"},
        yaxis={"title": "difference in hypocritical risk, in points", "tickformat": "+.0f"},
        height=360,
    )
    return figure


def _trace(
    title: str,
    trials: Sequence[TrialResult],
    risk: str,
    color: str,
    *,
    faint: bool = False,
) -> go.Scatter:
    """Draw a curve through points with their intervals, or hollow points that are not joined."""
    natural, other = (_rates(trials, rate, "test") for rate in (RISKS[0], risk))
    barred = not (faint and len(trials) > MANY)
    return go.Scatter(
        x=[rate.mean for rate in natural],
        y=[rate.mean for rate in other],
        error_x=_bars(natural, color) if barred else None,
        error_y=_bars(other, color) if barred else None,
        mode="markers" if faint else "lines+markers",
        name=title,
        line={"color": color},
        marker={"color": color, "size": 9, "symbol": "circle-open" if faint else "circle"},
        opacity=0.6 if faint else 1,
        customdata=[
            (str(n), str(h), _hover(t), t.trial)
            for n, h, t in zip(natural, other, trials, strict=True)
        ],
        hovertemplate="%{customdata[2]}<br>natural risk %{customdata[0]}"
        f"<br>{risk.replace('_', ' ')} %{{customdata[1]}}<extra></extra>",
    )


def _selected(name: str, members: Sequence[TrialResult], risk: str, color: str) -> go.Scatter:
    """Draw the members on the split that selected them."""
    members = sorted(members, key=lambda t: t.risks("validation", (RISKS[0], risk)))
    natural, other = (_rates(members, rate, "validation") for rate in (RISKS[0], risk))
    return go.Scatter(
        x=[rate.mean for rate in natural],
        y=[rate.mean for rate in other],
        mode="lines",
        name=name,
        line={"color": color, "dash": "dot", "width": 1},
        opacity=0.7,
        hoverinfo="skip",
    )


def _rates(trials: Sequence[TrialResult], risk: str, split: Selection) -> list[Estimate]:
    return [trial.estimate(split, risk) for trial in trials]


def _hover(trial: TrialResult) -> str:
    """Name of a trial and its settings, for the hover text."""
    first = f"trial {trial.trial}" + ("" if trial.lam is None else f", lambda {trial.lam:.4g}")
    return first + "".join(f"<br>{k} {v}" for k, v in trial.settings.items() if k != "lam")


def _bars(rates: Sequence[Estimate], color: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [rate.high - rate.mean for rate in rates],
        "arrayminus": [rate.mean - rate.low for rate in rates],
        "color": color,
        "thickness": 1,
        "width": 3,
    }
