"""Certified risks of l_inf-distance nets: table 16 of Tao et al. 2022."""

from collections.abc import Mapping

from fftune.papers.artifacts import Cell, Direction, Measure, Row, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables.directions import Larger, constant, direction, together, told
from fftune.papers.tables.net_risks import INFLATION, NetRisks, risks_of
from fftune.papers.tables.published import published

CERTIFIED = "certified"
"""Name of the battery, and in its rows of what no attack exceeds (corollary G.1)."""
DISTANCE_NETS: Mapping[str, Net] = {
    "Poisoning": Net(model="linf_dist", objective="linf_dist", kind="poisoning"),
    "Quality": Net(model="linf_dist", objective="linf_dist"),
}
_TRADES = Net(objective="trades", lam=80.0)
"""The net that the paper compares them with."""
COLUMNS = (
    ("", "D"),
    ("A", "empirical"),
    ("A", CERTIFIED),
    ("F", "empirical"),
    ("F", CERTIFIED),
    ("", "R_nat"),
    ("R_hyp", "empirical"),
    ("R_hyp", CERTIFIED),
    ("", INFLATION),
)


def _needs(_setup: Setup) -> list[Exam]:
    return [*map(_certified, DISTANCE_NETS.values()), Exam(net=_TRADES)]


def _certified(net: Net) -> Exam:
    """An evaluation by PGD, and by the bounds beside it."""
    return Exam(net=net, battery=CERTIFIED)


def _build(results: Results) -> list[Table]:
    exams = {label: [_certified(net)] for label, net in DISTANCE_NETS.items()}
    empirical = {label: risks_of(results, exam) for label, exam in exams.items()}
    bounds = {label: risks_of(results, exam, attack=CERTIFIED) for label, exam in exams.items()}
    trades = risks_of(results, [Exam(net=_TRADES)])
    rows = (_row(label, empirical[label], bounds[label], results.setup) for label in bounds)
    notes = [note for label, one in empirical.items() for note in one.notes(label)]
    table = Table(
        name="P1.T16",
        title=TITLE,
        columns=COLUMNS,
        rows=tuple(rows),
        corner="Model",
        notes=(
            "R_hyp is derived from the accuracies, as in the paper: 1 - (1 - F) / R_nat",
            "no attack takes A below its certified value, or F and R_hyp above theirs",
            *notes,
        ),
        directions=_claims(empirical, bounds, trades),
    )
    return [table]


def _row(label: str, empirical: NetRisks, bounds: NetRisks, setup: Setup) -> Row:
    def one(column: tuple[str, str]) -> Cell:
        group, name = column
        rate = group or name
        if name == CERTIFIED:
            return bounds.cell(rate, published("P1.T16", label, f"{rate} {CERTIFIED}"), setup)
        return empirical.cell(rate, published("P1.T16", label, rate), setup)

    return Row(label=label, cells=tuple(map(one, COLUMNS)))


def _claims(
    empirical: Mapping[str, NetRisks], bounds: Mapping[str, NetRisks], trades: NetRisks
) -> tuple[Direction, ...]:
    risk = {label: one.claimed("R_hyp on D-") for label, one in bounds.items()}
    ours, theirs = empirical["Quality"], "the l_inf-distance net's and TRADES', lambda 80:"
    return (
        _bounded(empirical, bounds),
        direction(
            "a part of the mistakes is certified to be concealed by no attack",
            (
                Larger(what=f"{label}, all and the bound:", first=constant(100.0), second=bound)
                for label, bound in risk.items()
            ),
        ),
        direction(
            "TRADES with lambda = 80 has lower natural and hypocritical risks",
            (
                Larger(
                    what=f"{name}, {theirs}", first=ours.claimed(name), second=trades.claimed(name)
                )
                for name in ("R_nat", "R_hyp on D-")
            ),
        ),
    )


def _bounded(empirical: Mapping[str, NetRisks], bounds: Mapping[str, NetRisks]) -> Direction:
    """Check that no attack beats the certificate: no matter of chance, hence without intervals."""
    names = (("A", 1), ("F", -1), ("R_hyp", -1))
    pairs = [
        (f"{label} {name}", empirical[label].measure(name), bounds[label].measure(name), sign)
        for label in empirical
        for name, sign in names
    ]
    verdicts = [_kept(attacked, bound, sign) for _, attacked, bound, sign in pairs]
    seen = "; ".join(f"{what}: {told(a)} and {told(b)}" for what, a, b, _ in pairs)
    claim = "attacks stay within what is certified (A above, F and R_hyp below)"
    return Direction(claim=claim, found=together(verdicts), seen=seen)


def _kept(attacked: Measure | None, bound: Measure | None, sign: int) -> bool | None:
    if attacked is None or bound is None:
        return None
    return sign * (attacked.mean - bound.mean) >= -1e-9


TITLE = "l_inf-distance nets on CIFAR-10, empirical and certified, l_inf"
T16 = Item(key="P1.T16", title=TITLE, needs=_needs, build=_build)
