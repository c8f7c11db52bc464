"""Test-time defences: changes of an input before a net predicts it."""

from fftune.defenses.adaptive import AdaptiveAccess, Defended
from fftune.defenses.hedge import Hedge, hedge, refuse_without_gradients
from fftune.defenses.spec import (
    Defense,
    DefenseSpec,
    Purify,
    defense_spec,
    defenses_of,
    surrogate_of,
)

__all__ = [
    "AdaptiveAccess",
    "Defended",
    "Defense",
    "DefenseSpec",
    "Hedge",
    "Purify",
    "defense_spec",
    "defenses_of",
    "hedge",
    "refuse_without_gradients",
    "surrogate_of",
]
