"""Share of each search in what all searches of a battery found together, and what it cost.

The union is of the successes at this eps; AttackBench's own optimality (Cinà et al. 2025)
integrates over all eps. An adversary's is of D+, a false friend's of D-, each the net's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from fftune.evaluation.batteries import CANARY_NAME
from fftune.progress import duration
from fftune.report.defended_rows import CONTROL, is_leaked
from fftune.report.terminal import Grid, grid
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 0.97
"""Share of what all found after which a search is said to have found enough."""

SearchKey = tuple[str, str, int]
"""Attack, goal, and target class or -1, of the searches whose seconds are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchShare:
    """Share of one attack in what all attacks of its goal found, and its cost."""

    goal: str
    attack: str
    target: int
    """Class that a targeted attack aims at, else -1."""
    protocol: str
    tier: str
    found: Rate
    """Successes, of those of all searches of the goal together."""
    tried: int
    """Examples that it attacked; the canary has a few only."""
    forwards: int
    """Passes over all examples tried."""
    backwards: int
    enough: int | None
    """Passes of both kinds, granted to each example, within which `ENOUGH` of what all found was
    found; None where the search found less. Those of an ensemble are of all its stages: rows do
    not say which of them decided, and one that matters only late shows here."""
    seconds: float | None = None
    """Seconds of one worker; None where they are not known, as in rows read from a file."""

    @property
    def name(self) -> str:
        """Attack with its target, as other lines of a table call it."""
        return self.attack if self.target < 0 else f"{self.attack} to class {self.target}"

    @property
    def passes(self) -> float:
        """Forward and backward passes, of an example tried."""
        return (self.forwards + self.backwards) / max(1, self.tried)

    @property
    def plain(self) -> dict[str, Any]:
        """Plain JSON values; the share is null where nothing was found by any search."""
        return {
            "goal": self.goal,
            "attack": self.name,
            "protocol": self.protocol,
            "tier": self.tier,
            "found": self.found.count,
            "found_by_all": self.found.n,
            "share": self.found.value if self.found.n else None,
            "tried": self.tried,
            "forwards": self.forwards,
            "backwards": self.backwards,
            "passes_to_enough": self.enough,
            "seconds": self.seconds,
        }


def search_shares(
    rows: "pd.DataFrame", seconds: Mapping[SearchKey, float] | None = None
) -> list[SearchShare]:
    """Count each search's share: of every goal the largest first, of equals the cheapest.

    Args:
        rows: one row an example and attack of one net on one split, with the columns of
            `outcomes.SCHEMA`, and `mistaken`: the net is wrong about the clean example. Examples
            that some search has no row of are left out, but for the canary's.
        seconds: of each search, where they are known.
    """
    names = ["goal", "attack", "protocol", "tier"]
    rows = rows.astype(dict.fromkeys(names, str))
    rows["target"] = rows["target"].where(rows["goal"] == "targeted", -1).astype(int)
    shares = [
        _share(part, union, seconds or {})
        for group, union in _unions(rows)
        for _, part in group.groupby(["attack", "protocol", "tier"])
    ]
    return sorted(shares, key=lambda s: (s.goal, s.target, -s.found.count, s.passes))


def _share(part: "pd.DataFrame", union: int, seconds: Mapping[SearchKey, float]) -> SearchShare:
    """Share of one attack, from its rows with a column `won`."""
    first = part.iloc[0]
    key = str(first["attack"]), str(first["goal"]), int(first["target"])
    passes = (part["forwards"] + part["backwards"])[part["won"]].sort_values().tolist()
    needed = ceil(ENOUGH * union - 1e-9)
    return SearchShare(
        attack=key[0],
        goal=key[1],
        target=key[2],
        protocol=str(first["protocol"]),
        tier=str(first["tier"]),
        found=Rate(int(part["won"].sum()), union),
        tried=len(part),
        forwards=int(part["forwards"].sum()),
        backwards=int(part["backwards"].sum()),
        enough=int(passes[needed - 1]) if 0 < needed <= len(passes) else None,
        seconds=seconds.get(key),
    )


