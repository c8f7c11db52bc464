"""Fronts of THRM and TRADES over lambda, drawn: figures 4, 6 and 7 of Tao et al. 2022.

They are made of the same evaluations as tables 10 to 13.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fftune.papers.artifacts import Direction, Figure, Measure
from fftune.papers.declarations import Exam, Setup
from fftune.papers.false_friends.fronts import METHODS, FrontTable, left_out
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.scales import lambdas_of
from fftune.papers.tables.directions import Larger, direction
from fftune.papers.tables.measures import measure_of
from fftune.papers.tables.net_risks import NetRisks, risks_of
from fftune.papers.tables.published import published
from fftune.report.plots import COLORS, LAYOUT
from fftune.risk import Rate, RiskCounts

Risk = Literal["hypocritical", "adversarial"]
TITLES: Mapping[Risk, str] = {
    "hypocritical": "hypocritical risk on D- (%)",
    "adversarial": "adversarial risk on D (%)",
}
RISKS: Mapping[Risk, Callable[[RiskCounts], Rate]] = {
    "hypocritical": lambda counts: counts.hypocritical_risk,
    "adversarial": lambda counts: counts.adversarial_risk_all,
}
GREY = "#8c8c8c"
SYMBOLS = {"THRM": "circle", "TRADES": "square"}
LABELS = {"THRM": "bottom left", "TRADES": "top right"}
"""Positions of the lambdas, so that those of the two methods differ."""
NOTE = (
    "Numbers at points are lambda; bars are 95 % intervals over images of one training each. "
    "Grey: the published curves, of the full scale, whose risks follow from D, A and F; ours are "
    "counted, and differ from that where an attack does the opposite of its goal."
)


class Point(NamedTuple):
    """A net on a front, in percent."""

    lam: float
    natural: Measure
    other: Measure
    claimed: bool = True
    """False of a net that answers one class: it is drawn, and no claim counts it."""


Curves = Mapping[str, Sequence[Point]]
"""Points of each method, by growing lambda."""


@dataclass(frozen=True, kw_only=True)
class FrontFigure:
    """A panel for each of some tables of fronts: natural risk against another."""

    key: str
    title: str
    tables: Mapping[str, FrontTable]
    """Tables of the same nets, by the titles of their panels."""
    risk: Risk = "hypocritical"

    def needs(self, setup: Setup) -> list[Exam]:
        """The evaluations of the tables."""
        return [exam for table in self.tables.values() for exam in table.needs(setup)]

    def build(self, results: Results) -> Iterator[Figure]:
        """The figure; where it shows hypocritical risk, what the tables find of the claims."""
        panels = {title: self._curves(table, results) for title, table in self.tables.items()}
        lost = [
            f"missing: {exam}: {results.why_missing(exam)}"
            for exam in self.needs(results.setup)
            if results.rows(exam) is None
        ]
        yield Figure(
            name=self.key,
            title=self.title,
            plot=self.plot(panels),
            notes=(NOTE, *dict.fromkeys(lost)),
            directions=tuple(self._directions(panels, results)),
        )

    def plot(self, panels: Mapping[str, Curves]) -> go.Figure:
        """A panel a data set: both methods, and the published curves in grey."""
        figure = make_subplots(rows=1, cols=len(panels), subplot_titles=[*panels])
        for col, (title, curves) in enumerate(panels.items(), 1):
            is_first = col == 1
            for method in METHODS:
                printed = self._published(self.tables[title].key, method)
                figure.add_trace(_grey(method, printed, legend=is_first), row=1, col=col)
            for side, method in enumerate(METHODS):
                trace = _curve(method, curves.get(method, ()), COLORS[side], legend=is_first)
                figure.add_trace(trace, row=1, col=col)
            figure.update_xaxes(title="natural risk (%)", rangemode="tozero", row=1, col=col)
            figure.update_yaxes(title=TITLES[self.risk] if is_first else None, row=1, col=col)
        figure.update_layout(**LAYOUT | {"margin": {"l": 70, "r": 30, "t": 70, "b": 60}})
        figure.update_layout(height=520, legend={"y": 1.08})
        return figure

    def item(self) -> Item:
        """The figure as an item of the paper."""
        return Item(key=self.key, title=self.title, needs=self.needs, build=self.build)

    def _curves(self, table: FrontTable, results: Results) -> dict[str, list[Point]]:
        lambdas = lambdas_of(results.setup)
        every = {
            method: [(lam, risks_of(results, [table.exam(method, lam)])) for lam in lambdas]
            for method in METHODS
        }
        return {method: [*_points(found, self.risk)] for method, found in every.items()}

    def _published(self, key: str, method: str) -> list[tuple[str, float, float]]:
        """Lambda, natural risk and the other risk of the printed curve."""
        found = []
        for lam in PUBLISHED_LAMBDAS:
            natural = published(key, method, lam, "R_nat")
            other = published(key, method, lam, "R_hyp" if self.risk == "hypocritical" else "A")
            if natural is None or other is None:
                continue
            # By theorem 4.3 the adversarial risk on D is what A leaves.
            risk = other.mean if self.risk == "hypocritical" else 100 - other.mean
            found.append((lam, natural.mean, risk))
        return found

    def _directions(self, panels: Mapping[str, Curves], results: Results) -> Iterator[Direction]:
        if self.risk == "adversarial":
            yield from (gains_robustness(title, curves) for title, curves in panels.items())
            return
        for title, table in self.tables.items():
            for built in table.build(results):
                for one in built.directions:
                    yield replace(one, claim=f"{title}: {one.claim}")


PUBLISHED_LAMBDAS = ("0", "1", "5", "10", "20", "40", "60", "80", "100")
"""Lambdas of tables 10 to 13, as they are printed."""


def gains_robustness(title: str, curves: Curves) -> Direction:
    """Decide if THRM with the largest lambda has a lower adversarial risk than without."""
    claim = f"{title}: THRM gains adversarial robustness, which it is not made for"
    every = curves.get("THRM", ())
    points = [point for point in every if point.claimed]
    if len(points) < 2:
        return Direction(claim=claim, found=None, seen="numbers are missing")
    first, last = points[0], points[-1]
    step = Larger(
        what=f"adversarial risk on D, lambda {first.lam:g} and {last.lam:g}:",
        first=first.other,
        second=last.other,
    )
    found = direction(claim, [step])
    lost = left_out(("THRM", [point.lam for point in every if not point.claimed]))
    return replace(found, seen=found.seen + lost)


def _points(found: Sequence[tuple[float, NetRisks]], risk: Risk) -> Iterator[Point]:
    """The points whose two risks are known and defined."""
    for lam, one in found:
        natural = measure_of([counts.natural_risk for counts in one.counts])
        other = measure_of([RISKS[risk](counts) for counts in one.counts])
        if natural.seeds and other.seeds:
            yield Point(lam, natural, other, claimed=not one.of_one_class)


def _grey(method: str, printed: Sequence[tuple[str, float, float]], *, legend: bool) -> go.Scatter:
    return go.Scatter(
        name=f"{method}, published",
        legendgroup=f"{method} published",
        showlegend=legend,
        x=[natural for _, natural, _ in printed],
        y=[risk for _, _, risk in printed],
        text=[lam for lam, _, _ in printed],
        mode="lines+markers",
        line={"color": GREY, "width": 1.2, "dash": "solid" if method == "THRM" else "dot"},
        marker={"color": GREY, "size": 6, "symbol": f"{SYMBOLS[method]}-open"},
        hovertemplate=f"{method}, published, lambda %{{text}}: natural risk %{{x:.2f}} %, "
        "%{y:.2f} %<extra></extra>",
    )


def _curve(method: str, points: Sequence[Point], color: str, *, legend: bool) -> go.Scatter:
    return go.Scatter(
        name=method,
        legendgroup=method,
        showlegend=legend,
        x=[point.natural.mean for point in points],
        y=[point.other.mean for point in points],
        error_x=_error([point.natural for point in points], color),
        error_y=_error([point.other for point in points], color),
        text=[f"{point.lam:g}" for point in points],
        textposition=LABELS[method],
        textfont={"color": color, "size": 11},
        mode="lines+markers+text",
        cliponaxis=False,
        line={"color": color, "dash": "solid" if method == "THRM" else "dot"},
        marker={"color": color, "size": 9, "symbol": SYMBOLS[method]},
        customdata=[(_told(point.natural), _told(point.other)) for point in points],
        hovertemplate=f"{method}, lambda %{{text}}<br>natural risk %{{customdata[0]}}"
        "<br>other risk %{customdata[1]}<extra></extra>",
    )


def _error(measures: Sequence[Measure], color: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [one.high - one.mean for one in measures],
        "arrayminus": [one.mean - one.low for one in measures],
        "color": color,
        "thickness": 0.8,
        "width": 2,
    }


def _told(one: Measure) -> str:
    return f"{one.mean:.1f} % (95 % CI {one.low:.1f} to {one.high:.1f}, n = {one.n:,})"
