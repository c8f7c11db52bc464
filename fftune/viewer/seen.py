"""One net's rows as a viewer shows them: bare, and behind each defense."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fftune.errors import DataError
from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.defended import CONTROLS
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.report.defended_rows import is_leaked
from fftune.risk import clean_prediction

NAMES = ["attack", "goal", "target", "tier", "protocol", "seed", "restart", "config_hash"]
"""Columns by which attacks differ."""
TOLD = {name: name for name in ("tier", "protocol", "seed", "restart")} | {
    "config_hash": "settings"
}
"""Columns that tell attacks of one name apart, and their words."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Rows of one net on one split, as one draw of one defense answered, or without any."""

    defense: str
    """Name of the defense, or "none"."""
    draws: int
    """Draws of the defense that the rows have; the first is shown."""
    frame: pd.DataFrame
    """Rows of the first draw, with columns `clean` (the prediction of the clean image, as defended)
    and `counts` (the attack counts for risks: controls, and attackers who were told the draw, do
    not)."""
    won: pd.DataFrame
    """Draws under which each attack won, by `NAMES` and id."""

    @property
    def title(self) -> str:
        """Name in a list of choices."""
        if self.defense == "none":
            return "the net alone"
        return f"behind {self.defense}" + (f", draw 1 of {self.draws}" if self.draws > 1 else "")


def seen(outcomes: Outcomes, split: str) -> list[Seen]:
    """Part the rows of a split by their defenses, none first.

    Raises:
        DataError: the rows are of several nets, or of schema 1 and behind a defense.
    """
    frame = outcomes.where(split=split).to_pandas()
    names = ("attack", "goal", "defense", "protocol", "tier", "config_hash", "model_hash")
    frame = frame.astype(dict.fromkeys(names, str))
    if frame["model_hash"].str.partition("+")[0].nunique() > 1:
        raise DataError("rows are of several nets: a view shows one")
    frame.loc[frame["goal"] != "targeted", "target"] = -1
    found = []
    for name in sorted(frame["defense"].unique(), key=lambda name: (name != "none", name)):
        rows = frame[frame["defense"] == name]
        first = rows[rows["defense_repeat"] == 0].copy()
        first["clean"] = clean_prediction(first)
        first["counts"] = _counting(first, bare=name == "none")
        attacked = rows[~rows["attack"].isin(CONTROLS)]
        draws = int(attacked["defense_repeat"].max()) + 1 if len(attacked) else 1
        won = attacked.groupby([*NAMES[:-1], "id"])["success"].sum().rename("won").reset_index()
        found.append(Seen(name, draws, first.sort_values("id"), won))
    return found


def columns(one: Seen, ids: list[int]) -> dict[str, Any]:
    """Columns of a table with a row an example, as plain JSON; null where there is no row.

    Args:
        ids: of the rows of the table.
    """
    first = one.frame.drop_duplicates("id").set_index("id")
    attacks = [
        {
            "name": name,
            "goal": key["goal"],
            "counts": bool(rows["counts"].any()),
            "pred": _plain(rows.set_index("id")["pred_pert"], ids),
            "won": _plain(_of(one.won, key).set_index("id")["won"], ids),
        }
        for name, key, rows in _named(one.frame)
    ]
    return {
        "title": one.title,
        "draws": one.draws,
        "clean": _plain(first["clean"], ids),
        "attacks": attacks,
    }


def _named(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Name, key and rows of each attack; names with one goal differ."""
    parts = [
        (dict(zip(NAMES, key, strict=True)), rows) for key, rows in frame.groupby(NAMES, sort=False)
    ]
    for key, rows in parts:
        like = [k for k, _ in parts if _base(k) == _base(key)]
        differ = [
            f", {word} {key[column]}"
            for column, word in TOLD.items()
            if len({k[column] for k in like}) > 1
        ]
        yield _base(key)[0] + "".join(differ), key, rows


def _base(key: dict[str, Any]) -> tuple[str, str]:
    """Name of an attack without what tells it from others of that name, and its goal."""
    targeted = key["goal"] == "targeted"
    return key["attack"] + (f" to class {key['target']}" if targeted else ""), key["goal"]


def _of(won: pd.DataFrame, key: dict[str, Any]) -> pd.DataFrame:
    """Rows of an attack, whatever draw its settings' hash names."""
    columns = [name for name in NAMES if name != "config_hash"]
    return won[(won[columns] == [key[name] for name in columns]).all(axis=1)]


def _counting(frame: pd.DataFrame, *, bare: bool) -> "pd.Series[bool]":
    """Tell of each row if its attack counts for risks, as in the tables of a terminal."""
    left_out = frame["attack"].isin(CONTROLS) | (frame["protocol"] == CERTIFIED)
    left_out |= frame["attack"].map(is_adaptive if bare else is_leaked)
    return ~left_out


def _plain(values: "pd.Series[Any]", ids: list[int]) -> list[int | None]:
    """Values by id as integers; null for ids without one."""
    found = values.reindex(ids)
    return [None if missing else int(v) for v, missing in zip(found, found.isna(), strict=True)]
