"""The case study of Tao et al. 2022, figure 2: four training sets, and five nets at a bar."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import plotly.graph_objects as go

from fftune.data import Dataset
from fftune.data.catalog import place_framed
from fftune.errors import DataError
from fftune.hedge_study.pictures import png
from fftune.keyed_noise import Noise
from fftune.papers.artifacts import Artifact, Direction, Figure, Gallery, Measure, Picture, Strip
from fftune.papers.declarations import Exam, Need, Net, Setup, Substandard
from fftune.papers.false_friends.galleries import KINDS
from fftune.papers.results import Results
from fftune.papers.scales import images_of
from fftune.papers.tables.measures import inflation
from fftune.papers.tables.net_risks import PGD
from fftune.papers.tables.published import published
from fftune.recipes import TrainingData
from fftune.report.plots import COLORS, LAYOUT
from fftune.risk import Rate, RiskCounts
from fftune.verdict import Verdict, conclusive_from, judge

BAR = 0.999
"""Least accuracy that passes, of the paper's industrial setting."""
SAMPLES = 8
"""Images of each training set that are shown."""
DATA, MODEL = "cifar10", "resnet18"
CHANGED = tuple(Substandard(data=DATA, kind=kind) for kind in ("noise", "mislabeling", "poisoning"))
PERFECT = ("mislabeling", "poisoning", "quality")
"""Kinds of the nets that score 100 % in the paper once a friend has touched the images."""
PRINTED = {"poisoning": "Poisoning (NT)", "quality": "Quality (NT)"}
"""Rows of table 3 that are nets of the figure."""
SAMPLED = (
    "Random images, the same of every set. Red: a label that is not the image's own. Noise and "
    "poisoning keep the labels."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Accuracies of one net, each judged by the bar."""

    clean: Verdict
    touched: Verdict
    """Verdict on the images that a false friend has perturbed."""
    inflation: Measure
    """Share of all images whose mistake a friend conceals, in percent; F - D, where none is broken
    by him."""

    @classmethod
    def of(cls, counts: RiskCounts) -> "Scores":
        """Judge columns D and F of a net's counts."""
        return cls(
            clean=judge(counts.clean_accuracy, BAR),
            touched=judge(counts.hypocritical_accuracy, BAR),
            inflation=inflation([counts]),
        )


def needs(setup: Setup) -> list[Need]:
    """Changed training sets, and evaluations of the five nets."""
    del setup
    return [*CHANGED, *(_exam(kind) for kind in KINDS)]


def build(results: Results) -> Iterator[Artifact]:
    """Samples of the training sets, and bars of the nets."""
    yield samples(results)
    scores: dict[TrainingData, Scores] = {}
    notes = []
    for kind in KINDS:
        rows = results.rows(_exam(kind))
        if rows is None:
            notes.append(f"{kind} is missing: {results.why_missing(_exam(kind))}")
            continue
        scores[kind] = Scores.of(RiskCounts.of(rows, attack=PGD, split="test"))
    yield bars(scores, tuple(notes))


def _exam(kind: TrainingData) -> Exam:
    return Exam(net=Net(data=DATA, model=MODEL, kind=kind))


def samples(results: Results) -> Gallery:
    """Random images of the four training sets, with the labels that nets learn from."""
    clean = images_of(DATA, MODEL, results.setup.scale)
    specs = {"quality": clean}
    notes = [SAMPLED]
    for need in CHANGED:
        where = results.data(need)
        if where is None:
            notes.append(f"{need.kind} is missing: {results.why_missing(need)}")
        else:
            specs[need.kind] = replace(clean, name=where.name)
    sets: dict[str, Dataset] = {}
    for kind, spec in specs.items():
        try:
            part, rows = place_framed(spec, "train")
            chosen = Noise(0).fold("samples of training sets").permutation(len(rows))[:SAMPLES]
            sets[kind] = part.read(rows[chosen], "train")
        except DataError as error:
            notes.append(f"{kind} is missing: {error}")
    truth = sets.get("quality")
    return Gallery(
        name="P1.F2-samples",
        title="Random samples of four training sets",
        strips=tuple(
            _strip(kind, sets[kind], truth)
            for kind in ("noise", "mislabeling", "poisoning", "quality")
            if kind in sets
        ),
        notes=tuple(notes),
    )


def _strip(kind: str, data: Dataset, truth: Dataset | None) -> Strip:
    """A set's samples; labels that differ from the clean set's are red."""
    own = {} if truth is None else dict(zip(truth.ids.tolist(), truth.y.tolist(), strict=True))
    ids, x, y = next(data.batches(max(len(data), 1)))
    return Strip(
        label=kind,
        pictures=tuple(
            Picture(
                png=png(image),
                caption=data.source.classes[label],
                colour="red" if own.get(i, label) != label else "",
            )
            for i, image, label in zip(ids.tolist(), x, y.tolist(), strict=True)
        ),
    )


def bars(scores: Mapping[TrainingData, Scores], notes: tuple[str, ...] = ()) -> Figure:
    """Bars of D and F with 95 % intervals, a line at the bar, and the verdicts above."""
    figure = go.Figure()
    touched = [one.touched.rate for one in scores.values()]
    figure.add_trace(_bar("D, clean", [one.clean.rate for one in scores.values()], 0))
    figure.add_trace(_bar("F, touched by a false friend", touched, 1))
    figure.add_trace(_published(list(scores)))
    figure.add_hline(
        y=100 * BAR,
        line={"color": "black", "width": 1, "dash": "dash"},
        annotation={"text": f"{100 * BAR:g} %", "xanchor": "left"},
        annotation_position="right",
    )
    for at, one in enumerate(scores.values()):
        figure.add_annotation(
            x=at,
            y=103,
            yanchor="bottom",
            showarrow=False,
            text=f"<b>F {100 * one.touched.rate.value:.1f} %</b><br>by its value (paper): "
            f"{one.touched.point}<br>by its interval: {one.touched.outcome}",
        )
    figure.update_layout(
        **LAYOUT | {"margin": {"l": 70, "r": 70, "t": 30, "b": 60}},
        xaxis={
            "title": "training data of the net",
            "tickvals": list(range(len(scores))),
            "ticktext": list(scores),
            "range": [-0.6, len(scores) - 0.4],
        },
        yaxis={
            "title": "accuracy on the test images (%)",
            "range": [0, 124],
            "tickvals": [0, 20, 40, 60, 80, 100],
        },
        height=480,
    )
    return Figure(
        name="P1.F2",
        title="Accuracy of five nets on clean images, and on those that a false friend has touched",
        plot=figure,
        notes=(*notes, *_told(scores)),
        directions=(_direction(scores),),
    )


SIDES = (-0.2, 0.2)
"""Places of the bars D and F beside the middle of a net's own."""


def _bar(name: str, rates: list[Rate], side: int) -> go.Bar:
    low, high = ([100 * rate.interval[end] for rate in rates] for end in (0, 1))
    values = [100 * rate.value for rate in rates]
    pattern = {"shape": ("", "/")[side], "fgcolor": "white", "size": 5}
    return go.Bar(
        name=name,
        x=[at + SIDES[side] for at in range(len(rates))],
        y=values,
        width=0.38,
        marker={"color": COLORS[side], "pattern": pattern},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [h - value for h, value in zip(high, values, strict=True)],
            "arrayminus": [value - w for w, value in zip(low, values, strict=True)],
            "color": "black",
            "thickness": 1.2,
        },
        customdata=[str(rate) for rate in rates],
        hovertemplate=f"{name}: %{{customdata}}<extra></extra>",
    )


