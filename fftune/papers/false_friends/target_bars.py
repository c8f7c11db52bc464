"""Success of false friends against that of targeted attacks, on a net's mistakes.

Tao et al. 2022, figures 3 and 5: misclassified examples are perturbed towards their own label, and
towards each fixed class.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Direction, Figure, Measure
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.scales import seeds_of
from fftune.papers.tables.directions import Larger, direction
from fftune.papers.tables.measures import measure_of
from fftune.papers.tables.net_risks import answers_one_class
from fftune.papers.tables.published import published
from fftune.recipes import LAM, TrainingData
from fftune.report.plots import COLORS, LAYOUT
from fftune.risk import Rate

METHODS = {"PGD-AT": "pgd_at", "TRADES": "trades"}
"""Objectives by the names that the paper prints; TRADES has lambda 6."""
DATA = {
    "CIFAR-10": "cifar10",
    "SVHN": "svhn",
    "CIFAR-100": "cifar100",
    "Tiny-ImageNet": "tiny-imagenet",
}
"""Data sets by the names that the paper prints."""
TOO_SMALL = "Tiny-ImageNet"
"""The data set that lambda 6 is too small for, so that TRADES does worse in the paper."""
NOTES = (
    "Success: the perturbed image is predicted as the target, out of all that the net "
    "misclassifies when clean. As in the authors' code this counts examples that it predicts as "
    "the target already when clean, and those whose own label is the target.",
    "One random start, uniform in the ball, serves every target, so that the attack at an "
    "example's own label is the hypocritical one; the authors' code starts that one at a Gaussian.",
    "Error bars: standard deviation over seeds; of one seed, the 95 % interval over images.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRates:
    """Success rates of one recipe, one for each training seed."""

    own: tuple[Rate, ...]
    """Rates towards the examples' own label, y."""
    fixed: Mapping[int, tuple[Rate, ...]]
    """Rates towards each class."""

    @classmethod
    def of(cls, every: Sequence[Outcomes]) -> "TargetRates":
        """Count the rows of battery `targets`, one table a seed."""
        counted = [_counted(rows) for rows in every]
        targets = sorted({target for _, fixed in counted for target in fixed})
        return cls(
            own=tuple(own for own, _ in counted),
            fixed={
                target: tuple(fixed.get(target, Rate(0, 0)) for _, fixed in counted)
                for target in targets
            },
        )

    @property
    def mean_fixed(self) -> Measure:
        """Mean rate over all fixed classes, with the interval of a rate of as many examples."""
        nearest, exact = [], []
        for each in zip(*self.fixed.values(), strict=True):
            n, total = max(rate.n for rate in each), sum(rate.n for rate in each)
            hits = sum(rate.count for rate in each)
            if total:
                nearest.append(Rate(round(hits / total * n), n))
                exact.append(100 * hits / total)
        found = measure_of(nearest)
        if not exact:
            return found
        mean = sum(exact) / len(exact)
        moved = mean - found.mean
        return replace(found, mean=mean, low=found.low + moved, high=found.high + moved)


def _counted(rows: Outcomes) -> tuple[Rate, dict[int, Rate]]:
    frame = rows.to_pandas()
    own = frame[frame["goal"] == "hypocritical"]["success"]
    each = frame[frame["goal"] == "targeted"].groupby("target")["success"].agg(["sum", "size"])
    fixed = {int(t): Rate(int(hits), int(n)) for t, hits, n in each.itertuples()}
    return Rate(int(own.sum()), len(own)), fixed


Rates = Mapping[tuple[str, str], TargetRates]
"""Rates by data set and method."""


