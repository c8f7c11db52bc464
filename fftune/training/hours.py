"""Hours of trainings on accelerators, from passes, operations a pass, and measured rates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heapify, heapreplace

import torch

from fftune.config import InputSpec, TrainConfig, require
from fftune.errors import ModelError
from fftune.hardware import Card, CardName, Speed, card_of, cards, speed_on
from fftune.models import device_of
from fftune.training.cost import Work, work
from fftune.training.flops import Flops, flops_of
from fftune.training.phases import open_data
from fftune.training.throughput import measure

SMALL, LAUNCHES = 0.2, "launches, which nobody has measured, bind it rather than products"
"""Share of the measured net's operations below which its rate is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Passes of one trial, or of a training."""

    training: Work
    evaluation: Work = field(default_factory=Work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Hours of one job on one device."""

    slow: float
    fast: float
    """The end of the range where the slower estimate is `slow`; equal where it was measured."""


def describe(config: TrainConfig, on: CardName | None = None, count: int | None = None) -> str:
    """Describe the hours of one training; see `told`."""
    return told([Job(training=work(config))], config, on, count)


def told(
    jobs: Sequence[Job],
    config: TrainConfig,
    on: CardName | None,
    count: int | None,
    *,
    inputs: InputSpec | None = None,
) -> str:
    """Describe the hours of jobs that trainings like `config` do, side by side.

    Args:
        on: a card of the table; None is the device at hand.
        count: number of cards; None tells those of several numbers.
        inputs: images of the net; None: those that the training begins with.

    Raises:
        ConfigError: fewer cards than one job takes.
    """
    workers = config.workers
    require("cards", count is None or count >= workers, f">= {workers}, the workers", count)
    inputs = inputs or open_data(config).inputs
    try:
        each = flops_of(config, inputs)
    except ModelError as error:
        return f"no hours: {error}"
    card = cards()[on] if on else _card_at_hand(config)
    if card is None:
        return _told_here(jobs, config, inputs, each, count)
    return _told_on(card, jobs, config, each, count)


def _card_at_hand(config: TrainConfig) -> Card | None:
    if device_of(config.device) != "cuda":
        return None
    return card_of(torch.cuda.get_device_name())


def _told_on(
    card: Card, jobs: Sequence[Job], config: TrainConfig, each: Flops, count: int | None
) -> str:
    craft, joint, _ = _speeds(card, config)
    found = [hours_on(card, job, config, each) for job in jobs]
    exact = card.name == craft.rate.card and config.model == craft.rate.model == joint.rate.model
    text = _on_numbers(found, f"{card.title}", count, config.workers)
    small = each.forward / 1e9 < SMALL * craft.rate.gflop
    bound = f"; {config.model} is small: {LAUNCHES}" if small else ""
    return f"{'about' if exact else 'estimate:'} {text}\n{source(card, config)}{bound}"


def hours_on(card: Card, job: Job, config: TrainConfig, each: Flops) -> Hours:
    """Hours of a job on one card, in the precisions and batches of a training."""
    craft, joint, search = _speeds(card, config)
    slow, fast = (
        (
            _tera(job.training, each, joint=False) / getattr(craft, end)
            + job.training.joints * each.joint / 1e12 / getattr(joint, end)
            + _tera(job.evaluation, each, joint=False) / getattr(search, end)
        )
        / 3600
        for end in ("slow", "fast")
    )
    return Hours(slow=slow, fast=fast)


def _speeds(card: Card, config: TrainConfig) -> tuple[Speed, Speed, Speed]:
    """Rates of crafting, of joint steps, and of the attacks of an evaluation.

    Verdicts and, on most devices, searches of an evaluation are not of the training's precision.
    """
    batch = config.optimizer.batch_size // config.workers
    speed = partial(speed_on, card, model=config.model, batch=batch)
    joint = speed("joint", config.precision)
    return speed("craft", config.crafts_in), joint, speed("craft", "fp32")


def source(card: Card, config: TrainConfig) -> str:
    """Say where the rates come from, which is no run of fftune itself."""
    craft, joint, _ = _speeds(card, config)
    rate, measured = craft.rate, cards()[craft.rate.card]
    of = f"crafting {rate.tflops:g} TFLOP/s of {rate.model} at batch {rate.batch}"
    other = joint.rate
    of += f", joint steps {other.tflops:g} of {other.model} at batch {other.batch}"
    text = f"from {rate.what} on one {measured.title}, {rate.precision}, not from fftune's: {of}"
    if card.name != measured.name:
        text += (
            f"; scaled to {card.title} by published peak and bandwidth, the slower of both ratios "
            f"first ({card.source}; {measured.source})"
        )
    return f"{text}; attacks of evaluations as fp32; starts and loading are not counted"


def _told_here(
    jobs: Sequence[Job], config: TrainConfig, inputs: InputSpec, each: Flops, count: int | None
) -> str:
    """Describe the hours on devices like the one at hand, whose rate is measured now."""
    rate = measure(config, inputs, each)

    def hours(job: Job) -> Hours:
        every = job.training + job.evaluation
        alone = (_tera(every, each, joint=True) * 1e12) / rate.flops / 3600
        return Hours(slow=alone, fast=alone)

    name = "worker" if rate.device == "cpu" else "GPU"
    text = _on_numbers([hours(job) for job in jobs], name, count, config.workers)
    where = f"{rate.device}, threads {config.threads}, {config.precision}"
    return (
        f"about {text}\nmeasured here on {where}: {rate.flops / 1e9:.3g} GFLOP/s, n = {rate.n} "
        f"(each a pass of {rate.images}); --on h200 tells the hours on a card"
    )


def _tera(work: Work, each: Flops, *, joint: bool) -> float:
    """Operations of passes, in units of 10^12; those for weights only with `joint`."""
    found = work.forwards * each.forward + work.crafts * each.craft
    return (found + (work.joints * each.joint if joint else 0)) / 1e12


def _on_numbers(found: Sequence[Hours], name: str, count: int | None, workers: int) -> str:
    """Hours on one, two, four, eight devices and on one a job, or on the number asked for."""
    numbers = (1, 2, 4, 8, len(found))
    counts = [count] if count else [n * workers for n in sorted(set(numbers)) if n <= len(found)]
    return ", ".join(_on(found, name, n, workers) for n in counts)


def _on(found: Sequence[Hours], name: str, count: int, workers: int) -> str:
    places = count // workers
    slow, fast = (
        makespan([getattr(hours, end) for hours in found], places) / workers
        for end in ("slow", "fast")
    )
    ends = _short(fast), _short(slow)
    between = "" if ends[0] == ends[1] else f" ({ends[0]} to {ends[1]})"
    return f"{count} {name}{'s' if count > 1 else ''} {_short(slow)} h{between}"


def _short(hours: float) -> str:
    if hours < 0.01:
        return "under 0.01"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def makespan(jobs: Sequence[float], places: int) -> float:
    """The time after which the last job ends, if each goes, longest first, to the freest place.

    Jobs are not divided: nine equal ones on four places take as long as three in a row.
    """
    ends = [0.0] * places
    heapify(ends)
    for job in sorted(jobs, reverse=True):
        heapreplace(ends, ends[0] + job)
    return max(ends)