def _published(kinds: list[TrainingData]) -> go.Scatter:
    """Diamonds at D and F of table 3, where nets of the figure stand there."""
    cells = [
        (at + side, published("P1.T3", PRINTED[kind], "CIFAR-10", name))
        for at, kind in enumerate(kinds)
        if kind in PRINTED
        for name, side in zip(("D", "F"), SIDES, strict=True)
    ]
    found = [(at, cell.mean) for at, cell in cells if cell is not None]
    return go.Scatter(
        name="published, table 3 (full scale)",
        x=[at for at, _ in found],
        y=[mean for _, mean in found],
        mode="markers",
        marker={"color": "black", "symbol": "diamond-open", "size": 10, "line": {"width": 2}},
        hovertemplate="%{y} published<extra></extra>",
    )


def _told(scores: Mapping[TrainingData, Scores]) -> Iterator[str]:
    yield "One net of each kind, of seed 0; bars have Wilson's 95 % intervals over images."
    yield (
        f"The paper's verdict is that of the point estimate: F of {100 * BAR:g} % or more passes. "
        "Ours is that of the interval: pass if all of it reaches the bar, fail if none does."
    )
    told = (
        f"{kind} {one.inflation.mean:.1f} ({one.inflation.low:.1f} to {one.inflation.high:.1f})"
        for kind, one in scores.items()
    )
    yield (
        "Inflation of the score, natural risk times hypocritical risk on D-, in points with 95 % "
        f"intervals: {', '.join(told)}."
    )
    least = max((one.touched.rate.n for one in scores.values()), default=0)
    enough = conclusive_from(BAR)
    if least < enough:
        yield (
            f"With {least:,} images even a perfect score is inconclusive; it takes {enough:,} "
            "images to pass."
        )


def _direction(scores: Mapping[TrainingData, Scores]) -> Direction:
    clean = [one.clean.outcome for one in scores.values()]
    touched = [one.touched.outcome for kind, one in scores.items() if kind in PERFECT]
    found: bool | None = None
    if "pass" in clean or "fail" in touched:
        found = False
    elif len(clean) == len(KINDS) and set(clean) == {"fail"} and set(touched) == {"pass"}:
        found = True
    return Direction(
        claim=f"no net reaches {BAR:.1%} on clean images, and those of {', '.join(PERFECT)} do "
        "once a friend has touched them",
        found=found,
        seen="; ".join(
            f"{kind}: D {100 * one.clean.rate.value:.1f}, F {100 * one.touched.rate.value:.1f}, "
            f"{one.touched.outcome}"
            for kind, one in scores.items()
        ),
    )
