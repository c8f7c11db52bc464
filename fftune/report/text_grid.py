"""Columns of text tables of defences, and the order of what stands in them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fftune.config import ThreatModel
from fftune.evaluation.batteries import nine
from fftune.evaluation.defended import CONTROLS
from fftune.registry import DEFENSES

if TYPE_CHECKING:
    import pandas as pd


def grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows of cells in columns as wide as their widest cell, indented by two."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def attacks_in(rows: "pd.DataFrame") -> list[str]:
    """Names of attacks: controls, then those of Wu et al. 2021 in their order, then all others."""
    known = [*CONTROLS, *(attack.name for attack in nine(ThreatModel()))]
    return _ordered(rows["attack"].unique(), known)


def defenses_in(rows: "pd.DataFrame") -> list[str]:
    """Names of defences, `none` first."""
    return _ordered(rows["defense"].unique(), ["none", *DEFENSES])


def _ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    found = set(names)
    return [name for name in order if name in found] + sorted(found - set(order))
