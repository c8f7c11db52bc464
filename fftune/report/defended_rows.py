"""Rows behind defenses as pandas frames, which every table and rate of defenses groups by."""

from typing import TYPE_CHECKING

from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.defended import CLEAN, CONTROLS
from fftune.outcomes import CERTIFIED, STORED, Outcomes

if TYPE_CHECKING:
    import pandas as pd

LEAKED = "known"
"""Beginning of the names of attackers who have the defender's first draw."""
CONTROL = "control"
"""Goal of what is no attack, in frames."""


def undefended(outcomes: Outcomes) -> Outcomes:
    """Select the rows of a battery alone: no defense, no adaptive attack."""
    plain = outcomes.where(defense="none")
    chosen = (a for a in plain.values("attack") if a not in CONTROLS and not is_adaptive(a))
    return Outcomes.of(plain.where(attack=a).table for a in chosen)


def defense_frame(outcomes: Outcomes) -> "pd.DataFrame":
    """Return the rows with more columns: `right`, `wrong`, `before`, `doubt` and `mistaken`.

    `before` is the bare net's prediction of the same input. `doubt` is the share of draws in which
    the net, its defense included, misclassifies the clean image; it is of draws that no attack is
    judged under, the same for every attack and draw, and nan where rows have none. Examples whose
    doubt is above 1/2 are `mistaken`, D-; a tie is no mistake.
    """
    names = ["split", "attack", "goal", "defense"]
    frame = outcomes.to_pandas().astype(dict.fromkeys(names, str))
    other = frame["attack"].isin(("canary", CERTIFIED))
    frame = frame[~other & ~frame["defense"].str.startswith(STORED)]
    frame.loc[frame["attack"].isin(CONTROLS), "goal"] = CONTROL
    frame["right"] = frame["pred_pert"] == frame["y"]
    frame["wrong"] = ~frame["right"]
    key = ["split", "goal", "attack", "target", "seed", "id"]
    bare = frame[frame["defense"] == "none"].set_index(key)["pred_pert"].rename("before")
    frame = frame.join(bare, on=key)
    frame = frame.join(_doubts(frame), on=["split", "defense", "id"])
    frame["mistaken"] = frame["doubt"] > 0.5
    return frame


def judged_draws(frame: "pd.DataFrame") -> int:
    """Draws that attacks are judged under, m; 1 where rows have no attack behind a defense."""
    last = frame.loc[frame["attack"] != CLEAN, "defense_repeat"].max()
    return 1 if last != last else int(last) + 1


def judged(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Select the rows under draws that attacks are judged under: of clean images there are more."""
    return frame[frame["defense_repeat"] < judged_draws(frame)]


def flip_counts(rows: "pd.DataFrame") -> dict[str, float]:
    """Count FtoT, TtoF, FtoF (to another false class) and unchanged, a mean over the draws.

    Args:
        rows: of `defense_frame`, one attack under one defense.
    """
    draws = max(1, rows["defense_repeat"].nunique())
    was, same = rows["before"] == rows["y"], rows["before"] == rows["pred_pert"]
    counts = {
        "FtoT": ~was & rows["right"],
        "TtoF": was & ~rows["right"],
        "FtoF": ~was & ~rows["right"] & ~same,
        "same": same,
    }
    return {name: float(mask.sum()) / draws for name, mask in counts.items()}


def is_leaked(attack: str) -> bool:
    """Tell from an attack's name if he has the defender's first draw, and is judged by it alone."""
    return attack.startswith(LEAKED)


def tried_by_all(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Drop examples that some attack has no rows of: lost blocks would look robust."""
    attacks = rows.groupby("id")["attack"].nunique()
    return rows[rows["id"].isin(attacks.index[attacks == rows["attack"].nunique()])]


def _doubts(frame: "pd.DataFrame") -> "pd.Series[float]":
    """Share of draws m to 2 m - 1 that are wrong about each clean image, by split and defense."""
    import pandas as pd

    m, key = judged_draws(frame), ["split", "defense", "id"]
    bare = frame[frame["defense"] == "none"]
    plain = (bare["pred_clean"] != bare["y"]).astype(float).groupby([bare[k] for k in key]).first()
    clean = frame[(frame["attack"] == CLEAN) & (frame["defense"] != "none")]
    each = clean[clean["defense_repeat"].between(m, 2 * m - 1)].groupby(key)
    share = 1 - each["right"].mean()
    whole = each["defense_repeat"].nunique() == m
    doubts: pd.Series[float] = pd.concat([plain, share[whole]])
    return doubts.rename("doubt")
