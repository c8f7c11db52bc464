"""Conformance tests for what you add by name: attacks, batteries, data sets, defenses, nets ...

They are the ones that ours pass. Each function raises `AssertionError` with one line that names
what was promised, and fits into a test of yours:

    from fftune.testing import check_attack

    def test_my_attack():
        check_attack("my_attacks.py:walk")
"""

from typing import TYPE_CHECKING, Any

from fftune.testing.attacks import AttackCase, attack_cases, check_attack, check_attack_case
from fftune.testing.batteries import check_battery
from fftune.testing.datasets import check_dataset
from fftune.testing.defenses import check_defense
from fftune.testing.models import check_model
from fftune.testing.objectives import check_objective

if TYPE_CHECKING:
    from fftune.testing.samplers import check_sampler

__all__ = [
    "AttackCase",
    "attack_cases",
    "check_attack",
    "check_attack_case",
    "check_battery",
    "check_dataset",
    "check_defense",
    "check_model",
    "check_objective",
    "check_sampler",
]


def __getattr__(name: str) -> Any:
    """Import `check_sampler`, and with it Optuna, when it is asked for."""
    if name != "check_sampler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fftune.testing.samplers import check_sampler

    return check_sampler
