"""Friends who fake robust accuracy, a question that Tao et al. 2022 leave open (section 6).

Can somebody who wants a net to pass hand in images at which it looks robust, though it is not?
"""

from collections.abc import Iterator, Mapping, Sequence

from fftune.papers.artifacts import Cell, Direction, Row, Table
from fftune.papers.declarations import Analysis, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables.measures import measure_of, missing
from fftune.papers.tables.verdicts import cell
from fftune.risk import Rate

NETS = {
    "natural": Net(),
    "PGD-AT": Net(objective="pgd_at"),
    "TRADES 6": Net(objective="trades", lam=6.0),
    "THRM 20": Net(objective="thrm", lam=20.0),
    "l_inf-dist": Net(model="linf_dist", objective="linf_dist"),
}
"""Nets that are judged, by their names in the table."""
COLUMNS = (
    "clean",
    "robust at x",
    "robust at x'",
    "faked, of those not robust",
    "certified at x",
    "certified at x'",
)
NOTES = (
    "The friend minimises, over x' in the ball around x, the largest loss that PGD-10 finds in the "
    "ball of the same radius around x'; he takes 20 steps of eps / 4 and hands in the best point. "
    "Images at which the net is robust he leaves alone.",
    "Robust: right after AutoAttack at its published lengths. A failed attack at x' is no witness "
    "of robustness, and the friend's search no proof that there is none: the faked share is "
    "neither a lower nor an upper bound. A certificate at x' is a proof, which l_inf-dist nets "
    "have.",
)


def _analysis(net: Net) -> Analysis:
    """An analysis a net, so that each is a task of its own."""
    return Analysis(
        run="fftune.papers.false_friends.faked_robustness:fake", nets=(net,), size="few"
    )


def _needs(_: Setup) -> Sequence[Analysis]:
    return [_analysis(net) for net in NETS.values()]


def _build(results: Results) -> Iterator[Table]:
    found: dict[str, Mapping[str, int | None]] = {}
    rows = []
    for name, net in NETS.items():
        analysis = results.analysis(_analysis(net))
        if analysis is None:
            reason = results.why_missing(_analysis(net))
            rows.append(Row(label=name, cells=(missing(reason),) * len(COLUMNS)))
            continue
        (found[name],) = analysis["nets"]
        cells = tuple(_cell(rate, results.setup) for rate in rates_of(found[name]))
        rows.append(Row(label=name, cells=cells))
    yield Table(
        name="P1.robust-hypocrisy",
        title="Robust accuracy as it is, and as a friend has it measured (not in the paper)",
        corner="net",
        columns=tuple(("", column) for column in COLUMNS),
        rows=tuple(rows),
        notes=NOTES,
        directions=tuple(_directions(found)),
    )


def _cell(rate: Rate | None, setup: Setup) -> Cell:
    if rate is None:
        return missing("nets of this kind have no certificate")
    return cell(measure_of([rate]), None, setup)


def rates_of(counts: Mapping[str, int | None]) -> list[Rate | None]:
    """Rates in the order of the columns; None where there is no certificate."""
    total, robust, faked = (counts[name] or 0 for name in ("total", "robust", "faked"))
    certified = (counts[name] for name in ("certified", "certified_faked"))
    return [
        Rate(counts["right"] or 0, total),
        Rate(robust, total),
        Rate(robust + faked, total),
        Rate(faked, total - robust),
        *(None if one is None else Rate(one, total) for one in certified),
    ]


def _directions(found: Mapping[str, Mapping[str, int | None]]) -> Iterator[Direction]:
    """Yield claims of ours: the paper only asks."""
    trained = ("PGD-AT", "TRADES 6")
    shares = {name: rates_of(counts)[3] for name, counts in found.items() if name in trained}
    defined = {name: rate for name, rate in shares.items() if rate is not None and rate.n}
    if defined:
        yield Direction(
            claim="a friend makes adversarially trained nets look more robust than they are",
            found=all(rate.count > 0 for rate in defined.values()),
            seen="faked, of those not robust: "
            + "; ".join(f"{name} {rate}" for name, rate in defined.items()),
        )


ROBUST_HYPOCRISY = Item(
    key="P1.robust-hypocrisy",
    title="Robust accuracy that a friend fakes (not in the paper)",
    needs=_needs,
    build=_build,
)
