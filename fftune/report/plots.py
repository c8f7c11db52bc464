"""Plots of fronts, and of the gap between two of them."""

from collections.abc import Sequence

import plotly.graph_objects as go

from fftune.comparison import Estimate, GapBand
from fftune.config import Selection
from fftune.report.results import StudyResult
from fftune.sweeping.trial_results import RISKS, TrialResult

COLORS = ("#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#a67c00", "#495057")

LABELS = ("top right", "bottom left", "top left", "bottom right")
"""Positions of the settings at the points of each study, so that neighbours differ."""

LAYOUT = {
    "template": "plotly_white",
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02},
    "margin": {"l": 70, "r": 30, "t": 30, "b": 60},
}
NATURAL = {"tickformat": ".0%", "rangemode": "tozero"}


def fronts(studies: Sequence[StudyResult]) -> go.Figure:
    """Plot natural risk (x) against hypocritical risk (y) on the test split, a curve a study.

    Members of a front are joined and carry 95 % intervals; dominated models are faint. The same
    members on the validation split, which chose them, are dotted.
    """
    figure = go.Figure()
    for i, study in enumerate(studies):
        color, members = COLORS[i % len(COLORS)], study.front.members
        others = [trial for trial in study.front.trials if trial not in members]
        differing = settings_that_differ(study.front.trials)
        shown = sorted(members, key=lambda t: t.risks("test"))
        name = study.config.name
        figure.add_trace(_trace(name, shown, color, differing, LABELS[i % len(LABELS)]))
        if others:
            figure.add_trace(_trace(f"{name}, dominated", others, color, differing))
        if study.config.selection == "validation":
            figure.add_trace(_selected(f"{name}, on validation", members, color))
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "natural risk (at points: lambda, and what else differs)", **NATURAL},
        yaxis={"title": "hypocritical risk (on the model's own mistakes)", "tickformat": ".0%"},
        height=560,
    )
    return figure


def gap(names: tuple[str, str], band: GapBand) -> go.Figure:
    """Plot hypocritical risk of the first front minus that of the second, at equal natural risk."""
    figure = go.Figure()
    color, line = COLORS[3], {"width": 0}
    figure.add_trace(
        go.Scatter(x=band.natural, y=band.high, line=line, mode="lines", showlegend=False)
    )
    figure.add_trace(
        go.Scatter(
            x=band.natural,
            y=band.low,
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
            y=band.gap,
            mode="lines",
            line={"color": color},
            name=" less ".join(names),
        )
    )
    figure.add_hline(y=0, line={"color": "#495057", "width": 1})
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "natural risk, where both fronts have points", "tickformat": ".0%"},
        yaxis={"title": "difference in hypocritical risk", "tickformat": "+.0%"},
        height=360,
    )
    return figure


def _trace(
    name: str,
    trials: Sequence[TrialResult],
    color: str,
    differing: Sequence[str],
    labels: str | None = None,
) -> go.Scatter:
    """Draw a curve with what differs at its points; without a position for that, faint points."""
    faint = labels is None
    natural, hypocritical = (_rates(trials, risk, "test") for risk in RISKS)
    return go.Scatter(
        x=[rate.mean for rate in natural],
        y=[rate.mean for rate in hypocritical],
        error_x=None if faint else _bars(natural, color),
        error_y=None if faint else _bars(hypocritical, color),
        mode="markers" if faint else "lines+markers+text",
        text=[_label(trial, differing) for trial in trials],
        textposition=labels,
        textfont={"color": color},
        name=name,
        line={"color": color},
        marker={"color": color, "size": 9, "symbol": "circle-open" if faint else "circle"},
        opacity=0.45 if faint else 1,
        customdata=[
            (str(n), str(h), _every(t))
            for n, h, t in zip(natural, hypocritical, trials, strict=True)
        ],
        hovertemplate="%{customdata[2]}<br>natural risk %{customdata[0]}"
        "<br>hypocritical risk %{customdata[1]}<extra></extra>",
    )


def _selected(name: str, members: Sequence[TrialResult], color: str) -> go.Scatter:
    """Draw the members on the split that selected them."""
    natural, hypocritical = (_rates(members, risk, "validation") for risk in RISKS)
    return go.Scatter(
        x=[rate.mean for rate in natural],
        y=[rate.mean for rate in hypocritical],
        mode="lines",
        name=name,
        line={"color": color, "dash": "dot", "width": 1},
        opacity=0.7,
        hoverinfo="skip",
    )


def _rates(trials: Sequence[TrialResult], risk: str, split: Selection) -> list[Estimate]:
    return [trial.estimate(split, risk) for trial in trials]


def settings_that_differ(trials: Sequence[TrialResult]) -> list[str]:
    """Settings that not all trials have alike, lambda first, by their paths."""
    settings = [{"lam": trial.lam, **trial.settings} for trial in trials]
    paths = dict.fromkeys(path for one in settings for path in one)
    return [path for path in paths if len({str(one.get(path)) for one in settings}) > 1]


def _label(trial: TrialResult, paths: Sequence[str]) -> str:
    """What sets a trial apart, as in "100" or "100, lr 0.2"."""
    settings = {"lam": trial.lam, **trial.settings}
    words = []
    for path in paths or ["lam"]:
        value = settings.get(path)
        text = f"{value:.3g}" if isinstance(value, float | int) else str(value)
        words.append(text if path == "lam" else f"{path.rpartition('.')[2]} {text}")
    return ", ".join(words)


def _every(trial: TrialResult) -> str:
    """All settings of a trial, for the hover text."""
    others = (f"{k} {v}" for k, v in trial.settings.items() if k != "lam")
    return "<br>".join([f"lambda {trial.lam:.3g}", *others])


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
