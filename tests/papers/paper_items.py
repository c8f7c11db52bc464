"""Small tables, figures and tasks, for the tests of what does them."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fftune.papers.artifacts import Artifact, Cell, Measure, Row, Table
from fftune.papers.declarations import Analysis, Exam, Need, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tasks import Given
from fftune.risk import RiskCounts

NATURAL = Net(model="mlp")
MISTAUGHT = Net(model="mlp", kind="mislabeling")
FRIENDLY = Net(model="mlp", objective="thrm", lam=20.0)


def counted(given: Given) -> Mapping[str, Any]:
    """An analysis: the number of parameters of each net."""
    from fftune.models import load_model

    nets = [load_model(net) for net in given.nets]
    return {"parameters": [sum(p.numel() for p in net.parameters()) for net in nets]}


def broken(given: Given) -> Mapping[str, Any]:
    """An analysis that always fails, by a defect."""
    raise RuntimeError("of no use")


def dying(given: Given) -> Mapping[str, Any]:
    """An analysis whose first worker dies."""
    marker = Path(given.nets[0].weights).parent / "died"
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return {"parameters": [1]}


EXAMS = tuple(Exam(net=net, size="few") for net in (NATURAL, MISTAUGHT, FRIENDLY))
COUNTED = Analysis(run="tests.papers.paper_items:counted", nets=(NATURAL, FRIENDLY))
DIES = Analysis(run="tests.papers.paper_items:dying", nets=(NATURAL,))
BROKEN = Analysis(run="tests.papers.paper_items:broken", nets=(NATURAL,))


def accuracies(results: Results) -> Iterable[Artifact]:
    """A table of D, A and F of each net."""
    rows = []
    for exam in EXAMS:
        outcomes = results.rows(exam)
        if outcomes is None:
            cells = (Cell(reason=results.why_missing(exam)),) * 3
        else:
            counts = RiskCounts.of(outcomes, attack="pgd-20", split="test")
            rates = (
                counts.clean_accuracy,
                counts.adversarial_accuracy,
                counts.hypocritical_accuracy,
            )
            cells = tuple(Cell(ours=Measure(mean=100 * rate.value)) for rate in rates)
        rows.append(Row(label=str(exam.net), cells=cells))
    columns = (("", "D"), ("", "A"), ("", "F"))
    return [Table(name="nets", title="three nets", columns=columns, rows=tuple(rows))]


def needs(_: Setup) -> Iterable[Need]:
    return EXAMS


def numbers(results: Results, analysis: Analysis = COUNTED) -> Iterable[Artifact]:
    """A table of what an analysis found."""
    found = results.analysis(analysis)
    reason = results.why_missing(analysis)
    cell = Cell(ours=Measure(mean=found["parameters"][0])) if found else Cell(reason=reason)
    row = Row(label="parameters", cells=(cell,))
    return [Table(name="numbers", title="sizes", columns=(("", "n"),), rows=(row,), unit="")]


def unbuildable(_: Results) -> Iterable[Artifact]:
    raise ValueError("no such figure")


TABLE = Item(key="table", title="accuracies of three nets", needs=needs, build=accuracies)
SIZES = Item(key="sizes", title="sizes", needs=lambda _: [COUNTED, EXAMS[0]], build=numbers)
DYING = Item(key="dying", title="a death", needs=lambda _: [DIES], build=lambda _: [])
FAILING = Item(
    key="failing",
    title="what fails",
    needs=lambda _: [BROKEN, EXAMS[0]],
    build=lambda results: numbers(results, BROKEN),
)
UNBUILT = Item(key="unbuilt", title="no figure", needs=lambda _: [EXAMS[0]], build=unbuildable)
