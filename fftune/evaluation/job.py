"""What is examined: a net, a split and the probes; cut into tasks that any process can do."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa
import torch
from torch import Tensor, nn

from fftune.config import BatteryConfig, DefenseConfig, Device, ThreatModel
from fftune.data import Dataset
from fftune.data.dataset import Batch
from fftune.evaluation.adaptive import adaptive_attacks
from fftune.evaluation.batteries import Attack, attacks_of
from fftune.evaluation.block import ModelUnderTest, attack_block
from fftune.evaluation.defended import DefenseSet
from fftune.keyed_noise import Noise
from fftune.models import (
    adapted,
    device_of,
    eval_mode,
    frozen,
    inference_copy,
    placed,
    takes_bf16,
    torch_threads,
)
from fftune.user_code import answering

log = logging.getLogger(__name__)

COMPARED = 4
"""Examples on which a net's copies must answer as it does."""


@dataclass(frozen=True, slots=True)
class BlockTask:
    """One probe on one block: the unit of work."""

    attack: Attack
    rows: tuple[int, ...]
    """Positions in the case's data set."""

    def __str__(self) -> str:
        attack = self.attack
        goal = attack.goal if attack.target is None else f"{attack.goal} at class {attack.target}"
        return f"{attack.name}, goal {goal}, tier {attack.tier}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvalJob:
    """All that rows depend on, but the net itself. It travels to any worker."""

    dataset: Dataset
    dataset_hash: str
    model_hash: str
    battery: BatteryConfig
    attacks: tuple[Attack, ...]
    defense_set: DefenseSet | None = None
    """The defences under which everything is scored too."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        battery: BatteryConfig,
        *,
        model_hash: str,
        threat: ThreatModel,
        chosen: Sequence[Attack] | None = None,
        defense: DefenseConfig | None = None,
    ) -> "EvalJob":
        """A battery's probes, or those `chosen`; with a defence, who knows it joins them."""
        classes = len(dataset.source.classes)
        chosen = tuple(chosen or attacks_of(battery, threat, classes=classes))
        defense_set = DefenseSet.of(
            defense or DefenseConfig(),
            threat,
            source=dataset.source.name,
            split=dataset.split,
            attacks=len(chosen),
        )
        return cls(
            dataset=dataset,
            dataset_hash=dataset.hash(),
            model_hash=model_hash,
            battery=battery,
            attacks=chosen
            if defense_set is None
            else (*chosen, *adaptive_attacks(chosen, defense_set, threat)),
            defense_set=defense_set,
        )

    @property
    def classes(self) -> int:
        """How many the data set has."""
        return len(self.dataset.source.classes)

    @property
    def noise(self) -> Noise:
        """The branch for (data set, split)."""
        return Noise(self.battery.seed).fold(self.dataset.source.name, self.dataset.split)

    def tasks(self, attack: Attack, rows: Tensor | None = None) -> list[BlockTask]:
        """A probe on every block of the data set, or of the examples at these positions."""
        rows = torch.arange(len(self.dataset)) if rows is None else rows
        size = self.battery.block_size
        return [BlockTask(attack, tuple(block.tolist())) for block in rows.split(size)]

    def on(self, device: Device) -> "EvalJob":
        """The case with its device settled: what `auto` stands for may differ elsewhere."""
        return replace(self, battery=replace(self.battery, device=device))

    def block(self, task: BlockTask) -> Batch:
        """The examples of a task."""
        rows = torch.tensor(task.rows, dtype=torch.int64)
        return next(self.dataset.batches(max(len(rows), 1), order=rows))


@contextmanager
def under_test(net: nn.Module, job: EvalJob) -> Iterator[ModelUnderTest]:
    """The net, ready to be attacked while the block of code runs; then it is as it was.

    Raises:
        ModelError: see `model_under_test`; or the net ends the program while the block runs.
    """
    device, threads = device_of(job.battery.device), job.battery.threads
    with answering(), eval_mode(net), frozen(net), placed(net, device), torch_threads(threads):
        yield model_under_test(net, job)


def model_under_test(net: nn.Module, job: EvalJob) -> ModelUnderTest:
    """A net in eval mode as the subject of a case, on the device that its battery names.

    Raises:
        ModelError: the net does not take the images, or cannot be asked for logits of them.
    """
    device, precision = device_of(job.battery.device), job.battery.precision
    few = next(job.dataset.batches(COMPARED))[1].to(device)
    net = adapted(net.to(device), few)
    surrogate = inference_copy(net, "fp32", few)
    return ModelUnderTest(
        net=net,
        surrogate=surrogate,
        surrogate_lowp=inference_copy(net, precision, few)
        if takes_bf16(net, precision)
        else surrogate,
        classes=job.classes,
        columns={
            "dataset_hash": job.dataset_hash,
            "split": job.dataset.split,
            "model_hash": job.model_hash,
        },
        source=job.dataset.source.name,
        device=device,
        defense_set=job.defense_set,
    )


def perform(subject: ModelUnderTest, job: EvalJob, task: BlockTask) -> pa.Table:
    """The rows of a task. They depend on nothing but the arguments.

    Raises:
        ModelError: the net does not return finite logits of its classes, a row an example.
        DataError: a label is not one of the classes.
    """
    return pa.concat_tables(_within_memory(subject, job.block(task), task.attack, job.noise))


def _within_memory(
    subject: ModelUnderTest, block: Batch, attack: Attack, noise: Noise
) -> Iterator[pa.Table]:
    """The block's rows; where memory does not suffice, in two halves, which is said and kept."""
    try:
        yield attack_block(subject, block, attack, noise=noise)
        return
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        half = (len(block[0]) + 1) // 2
        if half == len(block[0]) or not _is_out_of_memory(error):
            raise
    log.warning("out of memory with %d examples a block; going on with %d", len(block[0]), half)
    ids, x, y = block
    for part in zip(ids.split(half), x.split(half), y.split(half), strict=True):
        for table in _within_memory(subject, part, attack, noise):
            yield _remarked(table, f"block of {half}")


def _remarked(table: pa.Table, remark: str) -> pa.Table:
    """The rows with a remark added to their status."""
    status = [f"{s}, {remark}" for s in table["status"].to_pylist()]
    at = table.schema.get_field_index("status")
    column = pa.array(status).cast(table.schema.field(at).type)
    return table.set_column(at, table.schema.field(at), column)


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch's CPU allocator raises a plain RuntimeError."""
    named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return named or "allocate memory" in str(error) or "not enough memory" in str(error)
