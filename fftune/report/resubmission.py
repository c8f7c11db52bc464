"""Resubmission of one point to a random defense: what comes of it, counted over images.

Croce et al. 2022 and DiffBreak (Kassis et al. 2024) show how much a defense's numbers depend on
this: on whether an attacker may come back, and on whether the defender decides by many draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fftune.comparison import Paired
from fftune.expectation import Expectation, MeanGain
from fftune.report.defended_rows import tried_by_all
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd

RULES = {
    "one": "one draw",
    "majority": "majority of {m}",
    "any": "any of {m}",
    "expectation": "expectation",
}
"""Columns, and what is printed over them."""
COUNTED = ("one", "majority", "any")
"""Columns that count images."""
Won = Literal["wrong", "right", "success"]
"""Aim of attacks: a column of `defense_frame`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmitted:
    """Share of images by four rules, over m draws of a defense on one point of each image."""

    one: Rate
    """By the first draw: one submission."""
    majority: Rate
    """By more than half of the draws: a defender who lets m draws vote."""
    any: Rate
    """By any of the draws: an attacker who comes back m times."""
    expectation: Expectation
    """By the mean over the draws, each image weighed by the share of the clean images' own draws
    that make it one of D+ or D-."""

    def counts(self) -> Mapping[str, Rate]:
        """The three that count images, by their names in `RULES`."""
        return {name: getattr(self, name) for name in COUNTED}


def by_image(rows: "pd.DataFrame", won: Won) -> "pd.DataFrame":
    """Tell for each image whether some attack wins: columns `one`, `majority`, `any`, `share`.

    The first three are bool; `share` is the share of draws in which some attack wins. `doubt` is
    that of `defense_frame`. Examples that some attack has no rows of are dropped.

    Args:
        rows: of `defense_frame`, behind one defense, of one or more attacks.
        won: what the attacks are after.
    """
    import pandas as pd

    rows = tried_by_all(rows)
    each = rows.groupby(["attack", "id"])[won]
    wins, draws = each.sum(), each.size()
    first = rows[rows["defense_repeat"] == 0].set_index(["attack", "id"])[won]
    rules = pd.DataFrame({"one": first, "majority": 2 * wins > draws, "any": wins > 0})
    found = rules.groupby("id").any()
    drawn = rows.groupby(["id", "defense_repeat"])[won].any()
    found["share"] = drawn.groupby("id").mean()
    found["doubt"] = rows.groupby("id")["doubt"].first()
    return found


def withstood(found: "pd.DataFrame") -> "pd.DataFrame":
    """The opposite of each image's `one`, `majority`, `any` and `share`: no attack wins."""
    kept = {name: ~found[name] for name in COUNTED}
    return found.assign(**kept, share=1 - found["share"])


def robust(found: "pd.DataFrame") -> "pd.DataFrame":
    """Tell for each image whether it is one of D+ and adversaries do not make it wrong.

    Examples of which it is not known are dropped.
    """
    kept = withstood(found[found["doubt"].notna()])
    own = {name: kept[name] & (kept["doubt"] <= 0.5) for name in COUNTED}
    return kept.assign(**own, share=kept["share"] * (1 - kept["doubt"]))


def concealed(found: "pd.DataFrame", doubts: "pd.Series[float]") -> "pd.DataFrame | None":
    """Tell for each image whether it is one of D- and friends make it look right.

    Args:
        found: of `by_image`, what friends make right, on those images that they went to.
        doubts: of all images.

    Returns:
        None where friends did not go to all that could be mistakes.
    """
    if doubts.isna().any() or not doubts.index[doubts > 0].isin(found.index).all():
        return None
    seen = found.reindex(doubts.index)
    own = doubts > 0.5
    won = {name: (seen[name] == True) & own for name in COUNTED}  # noqa: E712 (nan is no success)
    return seen.assign(**won, share=seen["share"].fillna(0) * doubts, doubt=doubts)


def of_all(found: "pd.DataFrame") -> Resubmitted:
    """Share of all images."""
    return _share(found, found["share"] >= 0, found["share"] * 0 + 1)


def of_right(found: "pd.DataFrame") -> Resubmitted:
    """Share of D+, what the defended net gets right: of adversaries' successes, their risk."""
    return _share(found, found["doubt"] <= 0.5, 1 - found["doubt"])


def of_mistakes(found: "pd.DataFrame") -> Resubmitted:
    """Share of D-, what the defended net gets wrong: of friends' successes, hypocritical risk."""
    return _share(found, found["doubt"] > 0.5, found["doubt"])


def gains(first: "pd.DataFrame", second: "pd.DataFrame") -> Mapping[str, Paired | MeanGain]:
    """Compare two defenses on the same images, by each of `RULES`.

    Args:
        first, second: columns `one`, `majority`, `any` and `share` of what is to be compared.
    """
    ids = first.index.intersection(second.index)
    first, second = first.loc[ids], second.loc[ids]
    found: dict[str, Paired | MeanGain] = {
        name: Paired(
            n=len(ids),
            both=int((first[name] & second[name]).sum()),
            gained=int((first[name] & ~second[name]).sum()),
            lost=int((~first[name] & second[name]).sum()),
        )
        for name in COUNTED
    }
    return found | {"expectation": MeanGain.of((first["share"] - second["share"]).tolist())}


def _share(
    found: "pd.DataFrame", among: "pd.Series[bool]", weights: "pd.Series[float]"
) -> Resubmitted:
    n = int(among.sum())
    counted = {name: Rate(int(found.loc[among, name].sum()), n) for name in COUNTED}
    expected = Expectation.of(found["share"].tolist(), weights.fillna(0).tolist())
    return Resubmitted(**counted, expectation=expected)
