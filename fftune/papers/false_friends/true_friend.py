"""Training data that are helped, where Tao et al. 2022 help verification data.

A false friend helps when a net is verified, and the help is gone when it is used. A true friend
would help a net to become better. Here the images that train are perturbed towards lower loss of a
naturally trained net, and a net is trained on them; the images that test are as they were.

This is not a method to make nets better, and does not claim to: perturbations that minimise the
loss are known to make data *harder* to learn from (Huang et al. 2021, who also train the net
meanwhile, as is not done here), since a net may learn the help instead of the object. The question
is what becomes of natural accuracy, and of that under adversaries and false friends.
"""

from collections.abc import Iterator, Sequence

from fftune.papers.artifacts import Direction, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.scales import seeds_of
from fftune.papers.tables.directions import Larger, direction
from fftune.papers.tables.net_risks import INFLATION, NetRisks, risks_of, row_of
from fftune.recipes import TrainingData

KINDS: dict[str, TrainingData] = {"quality": "quality", "helped": "helped"}
COLUMNS = ("D", "A", "F", "R_nat", "R_adv on D+", "R_hyp on D-", INFLATION)


def _exams(kind: TrainingData, setup: Setup) -> list[Exam]:
    return [Exam(net=Net(kind=kind, seed=seed)) for seed in seeds_of(setup)]


def _needs(setup: Setup) -> list[Exam]:
    return [exam for kind in KINDS.values() for exam in _exams(kind, setup)]


def _build(results: Results) -> Iterator[Table]:
    risks = {label: risks_of(results, _exams(kind, results.setup)) for label, kind in KINDS.items()}
    yield Table(
        name="P1.true-friend",
        title="Natural training on helped training data (not in the paper)",
        corner="training data",
        columns=tuple(("", name) for name in COLUMNS),
        rows=tuple(
            row_of(label, (one.cell(name, None, results.setup) for name in COLUMNS))
            for label, one in risks.items()
        ),
        notes=(
            "Helped: PGD-100 with steps of eps / 5, as for the paper's poison, but towards each "
            "image's own class, on a naturally trained net. Test images are as they were. It is no "
            "method to make nets better: a net may learn the help instead of the object.",
            *(note for label, one in risks.items() for note in one.notes(label)),
        ),
        directions=tuple(_directions(risks["quality"], risks["helped"])),
    )


def _directions(quality: NetRisks, helped: NetRisks) -> Sequence[Direction]:
    def larger(name: str, first: NetRisks, second: NetRisks) -> list[Larger]:
        return [Larger(what=name, first=first.claimed(name), second=second.claimed(name))]

    return (
        direction("help costs accuracy on images as they are", larger("D", quality, helped)),
        direction("help makes nets easier to attack", larger("A", quality, helped)),
    )


TRUE_FRIEND = Item(
    key="P1.true-friend",
    title="Nets trained on helped data (not in the paper)",
    needs=_needs,
    build=_build,
)
