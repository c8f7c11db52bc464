"""Conformance tests for attacks, defences, objectives, nets, data sets and batteries of your own.

They are those that fftune's pass.

Each function raises `AssertionError` with one line that names what was promised, and fits into a
test of yours:

    from fftune.testing import check_attack

    def test_my_attack():
        check_attack("my_attacks.py:walk")
"""

from fftune.testing.attacks import AttackCase, attack_cases, check_attack, check_attack_case
from fftune.testing.batteries import check_battery
from fftune.testing.datasets import check_dataset
from fftune.testing.defenses import check_defense
from fftune.testing.models import check_model
from fftune.testing.objectives import check_objective

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
]
