"""Plots of what Hedge Defense does: figures 1 to 3 and 7 to 9 of Wu et al. 2021."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fftune.hedge_study.showcase_schema import Flips
from fftune.papers.hedge_defense.flip_counts import CHANGES, change, mean_change
from fftune.papers.tables.attack_tables import COLUMNS, METHODS
from fftune.report.plots import COLORS, LAYOUT

STYLES = {
    "FtoT": (COLORS[0], "", "circle", "solid"),
    "TtoF": (COLORS[1], "/", "square", "dash"),
    "FtoT - TtoF": ("#222222", "x", "diamond", "solid"),
    "FtoF": ("#8a9199", ".", "x", "dot"),
}
"""Colour, filling, marker and line of each change, told apart without colours."""


def nothing(why: str) -> go.Figure:
    """Leave a small space for what there is not."""
    figure = go.Figure()
    figure.add_annotation(text=why, showarrow=False)
    figure.update_layout(
        template="plotly_white",
        xaxis={"visible": False},
        yaxis={"visible": False},
        height=120,
        margin={"t": 20, "b": 20},
    )
    return figure


def landscape(plane: Mapping[str, Any]) -> go.Figure:
    """Plot the truth's loss on the plane of a natural, an attacked and a hedged image (fig. 1)."""
    at = plane["at"]
    figure = go.Figure(
        go.Contour(
            x=at,
            y=at,
            z=_turned(plane["loss"]),
            colorscale="Viridis",
            colorbar={"title": "loss"},
            contours={"showlines": False},
            ncontours=24,
        )
    )
    boundary = {"start": 0, "end": 0, "size": 1, "coloring": "none"}
    figure.add_trace(
        go.Contour(
            x=at,
            y=at,
            z=_turned(plane["margin"]),
            contours=boundary,
            line={"color": "white", "width": 3, "dash": "dashdot"},
            showscale=False,
            showlegend=False,
            hoverinfo="skip",
        )
    )
    for name, way, color in (
        ("attack", ((0, 1), (0, 0)), COLORS[1]),
        ("hedge", ((1, 1), (0, 1)), "#99e9f2"),
    ):
        figure.add_trace(
            go.Scatter(
                x=way[0],
                y=way[1],
                mode="lines+markers",
                marker={"symbol": "arrow", "size": 16, "angleref": "previous"},
                line={"color": color, "width": 3},
                name=name,
                showlegend=False,
            )
        )
    for text, x, y, shift in (
        ("natural", 0, 0, -16),
        ("attacked", 1, 0, -16),
        ("hedged", 1, 1, 14),
    ):
        figure.add_annotation(
            x=x, y=y, text=text, showarrow=False, yshift=shift, bgcolor="rgba(255,255,255,.8)"
        )
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "the attack's way", "range": [at[0], at[-1]]},
        yaxis={"title": "the hedge's way", "range": [at[0], at[-1]]},
        height=460,
        width=620,
        plot_bgcolor="#ffffff",
    )
    return figure


def flip_bars(
    counts: Mapping[tuple[str, str], Sequence[Flips]], attacks: Sequence[str]
) -> go.Figure:
    """Plot changes of predictions under attacks, means over draws: a panel a defense (fig. 2a)."""
    defenses = [name for name in METHODS if any(defense == name for _, defense in counts)]
    titles = [METHODS[name] for name in defenses]
    figure = make_subplots(
        rows=len(defenses), cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.1
    )
    for row, defense in enumerate(defenses, start=1):
        for name in CHANGES:
            color, pattern, *_ = STYLES[name]
            found = [counts[attack, defense] for attack in attacks]
            bars = go.Bar(
                x=[COLUMNS.get(attack, attack) for attack in attacks],
                y=[mean_change(draws, name) for draws in found],
                error_y=_spread([[change(one, name) for one in draws] for draws in found]),
                name=name,
                marker={"color": color, "pattern": {"shape": pattern, "fgcolor": "white"}},
                legendgroup=name,
                showlegend=row == 1,
            )
            figure.add_trace(bars, row=row, col=1)
    n = next(iter(counts.values()))[0].n
    figure.update_yaxes(title=f"images of {n:,}", matches="y")
    figure.update_layout(**LAYOUT, barmode="group", height=260 * len(defenses) + 100)
    figure.update_layout(margin={"t": 70}, legend={"y": 1.06})
    return figure


