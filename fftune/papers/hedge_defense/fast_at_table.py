"""Hedge Defense on FastAT's nets for ImageNet: table 3 of Wu et al. 2021."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Direction, Row, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables import verdicts
from fftune.papers.tables.attack_tables import METHODS, defense_measures
from fftune.papers.tables.measures import missing
from fftune.papers.tables.net_risks import answers_one_class
from fftune.papers.tables.paired_gains import ByImage, by_image, exceeds, gain
from fftune.papers.tables.published import published
from fftune.recipes import Scale

RADII = {"2/255": 2 / 255, "4/255": 4 / 255}
"""Radii of training and of the attacks."""
ATTACKS = ("pgd-10", "pgd-50", "pgd-100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A net of the table, trained once for each radius."""

    label: str
    name: str
    """Its name in the published table."""
    model: str
    data: str = "imagenet"

    def exams(self) -> Mapping[str, Exam]:
        """The evaluations by radius."""
        return {
            word: Exam(
                net=Net(data=self.data, model=self.model, objective="fast_at", eps=eps),
                battery="fast_at",
                eps=eps,
                defenses=("hedge",),
                size="few",
            )
            for word, eps in RADII.items()
        }


PUBLISHED = (
    Architecture(label="ResNet-50", name="ResNet-50", model="resnet50"),
    Architecture(label="ResNet-101", name="ResNet-101", model="resnet101"),
)


def architectures(scale: Scale) -> tuple[Architecture, ...]:
    """The published nets, or a shallower and a deeper one for smaller images."""
    if scale == "full":
        return PUBLISHED
    data = "imagenet" if scale == "tiny" else "cifar10"
    return (
        Architecture(
            label="ResNet-18 for ResNet-50", name="ResNet-50", model="resnet18", data=data
        ),
        Architecture(
            label="WRN-28-10 for ResNet-101", name="ResNet-101", model="wrn28_10", data=data
        ),
    )


def _needs(setup: Setup) -> list[Exam]:
    return [exam for one in architectures(setup.scale) for exam in one.exams().values()]


def _build(results: Results) -> list[Table]:
    rows: list[Row] = []
    judged: list[Mapping[str, ByImage]] = []
    for one in architectures(results.setup.scale):
        outcomes = {eps: results.rows(exam) for eps, exam in one.exams().items()}
        rows += _rows(one, outcomes, results)
        telling = {e: rows for e, rows in outcomes.items() if rows and not answers_one_class(rows)}
        judged.append({eps: by_image(rows) for eps, rows in telling.items()})
    return [
        Table(
            name=T3.key,
            title=T3.title,
            columns=tuple((f"eps {eps}", attack.upper()) for eps in RADII for attack in ATTACKS),
            rows=tuple(rows),
            corner="Hedge",
            notes=(
                "A net for each radius. Of ten restarts the first success is handed to the "
                "defense. The paper prints neither radius nor step of Hedge here: ours are the "
                "attackers'.",
            ),
            directions=_directions(*judged),
        )
    ]


def _rows(
    one: Architecture, outcomes: Mapping[str, Outcomes | None], results: Results
) -> Iterator[Row]:
    measures = {eps: rows and defense_measures(rows) for eps, rows in outcomes.items()}
    for defense in METHODS:
        if defense == "random":
            continue
        cells: list[Cell] = []
        for eps, exam in one.exams().items():
            found = measures[eps]
            for attack in ATTACKS:
                printed = published(T3.key, one.name, defense, f"{eps} {attack}")
                cells.append(
                    verdicts.cell(found[defense][attack], printed, results.setup)
                    if found
                    else missing(results.why_missing(exam), printed)
                )
        yield Row(label=METHODS[defense], cells=tuple(cells), block=one.label)


def _directions(
    shallow: Mapping[str, ByImage], deep: Mapping[str, ByImage]
) -> tuple[Direction, ...]:
    hedge = [("hedge", attack) for attack in ATTACKS]
    bare = [("none", attack) for attack in ATTACKS]
    gains = [
        {
            (depth, attack): nets[eps]["hedge", attack] - nets[eps]["none", attack]
            for depth, nets in (("deep", deep), ("shallow", shallow))
            for attack in ATTACKS
        }
        for eps in shallow.keys() & deep.keys()
    ]
    more = [("deep", attack) for attack in ATTACKS], [("shallow", attack) for attack in ATTACKS]
    every = [*shallow.values(), *deep.values()]
    return (
        exceeds("Hedge raises the accuracy under PGD", gain(every, hedge, bare)),
        exceeds("Hedge raises it further for the deeper net", gain(gains, *more)),
    )


T3 = Item(
    key="P2.T3",
    title="Top-1 robust accuracy of FastAT on ImageNet",
    needs=_needs,
    build=_build,
)