@dataclass(frozen=True, kw_only=True)
class TargetFigure:
    """Bars for every target, PGD-AT beside TRADES, on four data sets."""

    key: str
    title: str
    kind: TrainingData = "quality"

    def exams(self, data: str, method: str, setup: Setup) -> list[Exam]:
        """The evaluations of one recipe, one for each training seed."""
        return [
            Exam(
                net=Net(
                    data=DATA[data],
                    kind=self.kind,
                    objective=METHODS[method],
                    lam=LAM,
                    seed=seed,
                ),
                battery="targets",
            )
            for seed in seeds_of(setup)
        ]

    def needs(self, setup: Setup) -> list[Exam]:
        """All evaluations."""
        return [e for data in DATA for method in METHODS for e in self.exams(data, method, setup)]

    def build(self, results: Results) -> Iterator[Figure]:
        """The figure, and what is seen of the paper's claims."""
        found: dict[tuple[str, str], TargetRates] = {}
        constant: set[tuple[str, str]] = set()
        notes = list(NOTES)
        for data in DATA:
            for method in METHODS:
                exams = self.exams(data, method, results.setup)
                rows = [(exam, results.rows(exam)) for exam in exams]
                notes += [
                    f"missing: {exam}: {results.why_missing(exam)}"
                    for exam, one in rows
                    if one is None
                ]
                kept = [one for _, one in rows if one is not None]
                if kept:
                    found[data, method] = TargetRates.of(kept)
                if any(map(answers_one_class, kept)):
                    constant.add((data, method))
                    notes.append(f"{method} {data}: a net answers one class; no claim counts it")
        yield Figure(
            name=self.key,
            title=self.title,
            plot=self.plot(found),
            notes=tuple(notes),
            directions=tuple(_directions({p: found[p] for p in found if p not in constant})),
        )

    def plot(self, found: Rates) -> go.Figure:
        """One panel a data set; y's bars stand first, wide and hatched."""
        known = [data for data in DATA if any(place[0] == data for place in found)] or [*DATA]
        figure = make_subplots(
            rows=len(known), cols=1, subplot_titles=known, vertical_spacing=0.3 / len(known) / 1.2
        )
        for row, data in enumerate(known, 1):
            classes = max((len(one.fixed) for p, one in found.items() if p[0] == data), default=0)
            for side, method in enumerate(METHODS):
                if (data, method) in found:
                    for bar in _bars(found[data, method], method, side, classes, legend=row == 1):
                        figure.add_trace(bar, row=row, col=1)
            figure.add_trace(self._published(data, classes, legend=row == 1), row=row, col=1)
            figure.update_xaxes(**_axis(classes), row=row, col=1)
            figure.update_yaxes(title="success (%)", range=[0, 105], row=row, col=1)
        figure.update_xaxes(title="target label", row=len(known), col=1)
        height = 120 + 250 * len(known)
        figure.update_layout(**LAYOUT | {"margin": {"l": 70, "r": 30, "t": 90, "b": 60}})
        figure.update_layout(barmode="overlay", height=height, legend={"y": 1 + 36 / height})
        return figure

    def _published(self, data: str, classes: int, *, legend: bool) -> go.Scatter:
        """Diamonds at the published success towards y, which follows from D and F."""
        table = "P1.T9" if data == "SVHN" else "P1.T8"
        rates = [derived(table, f"{self.kind.capitalize()} ({method})", data) for method in METHODS]
        at = [_place(side, classes) for side in range(len(METHODS))]
        points = [(x, y) for (x, _), y in zip(at, rates, strict=True) if y is not None]
        return go.Scatter(
            name="published at y, derived from tables 8 and 9",
            legendgroup="published",
            showlegend=legend,
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="markers",
            marker={"color": "black", "symbol": "diamond-open", "size": 9, "line": {"width": 2}},
            hovertemplate="%{y:.1f} published<extra></extra>",
        )

    def item(self) -> Item:
        """The figure as an item of the paper."""
        return Item(key=self.key, title=self.title, needs=self.needs, build=self.build)


def derived(table: str, row: str, data: str) -> float | None:
    """Published hypocritical risk on D-, (F - D) / (100 - D), in percent."""
    clean, touched = (published(table, row, data, name) for name in ("D", "F"))
    if clean is None or touched is None:
        return None
    return 100 * (touched.mean - clean.mean) / (100 - clean.mean)