def ablation_panels(points: Sequence[Mapping[str, Any]], steps: int, usual: int) -> go.Figure:
    """Plot counts over K and both radii, and a map of robust accuracy (fig. 3 and 7).

    Args:
        points: counts with their `eps_a`, `eps_d` and `steps`.
        steps: K where it is not varied.
        usual: radius where it is not varied.
    """
    titles = [
        f"(a) over K, both radii {usual}/255",
        f"(b) over eps_d, eps_a {usual}/255",
        f"(c) over eps_a, eps_d {usual}/255",
        "(d) robust accuracy behind the hedge",
    ]
    figure = make_subplots(
        rows=2, cols=2, subplot_titles=titles, horizontal_spacing=0.12, vertical_spacing=0.2
    )
    fixed = {"eps_a": usual, "eps_d": usual, "steps": steps}
    for panel, varied in enumerate(("steps", "eps_d", "eps_a")):
        rest = {name: value for name, value in fixed.items() if name != varied}
        line = sorted(
            (p for p in points if all(p[name] == value for name, value in rest.items())),
            key=lambda p: float(p[varied]),
        )
        for name in ("FtoT", "TtoF", "FtoT - TtoF"):
            trace = _counts(line, varied, name, legend=panel == 0)
            figure.add_trace(trace, row=panel // 2 + 1, col=panel % 2 + 1)
    figure.add_trace(_map(points, steps), row=2, col=2)
    n = points[0]["n"]
    for panel, title in enumerate(("K", "eps_d, in 1/255", "eps_a, in 1/255", "eps_a, in 1/255")):
        at = {"row": panel // 2 + 1, "col": panel % 2 + 1}
        up = "eps_d, in 1/255" if panel == 3 else f"images of {n:,}"
        figure.update_xaxes(title=title, **at)
        figure.update_yaxes(title=up, **at)
    figure.update_xaxes(type="log", tickvals=[1, 2, 4, 8, 16, 32], row=1, col=2)
    figure.update_layout(**LAYOUT, height=720)
    figure.update_layout(margin={"t": 90}, legend={"y": 1.06})
    return figure


def _counts(
    line: Sequence[Mapping[str, Any]], varied: str, name: str, *, legend: bool
) -> go.Scatter:
    color, _, symbol, dash = STYLES[name]
    return go.Scatter(
        x=[p[varied] for p in line],
        y=[change(flips_at(p), name) for p in line],
        name=name,
        mode="lines+markers",
        line={"color": color, "dash": dash},
        marker={"symbol": symbol, "size": 8},
        legendgroup=name,
        showlegend=legend,
    )


def _map(points: Sequence[Mapping[str, Any]], steps: int) -> go.Heatmap:
    found = {(p["eps_a"], p["eps_d"]): p for p in points if p["steps"] == steps}
    across, up = (sorted({key[i] for key in found}) for i in (0, 1))
    full = [a for a in across if sum((a, d) in found for d in up) > 1]
    rows = [d for d in up if all((a, d) in found for a in full)]
    return go.Heatmap(
        x=list(map(str, full)),
        y=list(map(str, rows)),
        z=[[found[a, d]["right_after"] / found[a, d]["n"] for a in full] for d in rows],
        colorscale="Viridis",
        texttemplate="%{z:.1%}",
        colorbar={"tickformat": ".0%", "len": 0.42, "y": 0.19},
    )


def flips_at(point: Mapping[str, Any]) -> Flips:
    """The counts of a point of an ablation."""
    return Flips(**{name: point[name] for name in Flips.__slots__})


TWICE = (
    ("flipped at first, prediction changed again", "#c92a2a", "solid", "flipped_again", "flipped"),
    ("flipped at first, back to the truth", "#862e9c", "dash", "returned", "flipped"),
    ("right after the first, flipped now", "#1864ab", "dot", "survivors_flipped", "survived"),
)
"""Curves of figure 9 in the paper's colours: what is counted, and of which examples."""


def second_attack_curves(lengths: Sequence[int], counts: Sequence[Mapping[str, int]]) -> go.Figure:
    """Plot the success of a second attack over its steps (fig. 9)."""
    figure = go.Figure()
    for name, color, dash, hits, among in TWICE:
        n = counts[-1][among]
        figure.add_trace(
            go.Scatter(
                x=list(lengths),
                y=[one[hits] / n if n else None for one in counts],
                customdata=[f"{one[hits]:,} of {n:,}" for one in counts],
                hovertemplate="%{x} steps: %{customdata} (%{y:.1%})<extra></extra>",
                name=f"{name} (n = {n:,})",
                mode="lines+markers",
                line={"color": color, "dash": dash, "width": 3},
            )
        )
    figure.update_layout(
        **LAYOUT,
        xaxis={"title": "steps of the attack on the prediction"},
        yaxis={"title": "success", "tickformat": ".0%", "range": [0, 1.02]},
        height=440,
    )
    figure.update_layout(margin={"t": 90})
    return figure


def _spread(values: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Bars from the least to the greatest of several draws."""
    means = [sum(draws) / len(draws) for draws in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(draws) - mean for draws, mean in zip(values, means, strict=True)],
        "arrayminus": [mean - min(draws) for draws, mean in zip(values, means, strict=True)],
        "thickness": 1,
        "width": 2,
    }


def _turned(grid: Sequence[Sequence[float]]) -> list[list[float]]:
    """Rows as columns, since plots have their first axis across."""
    return [list(column) for column in zip(*grid, strict=True)]
