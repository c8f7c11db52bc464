"""From a net and a split to rows, in this process."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    ModelSpec,
    Precision,
    Split,
    ThreatModel,
)
from fftune.data import Dataset
from fftune.data.catalog import place_framed
from fftune.defenses import refuse_without_gradients
from fftune.errors import DataError, ModelError
from fftune.evaluation.afterwards import Before, remarked
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block import ModelUnderTest, logits_of
from fftune.evaluation.block_cache import Cache, identity
from fftune.evaluation.cost_model import CostModel
from fftune.evaluation.defended import DefenseSet
from fftune.evaluation.escalation import Tables, plan, run_plan, single_pass
from fftune.evaluation.job import BlockTask, EvalJob, perform, under_test
from fftune.evaluation.progress import Progress
from fftune.evaluation.question import question_of
from fftune.lint.questions import FEW, lint
from fftune.models import load_model, weights_hash
from fftune.outcomes import Outcomes

log = logging.getLogger(__name__)

HEDGED_ON = 32
"""Examples whose gradients are looked at before a hedge is believed in."""


def evaluate(
    model: ModelSpec,
    data: DataSpec,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    split: Split,
    defense: DefenseConfig | None = None,
    root: Path | None = None,
    name: str | None = None,
) -> Outcomes:
    """Attack every example of a split with every probe of a battery.

    Args:
        name: what the net is called; default its label.
        root: keep every block there as it is done, and take from there what was done before.

    Raises:
        ModelError: the net cannot be built, does not take the data's images, does not return
            finite logits of its classes, a row an example, or has no gradients.
        ConfigError: the device does not exist.
    """
    net = load_model(model)  # first: it fails at once, where images take their time
    dataset, available = sampled(data, split, battery.examples)
    job = job_of(net, dataset, battery, threat=threat, defense=defense)
    with under_test(net, job) as subject:
        _try_images(subject, dataset)
        before = Before.of(subject, dataset)
        remarks, code = try_out(subject, job), identity(model, subject, dataset)
        cache = Cache(root, job, code, subject.device) if root else None
        outcomes = run_plan(plan(job, remarks), by_this_process(subject, job, cache))
        remarks = before.again(subject, remarks)
    question = question_of(
        job,
        net=model.label if name is None else name,
        code=code,
        threat=threat,
        available=available,
        device=subject.device,
        precision=precision_of(subject),
        remarks=remarked(outcomes, remarks),
    )
    return outcomes.answering(question.plain)


def sample(data: DataSpec, split: Split, examples: int | None) -> Dataset:
    """So many examples of a split, evenly spread over its ids, as many sets are sorted by class.

    Only they are decoded. None is all.
    """
    return sampled(data, split, examples)[0]


def sampled(data: DataSpec, split: Split, examples: int | None) -> tuple[Dataset, int]:
    """As `sample`, and how many the split has."""
    part, rows = place_framed(data, split)
    available = len(rows)
    if examples is not None and examples < available:
        rows = rows[torch.arange(examples) * available // examples]
    return part.read(rows, split), available


def job_of(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    chosen: Sequence[Attack] | None = None,
    defense: DefenseConfig | None = None,
) -> EvalJob:
    """The case of a net in memory; see `EvalJob.of`."""
    return EvalJob.of(
        dataset,
        battery,
        model_hash=weights_hash(net),
        threat=threat,
        chosen=chosen,
        defense=defense,
    )


def evaluate_model(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    chosen: Sequence[Attack] | None = None,
    defense: DefenseConfig | None = None,
) -> Outcomes:
    """`evaluate` for a net and a data set in memory. The net is given back as it was.

    Args:
        chosen: some of the battery's probes; default all of them.
        defense: defences under which all is scored too; attackers who know them then join the
            battery.

    Raises:
        ModelError: a defence is to follow the gradients of a net that has none.
    """
    job = job_of(net, dataset, battery, threat=threat, chosen=chosen, defense=defense)
    with under_test(net, job) as subject:
        _try_images(subject, dataset)
        before = Before.of(subject, dataset)
        remarks = try_out(subject, job)
        outcomes = run_plan(plan(job, remarks), by_this_process(subject, job))
        remarks = before.again(subject, remarks)
    question = question_of(
        job,
        net=type(net).__name__,
        code="",
        threat=threat,
        available=None,
        device=subject.device,
        precision=precision_of(subject),
        remarks=remarked(outcomes, remarks),
    )
    return outcomes.answering(question.plain)


def attack_model(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    chosen: Sequence[Attack],
    *,
    defense_set: DefenseSet | None = None,
) -> Outcomes:
    """The rows of some probes, whatever they are like: no result is refused or searched again.

    Raises:
        ModelError: the net does not take the images, or does not return logits of their classes.
    """
    job = _bare_job(net, dataset, battery, chosen, defense_set)
    with under_test(net, job) as subject:
        _try_images(subject, dataset)
        return run_plan(single_pass(job), by_this_process(subject, job))


def remarks_on(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, chosen: Sequence[Attack]
) -> tuple[str, ...]:
    """What `try_out` says of a net before these probes, where others make the rows.

    Raises:
        ModelError: see `try_out`.
    """
    job = _bare_job(net, dataset, battery, chosen)
    with under_test(net, job) as subject:
        return try_out(subject, job)


def has_gradients(net: nn.Module, dataset: Dataset, battery: BatteryConfig) -> bool:
    """Whether autograd knows of a way from a net's logits to its images; a flat one is one, too.

    Raises:
        ModelError: the net does not take the images, or does not return logits of their classes.
    """
    with under_test(net, _bare_job(net, dataset, battery)) as subject:
        _try_images(subject, dataset)
        return _has_gradients(subject, dataset)


def _bare_job(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    chosen: Sequence[Attack] = (),
    defense_set: DefenseSet | None = None,
) -> EvalJob:
    """The case of some probes, or of none, which nobody who knows a defence joins."""
    return EvalJob(
        dataset=dataset,
        dataset_hash=dataset.hash(),
        model_hash=weights_hash(net),
        battery=battery,
        attacks=tuple(chosen),
        defense_set=defense_set,
    )


def precision_of(subject: ModelUnderTest) -> Precision:
    """What strong searches compute in."""
    return "fp32" if subject.surrogate_lowp is subject.surrogate else "bf16"


def try_out(subject: ModelUnderTest, job: EvalJob) -> tuple[str, ...]:
    """Ask the net for little before it is asked for much.

    Returns:
        What is to be remarked on it, a line each, which is also logged.

    Raises:
        ModelError: its `forward` fails, does not return finite logits of the data's classes, or
            an attack or a defence is to follow gradients that it does not have.
        DataError: a label is not one of the classes.
    """
    _try_images(subject, job.dataset)
    _try_labels(job)
    blind = [attack.name for attack in job.attacks if attack.needs_gradients]
    if blind and not _has_gradients(subject, job.dataset):
        raise ModelError(f"net has no input gradients: {blind[0]} cannot be scored")
    if job.defense_set is not None and any(
        defense.needs_gradients for defense in job.defense_set.defenses.values()
    ):
        _, x, _ = next(job.dataset.batches(HEDGED_ON))
        refuse_without_gradients(subject.net, x.to(subject.device))
    remarks = lint(
        subject.net,
        job.dataset,
        threat=job.attacks[0].config.threat if job.attacks else ThreatModel(),
        noise=job.noise,
        device=subject.device,
        follows=any(stage.follows for attack in job.attacks for stage in attack.stages),
        blind=blind[0] if blind else "",
    )
    for remark in remarks:
        log.warning("%s", remark)
    return tuple(map(str, remarks))


def _has_gradients(subject: ModelUnderTest, dataset: Dataset) -> bool:
    _, x, _ = next(dataset.batches(1))
    with torch.enable_grad():  # the net is frozen: what is left to learn is the input's part
        # A clone, as some nets change what they are given.
        logits: Tensor = subject.net(x.to(subject.device).requires_grad_(True).clone())
    return logits.requires_grad


def _try_images(subject: ModelUnderTest, dataset: Dataset) -> None:
    """Ask the net about one image and about few, so that others are refused in one line.

    Raises:
        ModelError: the net does not take the images, or not in batches of any size, or does not
            return finite logits of their classes.
    """
    few, fails = min(FEW, len(dataset)), partial(_failure, subject, dataset)
    failed = {size: reason for size in (1, few) if (reason := fails(size))}
    if not failed:
        return
    others = {1, few, *(size for size in (32, 64, 128, 256) if size <= len(dataset))}
    taken = [size for size in sorted(others - failed.keys()) if not fails(size)]
    size, reason = next(iter(failed.items()))
    if taken:
        raise ModelError(f"net takes batches of {taken[0]} but not of {size}: {reason}")
    shape = " x ".join(map(str, dataset.shape))
    raise ModelError(f"net does not take images of {shape}: {reason}")


def _failure(subject: ModelUnderTest, dataset: Dataset, size: int) -> str:
    """The first line of what the net says to a batch of so many images; nothing is none."""
    _, x, _ = next(dataset.batches(size))
    try:
        logits_of(subject, x.to(subject.device))
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        return (str(error) or type(error).__name__).splitlines()[0]
    return ""


def _try_labels(job: EvalJob) -> None:
    y = job.dataset.y
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < job.classes:
        found = f"{int(y.min())} to {int(y.max())}"
        raise DataError(f"labels must be from 0 to {job.classes - 1}, got {found}")


def by_this_process(
    subject: ModelUnderTest, job: EvalJob, cache: Cache | None = None
) -> Callable[[Sequence[BlockTask]], Tables]:
    """Does tasks one after the other; those that are known already it looks up."""
    expense = CostModel()
    progress = Progress(expense)

    def work(tasks: Sequence[BlockTask]) -> Tables:
        tables = {} if cache is None else cache.known(tasks)
        left = [task for task in tasks if task not in tables]
        progress.planned(len(tasks))
        progress.known(len(tables))
        for at, task in enumerate(left):
            began = time.perf_counter()
            tables[task] = perform(subject, job, task)
            if cache is not None:
                cache.put(task, tables[task])
            progress.done(task, time.perf_counter() - began)
            if progress.due:
                progress.beat(left[at + 1 :], 1, str(task))
        return tables

    return work
