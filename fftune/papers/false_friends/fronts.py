"""TRADES against THRM over lambda: tables 10 to 13 of Tao et al. 2022."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fftune.comparison import GapBand, front_gap
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Direction, Row, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.scales import lambdas_of
from fftune.papers.tables.directions import Larger, direction
from fftune.papers.tables.net_risks import (
    INFLATION,
    PGD,
    NetRisks,
    answers_one_class,
    risks_of,
    row_of,
)
from fftune.papers.tables.published import published
from fftune.recipes import TrainingData

METHODS = {"THRM": "thrm", "TRADES": "trades"}
"""Objectives by the names that the paper prints."""
COLUMNS = (
    *(("Accuracy", name) for name in ("D", "A", "F")),
    *(("Risk", name) for name in ("R_nat", "R_adv", "R_hyp")),
    *(("Direct", name) for name in ("R_adv on D+", "R_hyp on D-", INFLATION)),
)
SMALL = 10.0
"""Lambdas up to this one are the small ones of Tao et al. 2022, figure 6."""
NOTES = (
    "the risks are derived from the accuracies as in the paper, 1 - A / D and 1 - (1 - F) / R_nat; "
    "the direct ones are counted on D+ and D-, and differ where a perturbed image does the "
    "opposite of its attack's goal; the inflation is R_nat x R_hyp on D-",
    "one training each, of seed 0; lambda = 0 is standard training, one net for both methods; with "
    "batch normalisation the nets jump where lambda leaves 0",
)

Front = Mapping[float, NetRisks]
"""Risks of one method by lambda."""


@dataclass(frozen=True, kw_only=True)
class FrontTable:
    """A table of both methods over lambda on one kind of data."""

    key: str
    title: str
    data: str = "cifar10"
    kind: TrainingData = "quality"

    def exam(self, method: str, lam: float) -> Exam:
        """The evaluation of a row."""
        objective = METHODS[method]
        return Exam(net=Net(data=self.data, kind=self.kind, objective=objective, lam=lam))

    def needs(self, setup: Setup) -> list[Exam]:
        """All evaluations."""
        return [self.exam(method, lam) for method in METHODS for lam in lambdas_of(setup)]

    def build(self, results: Results) -> list[Table]:
        """The table, and what is seen of the paper's claims."""
        lambdas = lambdas_of(results.setup)
        fronts = {
            method: {lam: risks_of(results, [self.exam(method, lam)]) for lam in lambdas}
            for method in METHODS
        }
        places = [(method, lam) for method in METHODS for lam in lambdas]
        notes = (
            note
            for method, lam in places
            for note in fronts[method][lam].notes(f"{method} {lam:g}")
        )
        table = Table(
            name=self.key,
            title=self.title,
            columns=COLUMNS,
            rows=tuple(self._row(fronts, *place, results.setup) for place in places),
            corner="lambda",
            notes=(*NOTES, *notes),
            directions=tuple(self._directions(fronts, results)),
        )
        return [table]

    def item(self) -> Item:
        """The table as an item of the paper."""
        return Item(key=self.key, title=self.title, needs=self.needs, build=self.build)

    def _row(self, fronts: Mapping[str, Front], method: str, lam: float, setup: Setup) -> Row:
        label = f"{lam:g}"
        cells = (
            fronts[method][lam].cell(name, published(self.key, method, label, name), setup)
            for _, name in COLUMNS
        )
        return row_of(label, cells, block=method)

    def _directions(self, fronts: Mapping[str, Front], results: Results) -> list[Direction]:
        lambdas = lambdas_of(results.setup)
        if self.kind == "quality":
            return [
                self._gap(results, lambdas, lambdas),
                *(direction_of_lambda(method, fronts[method]) for method in METHODS),
            ]
        large = [lam for lam in lambdas if lam > SMALL]
        return [
            dominated(fronts, [lam for lam in lambdas if 0 < lam <= SMALL]),
            self._gap(results, large, lambdas),
            direction_of_lambda("TRADES", fronts["TRADES"]),
        ]

    def _gap(self, results: Results, first: Sequence[float], second: Sequence[float]) -> Direction:
        """THRM with some lambdas against TRADES with others, at equal natural risk.

        Lambda = 0 is an end of both fronts, as in the paper's figure 4: without it the fronts of
        many classes hardly share a natural risk.
        """
        claim = "at equal natural risk THRM has a lower hypocritical risk on D- than TRADES"
        if min(first, default=0) > SMALL:
            claim += f", with lambda over {SMALL:g}"
        sides, lost = [], []
        for method, lambdas in (("THRM", first), ("TRADES", second)):
            members = {lam: self._member(results, method, lam) for lam in lambdas}
            sides.append([[rows] for rows in members.values() if rows is not None])
            lost.append((method, [lam for lam, rows in members.items() if rows is None]))
        without = left_out(*lost)
        if not all(sides):
            return Direction(claim=claim, found=None, seen=f"numbers are missing{without}")
        found = at_equal_natural_risk(claim, front_gap(*sides, draws=DRAWS))
        return replace(found, seen=found.seen + without)

    def _member(self, results: Results, method: str, lam: float) -> Outcomes | None:
        """Rows of a net of a front; None if they are missing, or it answers one class."""
        rows = results.rows(self.exam(method, lam))
        if rows is None:
            return None
        touched = rows.where(attack=PGD, split="test", goal="hypocritical")
        return None if answers_one_class(touched) else touched


