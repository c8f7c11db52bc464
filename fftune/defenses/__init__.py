"""Test-time defenses: changes of an input before a net predicts it, and nets around a net."""

from fftune.defenses.adaptive import AdaptiveAccess, Defended
from fftune.defenses.hedge import Hedge, hedge, refuse_without_gradients
from fftune.defenses.spec import (
    Defense,
    DefenseSpec,
    NamedDefense,
    Purify,
    Wrap,
    defense_spec,
    defenses_of,
)

__all__ = [
    "AdaptiveAccess",
    "Defended",
    "Defense",
    "DefenseSpec",
    "Hedge",
    "NamedDefense",
    "Purify",
    "Wrap",
    "defense_spec",
    "defenses_of",
    "hedge",
    "refuse_without_gradients",
]
