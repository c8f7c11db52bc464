"""Attacks: searches for a point of a ball that serves a goal. One search serves every goal."""

from fftune.attacks.apgd import apgd
from fftune.attacks.constraint_relaxation import cr
from fftune.attacks.deepfool import deepfool
from fftune.attacks.fab import fab
from fftune.attacks.goals import success
from fftune.attacks.pgd import cw, fgsm, pgd, pgd_hedged
from fftune.attacks.rays import rays
from fftune.attacks.spec import AttackSpec, SearchFunction, attack_spec, check_search, protocol_of
from fftune.attacks.square import square

__all__ = [
    "AttackSpec",
    "SearchFunction",
    "apgd",
    "attack_spec",
    "check_search",
    "cr",
    "cw",
    "deepfool",
    "fab",
    "fgsm",
    "pgd",
    "pgd_hedged",
    "protocol_of",
    "rays",
    "square",
    "success",
]
