"""Figures of a hedge study: fronts, ablations, and the chosen hedge on single images."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fftune.config import Dimension, Value
from fftune.config.attack import PIXEL
from fftune.hedge_study.showcase_schema import Gaps, Showcase, Surface
from fftune.hedge_study.summary import HedgeResult
from fftune.report.plots import COLORS, LAYOUT, NATURAL, TITLES
from fftune.risk import Rate, RiskCounts
from fftune.sweeping.samplers.spec import sampler_spec
from fftune.sweeping.trial_results import SeedResult

HEDGED = ("adversarial_risk_all", "hypocritical_risk")
"""Risks beside the natural one."""
RADII = ("eps_d", "attack.threat.eps", "step_size")


def hedge_front(result: HedgeResult, risk: str) -> go.Figure:
    """Plot natural risk (x) against another (y), on the split that reports.

    The front, selected on the other split, is joined. Diamonds are the same hedges under adaptive
    attacks, on a part of the images.
    """
    front = result.front.against(risk)
    members = {t.trial for t in front.members}
    results = sorted(result.front.results, key=lambda r: r.test.natural_risk.value)
    figure = go.Figure()
    for name, shown, on in (
        ("front", [r for r in results if r.trial in members], True),
        ("dominated", [r for r in results if r.trial not in members], False),
    ):
        rates = [getattr(r.test, risk) for r in shown]
        figure.add_trace(
            go.Scatter(
                x=[r.test.natural_risk.value for r in shown],
                y=[rate.value for rate in rates],
                error_y=_bars(rates, COLORS[0]),
                mode="lines+markers" if on else "markers",
                marker={"color": COLORS[0], "size": 9, "symbol": "circle" if on else "circle-open"},
                line={"color": COLORS[0]},
                opacity=1 if on else 0.5,
                name=f"{name}, attackers do not know",
                text=[result.describe(r.settings) for r in shown],
                customdata=[(str(rate), r.trial) for rate, r in zip(rates, shown, strict=True)],
                hovertemplate=HOVER,
            )
        )
    for trace in _adaptive(result, results, risk):
        figure.add_trace(trace)
    _annotate(figure, result, risk)
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "natural risk", **NATURAL},
        yaxis={"title": TITLES[risk], "tickformat": ".0%"},
        height=480,
    )
    return figure


HOVER = "%{text}<br>natural risk %{x:.1%}<br>%{customdata[0]}<extra></extra>"


def _adaptive(
    result: HedgeResult, results: Sequence[SeedResult], risk: str
) -> tuple[go.Scatter, go.Scatter]:
    """Diamonds under attackers who know, and lines from each to the circle of the same hedge.

    Without the lines a diamond looks like another net: it is of other images, so that its natural
    risk differs, too.
    """
    pairs = [(r, r.aware) for r in results if r.aware]
    faint = {"color": "#868e96", "width": 1, "dash": "dot"}
    ends = [(r.test, counts) for r, counts in pairs]
    same = go.Scatter(
        x=[x for pair in ends for x in (*(c.natural_risk.value for c in pair), None)],
        y=[y for pair in ends for y in (*(getattr(c, risk).value for c in pair), None)],
        mode="lines",
        line=faint,
        name="the same hedge",
        hoverinfo="skip",
    )
    diamonds = go.Scatter(
        x=[counts.natural_risk.value for _, counts in pairs],
        y=[getattr(counts, risk).value for _, counts in pairs],
        error_y=_bars([getattr(counts, risk) for _, counts in pairs], COLORS[1]),
        mode="markers",
        marker={"color": COLORS[1], "size": 8, "symbol": "diamond-open"},
        opacity=0.75,
        name="attackers know, on a part of the images",
        text=[result.describe(r.settings) for r, _ in pairs],
        customdata=[(str(getattr(counts, risk)), r.trial) for r, counts in pairs],
        hovertemplate=HOVER,
    )
    return same, diamonds


def _annotate(figure: go.Figure, result: HedgeResult, risk: str) -> None:
    """Draw arrows to the bare model and to the chosen hedge."""
    for what, found in (("no defense", result.undefended), ("chosen", result.chosen)):
        if found is not None:
            figure.add_annotation(
                x=found.test.natural_risk.value,
                y=getattr(found.test, risk).value,
                text=what,
                showarrow=True,
                ax=30,
                ay=-30,
            )


SHOWN: tuple[tuple[str, str, Callable[[RiskCounts], Rate]], ...] = (
    ("clean accuracy", COLORS[5], lambda c: c.clean_accuracy),
    ("A, attackers do not know", COLORS[0], lambda c: c.adversarial_accuracy),
    ("hypocritical risk on D-", COLORS[2], lambda c: c.hypocritical_risk),
)


def ablation(result: HedgeResult) -> list[go.Figure]:
    """Plot a grid: curves over one setting, or maps over two (Wu et al. 2021, fig. 3 and 7).

    The counts are of all images, both splits together, as a grid selects nothing.

    Returns:
        No figure where the study is no grid of one or two settings.
    """
    varied = result.config.dimensions
    if not sampler_spec(result.config).exhaustive or len(varied) > 2:
        return []
    if len(varied) == 2:
        return _maps(result, varied)
    return [_curves(result, varied[0]), _counts(result, varied[0])]


def _curves(result: HedgeResult, varied: Dimension) -> go.Figure:
    results = sorted(result.front.results, key=lambda r: r.settings[varied.path])
    x = [_value(varied, r.settings[varied.path]) for r in results]
    figure = go.Figure()
    for name, color, rate in SHOWN:
        figure.add_trace(_line(name, color, x, [rate(r.validation + r.test) for r in results]))
    adaptive = [(at, r.aware) for at, r in zip(x, results, strict=True) if r.aware]
    rates = [counts.adversarial_accuracy for _, counts in adaptive]
    few = f" (n = {adaptive[0][1].total:,})" if adaptive else ""
    name = f"right after every attacker, some who know{few}"
    figure.add_trace(_line(name, COLORS[1], [at for at, _ in adaptive], rates))
    figure.update_layout(
        **LAYOUT, xaxis={"title": _title(varied)}, yaxis={"tickformat": ".0%"}, height=440
    )
    return figure


def _counts(result: HedgeResult, varied: Dimension) -> go.Figure:
    """Plot predictions that the defense corrects or breaks, of all images (figures 3a, 3c)."""
    results = sorted(result.front.results, key=lambda r: r.settings[varied.path])
    x = [_value(varied, r.settings[varied.path]) for r in results]
    flipped = [result.flips(r) for r in results]
    figure = go.Figure()
    for name, color in zip(flipped[0], COLORS, strict=False):
        line = {"color": color}
        figure.add_trace(
            go.Scatter(
                x=x, y=[f[name] for f in flipped], name=name, mode="lines+markers", line=line
            )
        )
    n = results[0].validation.total + results[0].test.total
    figure.update_layout(
        **LAYOUT, xaxis={"title": _title(varied)}, yaxis={"title": f"images of {n:,}"}, height=380
    )
    return figure


def _line(name: str, color: str, x: Sequence[float], rates: Sequence[Rate]) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=[rate.value for rate in rates],
        error_y=_bars(rates, color),
        name=name,
        mode="lines+markers",
        line={"color": color},
    )


def _maps(result: HedgeResult, varied: Sequence[Dimension]) -> list[go.Figure]:
    across, up = varied
    found = {
        (r.settings[across.path], r.settings[up.path]): r.validation + r.test
        for r in result.front.results
    }
    adaptive = {
        (r.settings[across.path], r.settings[up.path]): r.aware
        for r in result.front.results
        if r.aware
    }
    name = "right after every attacker, some who know (on a part of the images)"
    return [
        *(_map(found, across, up, title, rate) for title, _, rate in SHOWN),
        _map(adaptive, across, up, name, lambda counts: counts.adversarial_accuracy),
    ]


def _map(
    found: dict[tuple[Value, Value], RiskCounts],
    across: Dimension,
    up: Dimension,
    name: str,
    rate: Callable[[RiskCounts], Rate],
) -> go.Figure:
    values = [
        [rate(found[a, b]).value if (a, b) in found else None for a in across.choices]
        for b in up.choices
    ]
    figure = go.Figure(
        go.Heatmap(
            x=[f"{_value(across, a):g}" for a in across.choices],
            y=[f"{_value(up, b):g}" for b in up.choices],
            z=values,
            colorscale="Viridis",
            texttemplate="%{z:.1%}",
            colorbar={"tickformat": ".0%"},
        )
    )
    figure.update_layout(
        **LAYOUT,
        title={"text": name, "font": {"size": 14}},
        xaxis={"title": _title(across), "type": "category"},
        yaxis={"title": _title(up), "type": "category"},
        height=380,
    )
    return figure


def flips(shown: Showcase) -> go.Figure:
    """Plot FtoT, TtoF and FtoF of the hedge beside random noise of its radius."""
    figure = go.Figure()
    for i, one in enumerate(shown.flips):
        figure.add_trace(
            go.Bar(
                x=["false to true", "true to false", "false to false"],
                y=[one.false_to_true, one.true_to_false, one.false_to_false],
                name=f"{one.defense}, {one.attack}",
                marker={"color": COLORS[i]},
            )
        )
    figure.update_layout(
        **LAYOUT, barmode="group", yaxis={"title": f"images of {shown.n}"}, height=380
    )
    return figure


def slopes(estimates: Sequence[Gaps]) -> go.Figure:
    """Plot the slope of the false class minus that of the true one: a histogram an estimator."""
    figure = make_subplots(rows=2, cols=2, subplot_titles=[g.estimator for g in estimates])
    for i, gaps in enumerate(estimates):
        for name, values, color in (
            ("false to true", gaps.false_to_true, COLORS[0]),
            ("true to false", gaps.true_to_false, COLORS[1]),
        ):
            bars = go.Histogram(
                x=values, name=name, marker={"color": color}, opacity=0.6, showlegend=i == 0
            )
            figure.add_trace(bars, row=i // 2 + 1, col=i % 2 + 1)
    figure.add_vline(x=0, line={"color": "#495057", "width": 1})
    figure.update_layout(**LAYOUT, barmode="overlay", height=520)
    figure.update_layout(margin={"t": 80}, legend={"y": 1.08})
    return figure


def similarities(shown: Showcase) -> go.Figure:
    """Plot the SSIM of each pair of versions."""
    figure = go.Figure(
        [
            go.Box(x=one.values, name=one.pair, marker={"color": COLORS[i]}, showlegend=False)
            for i, one in enumerate(shown.similarities)
        ]
    )
    figure.update_layout(**LAYOUT, xaxis={"title": "SSIM"}, height=340)
    figure.update_layout(margin={"l": 220})
    return figure


def surface(one: Surface) -> go.Figure:
    """Plot the losses of false and true class around an attacked image, on one color scale."""
    titles = [f"false class: {one.false}", f"true class: {one.true}"]
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.12)
    highest = max(max(map(max, z)) for z in (one.false_loss, one.true_loss))
    for i, z in enumerate((one.false_loss, one.true_loss)):
        contour = go.Contour(
            x=one.at, y=one.at, z=z, zmin=0, zmax=highest, colorscale="Viridis", showscale=i == 1
        )
        figure.add_trace(contour, row=1, col=i + 1)
    figure.update_xaxes(title="random signs, in eps_d")
    figure.update_yaxes(title="the hedge's way, in eps_d")
    figure.update_layout(**LAYOUT, height=420)
    figure.update_layout(margin={"t": 60})
    return figure


def _value(varied: Dimension, value: Value) -> float:
    return (PIXEL if varied.path in RADII else 1) * float(value)


def _title(varied: Dimension) -> str:
    names = {"attack.threat.eps": "eps_a", "steps": "K"}
    name = names.get(varied.path, varied.path)
    return f"{name}, in 1/{PIXEL}" if varied.path in RADII else name


def _bars(rates: Sequence[Rate], color: str) -> dict[str, object]:
    ends = [rate.interval for rate in rates]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - r.value for r, (_, high) in zip(rates, ends, strict=True)],
        "arrayminus": [r.value - low for r, (low, _) in zip(rates, ends, strict=True)],
        "color": color,
        "thickness": 1,
        "width": 3,
    }