def defended_shares(
    rows: "pd.DataFrame", seconds: Mapping[SearchKey, float] | None = None
) -> dict[str, list[SearchShare]]:
    """Count shares under each defense's first draw, of D+ and D- of the net behind it.

    Those to which the defender's draw is leaked are left out. Passes are the search's own, with
    those that it spent inside a surrogate defense.

    Args:
        rows: of `defended_rows.defense_frame`, one split.
    """
    bare = rows[rows["defense"] == "none"]
    under = rows[(rows["defense"] != "none") & (rows["defense_repeat"] == 0)]
    under = under[(under["goal"] != CONTROL) & ~under["attack"].map(is_leaked).astype(bool)]
    under = under[under["doubt"].notna()]  # else it is not known whose mistakes they are
    under = under.assign(mistaken=under["doubt"] > 0.5)
    key = ["attack", "goal", "target", "id"]
    passes = bare.set_index(key)[["forwards", "backwards"]]
    under = under.drop(columns=["forwards", "backwards"]).join(passes, on=key)
    found = {}
    for defense, part in under.groupby("defense"):
        shares = search_shares(part.replace({"goal": {"label_free": "adversarial"}}), seconds)
        found[str(defense)] = shares
    return found


def _unions(rows: "pd.DataFrame") -> Iterator[tuple["pd.DataFrame", int]]:
    """Rows of each goal with a column `won`, and how many examples any search of it won."""
    for (goal, _), group in rows.groupby(["goal", "target"]):
        full = group[group["attack"] != CANARY_NAME]
        tried = full.groupby("id")["attack"].nunique()
        kept = tried.index[tried == full["attack"].nunique()]
        group = group[group["id"].isin(kept)]
        right = group["pred_pert"] == group["y"]
        if goal == "adversarial":
            won = ~group["mistaken"] & ~right
        elif goal == "hypocritical":
            won = group["mistaken"] & right
        else:
            won = group["success"] & (group["mistaken"] | (goal != "targeted"))
        yield group.assign(won=won), int(won.groupby(group["id"]).any().sum())


def share_lines(shares: Sequence[SearchShare]) -> list[Grid]:
    """Format shares as a grid, a line a search; none without searches."""
    if not shares:
        return []
    enough = f"passes to {ENOUGH:.0%}"
    head = ["search", "found of all", "share", enough, "passes an example", "passes in all"]
    cells = [[*head, "seconds"], *map(_cells, shares)]
    if all(share.seconds is None for share in shares):
        cells = [row[:-1] for row in cells]
    title = (
        "searches by their share of what all of a goal found at this eps; passes: forward + "
        f"backward; to {ENOUGH:.0%}: within which that share was found"
    )
    return [grid(cells, title)]


def _cells(share: SearchShare) -> list[str]:
    few = f", {share.tried} tried" if share.attack == CANARY_NAME else ""
    n = max(1, share.tried)
    return [
        f"{share.goal} {share.name}{few}",
        f"{share.found.count:,} of {share.found.n:,}",
        f"{share.found.value:.1%}" if share.found.n else "-",
        "-" if share.enough is None else f"{share.enough:,}",
        f"{share.forwards / n:,.1f} + {share.backwards / n:,.1f}",
        f"{share.forwards:,} + {share.backwards:,}",
        "-" if share.seconds is None else _seconds(share.seconds),
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def share_values(shares: Sequence[SearchShare], at: str = "") -> dict[str, float]:
    """Values for charts, as in `share/pgd-20 adversarial`: share, passes an example, seconds.

    Args:
        at: begins each name, as in `defense/hedge/`.
    """
    found: dict[str, float] = {}
    for share in shares:
        name = f"{share.name} {share.goal}"
        if share.found.n:
            found[f"{at}share/{name}"] = share.found.value
        found[f"{at}passes/{name}"] = share.passes
        if share.seconds is not None:
            found[f"{at}seconds/{name}"] = share.seconds
    return found
