"""Risks of one recipe over its training seeds, as cells of tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Measure, Published, Row
from fftune.papers.declarations import Exam, Setup
from fftune.papers.results import Results
from fftune.papers.tables.measures import broken, inflation, left_out, measure_of, missing
from fftune.papers.tables.verdicts import cell
from fftune.risk import Rate, RiskCounts

PGD = "pgd-20"
"""The attack of nearly all tables (Tao et al. 2022, A.2)."""


def derived_adversarial(counts: RiskCounts) -> Rate:
    """Adversarial risk on D+ from the accuracies, 1 - A / D, as the paper prints it."""
    return Rate(counts.fooled - counts.adv_corrected, counts.total - counts.wrong)


def derived_hypocritical(counts: RiskCounts) -> Rate:
    """Hypocritical risk on D- from the accuracies, 1 - (1 - F) / R_nat, as the paper prints it."""
    return Rate(counts.concealed - counts.hyp_broken, counts.wrong)


RATES: Mapping[str, Callable[[RiskCounts], Rate]] = {
    "D": lambda counts: counts.clean_accuracy,
    "A": lambda counts: counts.adversarial_accuracy,
    "F": lambda counts: counts.hypocritical_accuracy,
    "R_nat": lambda counts: counts.natural_risk,
    "R_adv": derived_adversarial,
    "R_hyp": derived_hypocritical,
    "R_adv on D+": lambda counts: counts.adversarial_risk,
    "R_hyp on D-": lambda counts: counts.hypocritical_risk,
}
"""Rates by the names of their columns."""
INFLATION = "inflation"
"""Name of the column of F - D, with the interval of the concealed share."""


@dataclass(frozen=True, kw_only=True)
class NetRisks:
    """Counts of a recipe's nets under one attack, one for each seed that was evaluated."""

    counts: tuple[RiskCounts, ...]
    seeds: int
    """Seeds that were asked for."""
    why: str = ""
    """Reason why some have no counts; empty: all have."""
    of_one_class: int = 0
    """Nets among them that answer one class for nearly all images; see `answers_one_class`."""

    def measure(self, name: str) -> Measure | None:
        """A rate by the name of its column; None where there is none, or it is undefined."""
        if not self.counts:
            return None
        counted = inflation(self.counts) if name == INFLATION else measure_of(self._rates(name))
        return None if isnan(counted.mean) else counted

    def claimed(self, name: str) -> Measure | None:
        """A rate for claims about training; None also where a net answers one class.

        Such a net has a low hypocritical risk, as no attack moves it, and has learnt nothing.
        """
        return None if self.of_one_class else self.measure(name)

    def cell(
        self, name: str, published: Published | None, setup: Setup, *, deviations: bool = True
    ) -> Cell:
        """A rate beside the published one; without `deviations` as tables of means print it."""
        if not self.counts:
            return missing(self.why, published)
        ours = self.measure(name)
        if not deviations:
            ours = ours and replace(ours, sd=nan)
            published = published and replace(published, sd=nan)
        return replace(cell(ours, published, setup), remark=self._remark)

    @property
    def _remark(self) -> str:
        of_one = self.of_one_class
        return f"{of_one} of {len(self.counts)} {CONSTANT}" if of_one else ""

    def notes(self, label: str) -> Iterable[str]:
        """Remarks on the numbers of a row."""
        lost = self.seeds - len(self.counts)
        if lost and self.counts:
            yield f"{label}: {lost} of {self.seeds} seeds are missing: {self.why}"
        if self.of_one_class:
            yield (
                f"{label}: {self._remark} for {ONE_CLASS:.0%} of the images or more; no claim "
                "about training counts them"
            )
        if self.counts and (undefined := left_out(self._rates("R_hyp on D-"))):
            yield f"{label}: the hypocritical risk is {undefined}, as no image is misclassified"
        if spoiled := broken(self.counts):
            yield f"{label}: F - D is less than the inflation, as {spoiled}"

    def _rates(self, name: str) -> Sequence[Rate]:
        return [RATES[name](counts) for counts in self.counts]


def risks_of(results: Results, exams: Sequence[Exam], *, attack: str = PGD) -> NetRisks:
    """Count the rows of one recipe's evaluations, one for each training seed."""
    found = [(exam, results.rows(exam)) for exam in exams]
    lost = [exam for exam, rows in found if rows is None]
    kept = [rows.where(attack=attack, split=exam.split) for exam, rows in found if rows is not None]
    return NetRisks(
        counts=tuple(
            RiskCounts.of(rows, attack=attack, split=exam.split)
            for exam, rows in found
            if rows is not None
        ),
        seeds=len(exams),
        why=results.why_missing(lost[0]) if lost else "",
        of_one_class=sum(map(answers_one_class, kept)),
    )


CONSTANT = "nets answer one class"
"""Remark on nets whose risks follow from that alone."""
FEWEST = 20
"""Images that a net answers alike by more than chance: a good net makes few mistakes."""
ONE_CLASS = 0.95
"""Share of the images for which a net answers the same class that makes it a constant."""


def answers_one_class(rows: Outcomes) -> bool:
    """Tell a net that answers one class for nearly all images, though they are of several.

    Args:
        rows: of one net on one split, under whatever attacks; each image counts once.
    """
    _, first = np.unique(rows.table["id"].to_numpy(), return_index=True)
    pred, y = (rows.table[name].to_numpy()[first] for name in ("pred_clean", "y"))
    if len(np.unique(y)) < 2 or len(first) < FEWEST:
        return False
    classes, counts = np.unique(pred, return_counts=True)
    most = counts.argmax()
    same, meant = counts[most] / len(pred), float(np.mean(y == classes[most]))
    return bool(meant < ONE_CLASS <= same)


def row_of(label: str, cells: Iterable[Cell], block: str = "") -> Row:
    """A line of a table."""
    return Row(label=label, cells=tuple(cells), block=block)