def _width(classes: int) -> float:
    """Width of a method's bar at y, in units of a class: visible beside 200 of them."""
    return max(0.4, classes / 40)


def _place(side: int, classes: int) -> tuple[float, float]:
    """Centre and width of a method's bar at y, left of the classes."""
    width = _width(classes)
    return -1 - 2 * width + (side + 0.5) * width, width


def _bars(
    rates: TargetRates, method: str, side: int, classes: int, *, legend: bool
) -> Iterator[go.Bar]:
    color = COLORS[side]
    at, width = _place(side, classes)
    own = measure_of(rates.own)
    yield _bar(f"{method}, own label y", method, [at], [own], ["y"], width, color, legend, "x")
    targets = list(rates.fixed)
    yield _bar(
        f"{method}, fixed target",
        f"{method} fixed",
        [target + (side - 0.5) * 0.4 for target in targets],
        [measure_of(one) for one in rates.fixed.values()],
        [str(target) for target in targets],
        0.4,
        color,
        legend,
        "",
    )


def _bar(
    name: str,
    group: str,
    x: list[float],
    measures: list[Measure],
    labels: list[str],
    width: float,
    color: str,
    legend: bool,
    pattern: str,
) -> go.Bar:
    above, below = zip(*(_error(one) for one in measures), strict=True) if measures else ((), ())
    return go.Bar(
        name=name,
        legendgroup=group,
        showlegend=legend,
        x=x,
        y=[one.mean for one in measures],
        width=width,
        marker={
            "color": color,
            "opacity": 1 if pattern else 0.6,
            "line": {"width": 0},
            "pattern": {"shape": pattern, "fgcolor": "white", "size": 4},
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": list(above),
            "arrayminus": list(below),
            "color": "#333333",
            "thickness": 1 if len(x) < 60 else 0.5,
            "width": 2 if len(x) < 60 else 0,
        },
        customdata=[
            (label, f"{one.low:.1f} to {one.high:.1f}", f"{one.sd:.1f}", one.n)
            for label, one in zip(labels, measures, strict=True)
        ],
        hovertemplate=f"{name}: target %{{customdata[0]}}, %{{y:.1f}} % (95 % CI "
        "%{customdata[1]}, sd %{customdata[2]}, n = %{customdata[3]})<extra></extra>",
    )


def _error(one: Measure) -> tuple[float, float]:
    """Error bar upwards and downwards: the deviation over seeds; of one seed the interval."""
    if one.seeds > 1:
        return one.sd, one.sd
    return one.high - one.mean, one.mean - one.low


def _axis(classes: int) -> dict[str, object]:
    step = 1 if classes <= 20 else 5 if classes <= 50 else 20
    shown = list(range(0, classes, step))
    y = _place(0, classes)[0] + _width(classes) / 2
    return {
        "tickvals": [y, *shown],
        "ticktext": ["<b>y</b>", *map(str, shown)],
        "range": [y - _width(classes) - 0.7, classes],
        "tickangle": 0,
    }


def _directions(found: Rates) -> Iterator[Direction]:
    places = [(data, method) for data in DATA for method in METHODS]
    own = {place: measure_of(found[place].own) if place in found else None for place in places}
    yield direction(
        "success towards the own label exceeds the mean over fixed targets",
        (
            Larger(
                what=f"{method} {data}, y and the mean of targets:",
                first=own[data, method],
                second=found[data, method].mean_fixed if (data, method) in found else None,
            )
            for data, method in places
        ),
    )
    others = [data for data in DATA if data != TOO_SMALL]
    for claim, order, among in (
        (f"success at y of TRADES is below that of PGD-AT on {', '.join(others)}", 1, others),
        (f"on {TOO_SMALL} it is above, as lambda = 6 is too small for it", -1, [TOO_SMALL]),
    ):
        more, less = [*METHODS][::order]
        yield direction(
            claim,
            (
                Larger(
                    what=f"{data}, {more} and {less}:",
                    first=own[data, more],
                    second=own[data, less],
                )
                for data in among
            ),
        )
