"""Accuracies of the linear model that explains the hedge (Wu et al. 2021, section 5)."""

from collections.abc import Iterator
from dataclasses import replace

from fftune.defenses.theory.linear import LinearTask, accuracies
from fftune.hedge_study.showcase_schema import Linear


def linear_cases() -> Iterator[Linear]:
    """Accuracies on the linear tasks of section 5, of its mirror, and of appendix C."""
    task = LinearTask()
    mirror = replace(task, k_t=task.k_f, k_f=task.k_t)
    band, biased = LinearTask(zeta=0, least=0, most=1), LinearTask(zeta=1.5)
    for name, which, loss in (
        ("linear loss, k_f > k_t", task, "linear"),
        ("linear loss, k_t > k_f", mirror, "linear"),
        ("cross-entropy, k_f > k_t", task, "ce"),
        ("cross-entropy, k_t > k_f", mirror, "ce"),
        ("C.1: within eps of the boundary, no bias", band, "linear"),
        ("C.3: a bias of 1.5 eps", biased, "linear"),
        ("C.3: the same, eps_d = 2 eps", replace(biased, eps_d=2), "linear"),
    ):
        found = accuracies(which, loss=loss)
        yield Linear(case=name, natural=found.natural, attacked=found.attacked, hedged=found.hedged)
