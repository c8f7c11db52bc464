"""Transfer of perturbations between nets, which Tao et al. 2022 leave to others.

A false friend need not know the net that is verified: perturbations crafted on one net are judged
on another one's own mistakes, and those of an adversary on its right answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fftune.papers.artifacts import Direction, Row, Table
from fftune.papers.declarations import Analysis, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables.measures import measure_of, missing
from fftune.papers.tables.verdicts import cell
from fftune.risk import Rate

NETS = {
    "natural, seed 0": Net(),
    "natural, seed 1": Net(seed=1),
    "PGD-AT": Net(objective="pgd_at"),
    "TRADES 6": Net(objective="trades", lam=6.0),
    "THRM 20": Net(objective="thrm", lam=20.0),
}
"""Nets that perturb and judge, by their names in the table."""
NOISE = "uniform noise"
CROSSED = Analysis(
    run="fftune.papers.false_friends.transferred:cross", nets=tuple(NETS.values()), size="all"
)
GOALS = (
    (
        "concealed",
        "P1.transfer-hypocritical",
        "Mistakes of one net that a friend of another conceals (not in the paper)",
    ),
    (
        "fooled",
        "P1.transfer-adversarial",
        "Right answers of one net that an adversary of another breaks (not in the paper)",
    ),
)


def _needs(_: Setup) -> Sequence[Analysis]:
    return (CROSSED,)


def _build(results: Results) -> Iterator[Table]:
    found = results.analysis(CROSSED)
    for what, name, title in GOALS:
        rates = None if found is None else rates_of(found, what)
        yield Table(
            name=name,
            title=title,
            corner="crafted on",
            columns=tuple(("judged on", judge) for judge in NETS),
            rows=tuple(
                Row(
                    label=source,
                    cells=tuple(
                        missing(results.why_missing(CROSSED))
                        if rates is None
                        else cell(measure_of([rates[i][j]]), None, results.setup)
                        for j in range(len(NETS))
                    ),
                )
                for i, source in enumerate([*NETS, NOISE])
            ),
            notes=(
                "PGD-20 of battery risks, from the same starts on every net; intervals are "
                "Wilson's. A judge is counted on its own "
                + ("mistakes" if what == "concealed" else "right answers")
                + ": the diagonal is its ordinary evaluation. The last row is a control: uniform "
                "noise in the same ball.",
                *(() if found is None else (_natural(found),)),
            ),
            directions=() if rates is None else tuple(_directions(rates, what)),
        )


def _natural(found: Mapping[str, Any]) -> str:
    risks = zip(NETS, found["wrong"], strict=True)
    told = ", ".join(f"{name} {Rate(wrong, found['total']).value:.1%}" for name, wrong in risks)
    return f"Natural risks of the judges: {told}."


def rates_of(found: Mapping[str, Any], what: str) -> list[list[Rate]]:
    """Rates of each source, the noise last, on each judge: of its mistakes or right answers."""
    wrong, total = found["wrong"], found["total"]
    ns = wrong if what == "concealed" else [total - one for one in wrong]
    return [[Rate(count, n) for count, n in zip(row, ns, strict=True)] for row in found[what]]


def _directions(rates: Sequence[Sequence[Rate]], what: str) -> Iterator[Direction]:
    verb = "conceals more mistakes" if what == "concealed" else "breaks more right answers"
    yield _order(f"what was crafted on the net itself {verb} of a natural net", rates, 0, 1)
    yield _order(f"what was crafted on another natural net {verb} than noise", rates, 1, -1)


def _order(claim: str, rates: Sequence[Sequence[Rate]], more: int, less: int) -> Direction:
    """Compare two sources on the first natural net; undecided where intervals overlap."""
    names = [*NETS, NOISE]
    high, low = rates[more][0], rates[less][0]
    seen = f"{names[more]} {high}; {names[less]} {low}"
    return Direction(claim=claim, found=larger(high, low), seen=seen)


def larger(one: Rate, other: Rate) -> bool | None:
    """Tell if a rate is larger than another; None where their intervals overlap or one is none."""
    if not (one.n and other.n):
        return None
    if one.interval[0] > other.interval[1]:
        return True
    return False if one.interval[1] < other.interval[0] else None


TRANSFER = Item(
    key="P1.transfer",
    title="Friends and adversaries of one net, judged on others (not in the paper)",
    needs=_needs,
    build=_build,
)
