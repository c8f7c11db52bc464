"""Variances of accuracy over attacks, and over draws of defenses: table 4 of Wu et al. 2021."""

from collections.abc import Iterable, Mapping
from statistics import variance

from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Measure, Row, Table
from fftune.papers.declarations import Exam, Setup
from fftune.papers.hedge_defense.nets import Line
from fftune.papers.hedge_defense.tables import ITERATES, TABLE_1, beside, found, nine
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables.attack_tables import COLUMNS, METHODS, defense_measures
from fftune.papers.tables.measures import missing

KEY, TITLE = "P2.T4", "Variances of robust accuracy under nine attacks on CIFAR-10"
OTHER_SEEDS = (1, 2)
"""Seeds of the attackers' noise beside that of table 1: the paper evaluates three times."""
SHOWN = tuple(name for name in COLUMNS if name != CLEAN)


def _needs(setup: Setup) -> list[Exam]:
    here = [line for line in TABLE_1.lines(setup) if not line.reason]
    return [exam for line in here for exam in _exams(line)]


def _exams(line: Line) -> list[Exam]:
    """The evaluation of table 1, and the attacks alone from other noise."""
    return [nine(line), *(nine(line, seed=seed, defenses=()) for seed in OTHER_SEEDS)]


def _build(results: Results) -> list[Table]:
    return [
        Table(
            name=KEY,
            title=TITLE,
            columns=tuple(("", COLUMNS[name]) for name in SHOWN),
            rows=tuple(
                row for line in TABLE_1.lines(results.setup) for row in _rows(results, line)
            ),
            unit="points squared",
            corner="Defense",
            notes=(
                "Of -: over three seeds of the attackers' noise. Of Random and Hedge: over three "
                "draws of the defense, against attacks that were crafted once.",
                ITERATES,
            ),
        )
    ]


def _rows(results: Results, line: Line) -> Iterable[Row]:
    several = [found(results, line, exam) for exam in _exams(line)]
    outcomes = [one for one, _ in several if one is not None]
    reason = next((why for one, why in several if one is None), "")
    measures = {} if reason else variances(*outcomes)
    for defense in METHODS:
        cells = (
            missing(reason, line.printed(KEY, defense, name))
            if reason
            else beside(
                line, KEY, defense, name, measures.get(defense, {}).get(name), results.setup
            )
            for name in SHOWN
        )
        yield Row(label=METHODS[defense], cells=tuple(cells), block=line.label)


def variances(defended: Outcomes, *others: Outcomes) -> Mapping[str, Mapping[str, Measure]]:
    """Variances of accuracy by defense and column, in points squared.

    Args:
        defended: rows with several draws of the defenses.
        others: rows of the same attacks on the bare net, from other noise.
    """
    measures = defense_measures(defended)
    bare = [measures["none"], *(defense_measures(one)["none"] for one in others)]
    over_draws = {
        defense: {name: _of(one.sd**2, one, one.seeds) for name, one in row.items()}
        for defense, row in measures.items()
    }
    over_attacks = {
        name: _of(variance([row[name].mean for row in bare]), one, len(bare))
        for name, one in bare[0].items()
        if name in SHOWN
    }
    return over_draws | {"none": over_attacks}


def _of(value: float, measure: Measure, seeds: int) -> Measure:
    return Measure(mean=value, seeds=seeds, n=measure.n)


T4 = Item(key=KEY, title=TITLE, needs=_needs, build=_build)
