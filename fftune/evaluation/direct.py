"""Attacks on a net in memory, without batteries, plans and stored blocks."""

from collections.abc import Sequence

from torch import nn

from fftune.config import BatteryConfig
from fftune.data import Dataset
from fftune.evaluation.batteries import Attack
from fftune.evaluation.defended import DefenseSet
from fftune.evaluation.escalation import single_pass
from fftune.evaluation.job import EvalJob, check_images, first_images, try_out, under_test
from fftune.evaluation.scheduler import JobState, run_inline
from fftune.models import fits
from fftune.outcomes import Outcomes


def attack_model(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    attacks: Sequence[Attack],
    *,
    defense_set: DefenseSet | None = None,
) -> Outcomes:
    """Rows of some attacks, each run once and whatever it comes to: without lint or escalation.

    Raises:
        ModelError: the net does not take the images, or does not return logits of their classes.
    """
    job = EvalJob.bare(net, dataset, battery, attacks, defense_set)
    with under_test(net, job) as subject:
        check_images(subject, dataset)
        return run_inline(subject, job, JobState(plan=single_pass(job))).complete()


def remarks_on(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, attacks: Sequence[Attack]
) -> tuple[str, ...]:
    """The lint's remarks on a net before these attacks, for callers that make rows themselves.

    Raises:
        ModelError: see `try_out`.
    """
    job = EvalJob.bare(net, dataset, battery, attacks)
    with under_test(net, job) as subject:
        return try_out(subject, job)


def has_gradients(net: nn.Module, dataset: Dataset, battery: BatteryConfig) -> bool:
    """Does autograd connect the net's logits with the pixels? A gradient of zero counts as one.

    Raises:
        ModelError: the net does not take the images, or does not return logits of their classes.
    """
    with under_test(net, EvalJob.bare(net, dataset, battery)) as subject:
        check_images(subject, dataset)
        return fits.has_gradients(subject.net, first_images(subject, dataset, 1))
