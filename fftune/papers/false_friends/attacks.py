"""Hypocritical attacks of several kinds: table 14 of Tao et al. 2022."""

from collections.abc import Mapping

from fftune.comparison import Paired
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Direction, Row, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables.directions import together
from fftune.papers.tables.measures import measure_of, missing
from fftune.papers.tables.net_risks import PGD
from fftune.papers.tables.published import published
from fftune.papers.tables.verdicts import cell
from fftune.recipes import LAM
from fftune.risk import RiskCounts

FRIENDS: Mapping[str, Net] = {
    "Naive": Net(kind="naive"),
    "Quality (NT)": Net(),
    "Quality (PGD-AT)": Net(objective="pgd_at"),
    "Quality (TRADES)": Net(objective="trades", lam=LAM),
    "Quality (THRM)": Net(objective="thrm", lam=40.0),
}
"""Nets of table 14, one training each."""
ATTACKS = ("fgsm", "pgd-20", "pgd-100", "cw-100")
"""Attacks of table 14, from the weakest to the strongest."""
STRONG = "strong"
"""Our ensemble, which the paper does not have."""


def _friend(net: Net) -> Exam:
    return Exam(net=net, battery="hypocritical", size="many")


def _needs(_setup: Setup) -> list[Exam]:
    return [_friend(net) for net in FRIENDS.values()]


def _build(results: Results) -> list[Table]:
    rows = {label: results.rows(_friend(net)) for label, net in FRIENDS.items()}
    why = {label: results.why_missing(_friend(net)) for label, net in FRIENDS.items()}
    columns = ("clean", *ATTACKS, STRONG)
    table = Table(
        name="P1.T14",
        title=TITLE,
        columns=tuple(("ours" if name == STRONG else "", name) for name in columns),
        rows=tuple(
            Row(
                label=label,
                cells=tuple(
                    _under(rows[label], name, label, results.setup, why[label]) for name in columns
                ),
            )
            for label in FRIENDS
        ),
        corner="Model",
        notes=(
            "F under each hypocritical attack; one training each, THRM with lambda = 40",
            "at its last iterate PGD-100 may be weaker than PGD-20 on single images",
        ),
        directions=tuple(_stronger(rows, *pair) for pair in _ORDER),
    )
    return [table]


def _under(rows: Outcomes | None, name: str, label: str, setup: Setup, why: str) -> Cell:
    """Accuracy under an attack, or that of clean images."""
    printed = published("P1.T14", label, name)
    if rows is None:
        return missing(why, printed)
    attack = PGD if name == "clean" else name
    counts = RiskCounts.of_friend(rows.where(attack=attack, split="test"))
    rate = counts.clean_accuracy if name == "clean" else counts.hypocritical_accuracy
    return cell(measure_of([rate]), printed, setup)


_ORDER = (("pgd-20", "fgsm", False), ("pgd-100", "pgd-20", True), ("cw-100", "pgd-100", True))
"""(stronger, weaker, whether they may be equal)."""


def _stronger(
    rows: Mapping[str, Outcomes | None], strong: str, weak: str, equal: bool
) -> Direction:
    """Decide a claim about two attacks on the same images of each net."""
    claim = f"{strong} is {'not weaker' if equal else 'stronger'} than {weak} on every net"
    pairs = {label: _paired(one, strong, weak) for label, one in rows.items() if one is not None}
    verdicts = [_decided(pair, equal) for pair in pairs.values()]
    if len(pairs) < len(rows):
        verdicts.append(None)
    seen = "; ".join(f"{label} {100 * pair.gain:+.1f} points" for label, pair in pairs.items())
    return Direction(claim=claim, found=together(verdicts), seen=seen or "no numbers")


def _paired(rows: Outcomes, first: str, second: str) -> Paired:
    one, two = (rows.where(attack=name, split="test") for name in (first, second))
    return Paired.of(one, two)


def _decided(pair: Paired, equal: bool) -> bool | None:
    """A gain over zero is found, or one that is not below zero where the two may be equal."""
    low, high = pair.interval
    if high < 0:
        return False
    if low > 0 or (equal and pair.gain >= 0):
        return True
    return None


TITLE = "Hypocritical attacks on ResNet-18 models on CIFAR-10, l_inf"
T14 = Item(key="P1.T14", title=TITLE, needs=_needs, build=_build)
