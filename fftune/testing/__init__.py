"""Conformance tests for your own attacks, defences and batteries: the ones that ours pass.

Each function raises `AssertionError` with one line that names what was promised, and fits into a
test of yours:

    from fftune.testing import check_attack

    def test_my_attack():
        check_attack("my_attacks.py:walk")
"""

from fftune.testing.attacks import AttackCase, attack_cases, check_attack, check_attack_case
from fftune.testing.batteries import check_battery
from fftune.testing.defenses import check_defense

__all__ = [
    "AttackCase",
    "attack_cases",
    "check_attack",
    "check_attack_case",
    "check_battery",
    "check_defense",
]
