"""Answer to "does the defense help against one who knows it?", a row a defense."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fftune.comparison import Paired
from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes
from fftune.report.defended_rows import CONTROL, defense_frame, is_leaked, judged
from fftune.report.defense_rates import ADVERSARIES
from fftune.report.resubmission import by_image, gains, of_all, of_mistakes, withstood
from fftune.report.result_page import points, told
from fftune.report.row_order import defenses_in
from fftune.report.terminal import Block, Cell, Worst, grid
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Rates of a net behind one defense, in its first draw; each None where unknown."""

    defense: str
    clean: Rate | None
    """Accuracy on clean images."""
    blind: Rate | None
    """Accuracy under the worst of the attacks that know of no defense."""
    aware: Rate | None
    """Accuracy under the best of all attacks, of those that know the defense too."""
    gain: Paired | None
    """The last against the bare net's, image by image; None for the bare net."""
    concealed: Rate | None
    """Hypocritical risk on the defended net's own mistakes, the best of all false friends."""

    @property
    def helps(self) -> bool | None:
        """Does it help against attackers who know it? None: the interval of the gain holds 0."""
        assert self.gain is not None
        low, high = self.gain.interval
        return True if low > 0 else False if high < 0 else None

    def __str__(self) -> str:
        if self.gain is None or not self.gain.n or self.aware is None:
            return f"{self.defense}: nothing is known of attackers who know it."
        low, high = self.gain.interval
        than = f"{points(self.gain.gain, low, high)} points against the bare net"
        known = f"attackers who know it leave {told(self.aware)}, {than}"
        if self.helps is None:
            return f"{self.defense} is of no proven help against one who knows it: {known}."
        verb = "helps" if self.helps else "hurts"
        return f"{self.defense} {verb} against one who knows it: {known}."


def answers(outcomes: Outcomes) -> list[Answer]:
    """Judge each defense of a net; the bare net comes first."""
    frame = judged(defense_frame(outcomes))
    found: list[Answer] = []
    for _, part in frame.groupby("split"):
        bare = part[part["defense"] == "none"]
        found += [_answer(d, part[part["defense"] == d], bare) for d in defenses_in(part)]
    return found


def defense_blocks(nets: Mapping[str, Sequence[Answer]]) -> list[Block]:
    """One table of nets and defenses, and what its columns are.

    Args:
        nets: answers by the names of the nets.
    """
    several = len(nets) > 1
    first = "net, behind" if several else "behind"
    rows: list[list[Cell]] = [
        [first, "known to attackers", "gain, points", "not known", "clean images", "concealed"]
    ]
    for name, every in nets.items():
        kept = [one.aware.value for one in every if one.aware is not None and one.aware.n]
        for one in every:
            row = f"{name}, {_named(one)}" if several else _named(one)
            rows.append([row, *_cells(one, min(kept, default=-1.0))])
    title = "Does the defense help against one who knows it? Accuracy in one draw of each"
    legend = (
        "known to attackers: under all attacks, of those that know the defense too; gain: less the "
        "bare net's, image by image; not known: under the worst attack that knows no defense; "
        "concealed: of the defended net's own mistakes, by the best of all false friends. "
        "--details prints every attack and all draws."
    )
    return [grid(rows, title, "the least that is left of a net"), legend]


def _named(one: Answer) -> str:
    return "no defense" if one.gain is None else one.defense


def _cells(one: Answer, least: float) -> list[Cell]:
    aware: Cell = _told(one.aware)
    if one.aware is not None and one.aware.n and one.aware.value == least:
        aware = Worst(str(aware))
    gain = ""
    if one.gain is not None and one.gain.n:
        gain = points(one.gain.gain, *one.gain.interval)
    return [aware, gain, _told(one.blind), _told(one.clean), _told(one.concealed)]


def _told(rate: Rate | None) -> str:
    return "-" if rate is None else told(rate)


def _answer(defense: str, under: "pd.DataFrame", bare: "pd.DataFrame") -> Answer:
    clean = under[under["attack"] == CLEAN]
    every = _unleaked(under, *ADVERSARIES)
    blind = every[~every["attack"].map(is_adaptive).astype(bool)]
    friends = _unleaked(under, "hypocritical")
    friends = friends[friends["doubt"].notna()]
    gain = None
    if defense != "none" and len(every):
        theirs = _unleaked(bare, *ADVERSARIES)
        both = (withstood(by_image(rows, "wrong")) for rows in (every, theirs))
        paired = gains(*both)["one"]
        assert isinstance(paired, Paired)
        gain = paired
    elif defense != "none":
        gain = Paired(n=0, both=0, gained=0, lost=0)
    return Answer(
        defense=defense,
        clean=_kept(clean),
        blind=_kept(blind),
        aware=_kept(every),
        gain=gain,
        concealed=of_mistakes(by_image(friends, "right")).one if len(friends) else None,
    )


def _kept(rows: "pd.DataFrame") -> Rate | None:
    """Accuracy in the first draw under all of these attacks; None without any."""
    return of_all(withstood(by_image(rows, "wrong"))).one if len(rows) else None


def _unleaked(rows: "pd.DataFrame", *goals: str) -> "pd.DataFrame":
    """Rows of attackers of some goals who do not have the defender's draw."""
    kept = rows[rows["goal"].isin(goals) & (rows["goal"] != CONTROL)]
    return kept[~kept["attack"].map(is_leaked).astype(bool)]