LEFT_OUT = "their nets are missing, or answer one class"


def left_out(*lost: tuple[str, Sequence[float]]) -> str:
    """Say which lambdas of which methods a claim is without; empty: none."""
    told = (f"{method} {', '.join(f'{lam:g}' for lam in lams)}" for method, lams in lost if lams)
    names = " and ".join(told)
    return f"; without lambda of {names}: {LEFT_OUT}" if names else ""


DRAWS = 400
"""Bootstrap samples of the band of a gap."""


def at_equal_natural_risk(claim: str, band: GapBand) -> Direction:
    """Decide a claim that the first front is better, where both reach, pointwise.

    It is found where the band excludes zero over more than half of the range, and nowhere the
    other way round; not found where that holds of the other front.
    """
    if not len(band.natural):
        return Direction(claim=claim, found=None, seen="the fronts share no natural risk")
    better, worse = float(np.mean(band.high < 0)), float(np.mean(band.low > 0))
    found = True if better > 0.5 and not worse else False if worse > 0.5 and not better else None
    low, high = 100 * band.natural[0], 100 * band.natural[-1]
    seen = (
        f"gap {_points(band.gap)} points over natural risks of {low:.1f} to {high:.1f} %; "
        f"by the band THRM is better on {better:.0%} of the range and TRADES on {worse:.0%}"
    )
    return Direction(claim=claim, found=found, seen=seen)


def _points(gap: np.ndarray) -> str:
    least, most = 100 * float(np.min(gap)), 100 * float(np.max(gap))
    return f"{least:+.1f} to {most:+.1f}"


def direction_of_lambda(method: str, front: Front) -> Direction:
    """Decide if natural risk grows and hypocritical risk falls from the least lambda to the most.

    Neighbours that contradict it are told: noise of a single training suffices for one, and the
    paper has such, too.
    """
    lambdas = sorted(lam for lam in front if lam and front[lam].claimed("R_nat"))
    lost = left_out((method, [lam for lam in front if lam and lam not in lambdas]))
    claim = f"with lambda {method} trades natural risk for hypocritical risk on D-"
    if len(lambdas) < 2:
        return Direction(claim=claim, found=None, seen=f"numbers are missing{lost}")
    steps = [step for pair in pairwise(lambdas) for step in _steps(front, *pair)]
    decided = direction(claim, _steps(front, lambdas[0], lambdas[-1]))
    against = [step.what.rstrip(":") for step in steps if step.found is False]
    told = f"; contrary neighbours: {', '.join(against)}" if against else ""
    return Direction(claim=claim, found=decided.found, seen=decided.seen + told + lost)


def _steps(front: Front, less: float, more: float) -> list[Larger]:
    few, many = front[less], front[more]
    name, between = "R_hyp on D-", f"lambda {less:g} and {more:g}"
    return [
        Larger(
            what=f"R_nat, lambda {more:g} and {less:g}:",
            first=many.claimed("R_nat"),
            second=few.claimed("R_nat"),
        ),
        Larger(what=f"R_hyp, {between}:", first=few.claimed(name), second=many.claimed(name)),
    ]


def dominated(fronts: Mapping[str, Front], lambdas: Sequence[float]) -> Direction:
    """Decide if TRADES beats THRM in both risks at equal small lambda, on poisoned data."""
    return direction(
        "with small lambda TRADES has lower natural and hypocritical risks than THRM",
        (
            Larger(
                what=f"{name}, lambda {lam:g}, THRM and TRADES:",
                first=fronts["THRM"][lam].claimed(name),
                second=fronts["TRADES"][lam].claimed(name),
            )
            for lam in lambdas
            for name in ("R_nat", "R_hyp on D-")
        ),
    )


T10 = FrontTable(key="P1.T10", title="TRADES and THRM on CIFAR-10, l_inf").item()
T11 = FrontTable(key="P1.T11", title="TRADES and THRM on CIFAR-100, l_inf", data="cifar100").item()
T12 = FrontTable(
    key="P1.T12", title="TRADES and THRM on Tiny-ImageNet, l_inf", data="tiny-imagenet"
).item()
T13 = FrontTable(
    key="P1.T13", title="TRADES and THRM on the Poisoning data of CIFAR-10, l_inf", kind="poisoning"
).item()
