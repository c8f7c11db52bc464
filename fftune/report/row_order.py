"""Order of attacks and defenses in tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fftune.config import ThreatModel
from fftune.evaluation.batteries import nine
from fftune.evaluation.defended import CONTROLS
from fftune.registry import DEFENSES

if TYPE_CHECKING:
    import pandas as pd


def attacks_in(rows: "pd.DataFrame") -> list[str]:
    """Names of attacks: controls, then those of Wu et al. 2021 in their order, then all others."""
    known = [*CONTROLS, *(attack.name for attack in nine(ThreatModel()))]
    return _ordered(rows["attack"].unique(), known)


def defenses_in(rows: "pd.DataFrame") -> list[str]:
    """Names of defenses, `none` first."""
    return _ordered(rows["defense"].unique(), ["none", *DEFENSES])


def _ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    found = set(names)
    return [name for name in order if name in found] + sorted(found - set(order))
