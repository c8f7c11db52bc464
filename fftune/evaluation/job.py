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
from fftune.evaluation.adaptive import aware_probes
from fftune.evaluation.batteries import Probe, probes
from fftune.evaluation.block import Subject, attack_block
from fftune.evaluation.defended import Guard
from fftune.keyed_noise import Noise
from fftune.models import (
    adapted,
    device_of,
    eval_mode,
    frozen,
    placed,
    search_copy,
    takes_bf16,
    torch_threads,
)
from fftune.user_code import answering

log = logging.getLogger(__name__)

COMPARED = 4
"""Examples on which a net's copies must answer as it does."""


@dataclass(frozen=True, slots=True)
class Task:
    """One probe on one block: the unit of work."""

    probe: Probe
    rows: tuple[int, ...]
    """Positions in the case's data set."""

    def __str__(self) -> str:
        probe = self.probe
        goal = probe.goal if probe.target is None else f"{probe.goal} at class {probe.target}"
        return f"{probe.attack}, goal {goal}, tier {probe.tier}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """All that rows depend on, but the net itself. It travels to any worker."""

    dataset: Dataset
    dataset_hash: str
    model_hash: str
    battery: BatteryConfig
    probes: tuple[Probe, ...]
    guard: Guard | None = None
    """The defences under which everything is scored too."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        battery: BatteryConfig,
        *,
        model_hash: str,
        threat: ThreatModel,
        chosen: Sequence[Probe] | None = None,
        defense: DefenseConfig | None = None,
    ) -> "Case":
        """A battery's probes, or those `chosen`; with a defence, who knows it joins them."""
        classes = len(dataset.source.classes)
        chosen = tuple(chosen or probes(battery, threat, classes=classes))
        guard = Guard.of(
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
            probes=chosen if guard is None else (*chosen, *aware_probes(chosen, guard, threat)),
            guard=guard,
        )

    @property
    def classes(self) -> int:
        """How many the data set has."""
        return len(self.dataset.source.classes)

    @property
    def noise(self) -> Noise:
        """The branch for (data set, split)."""
        return Noise(self.battery.seed).fold(self.dataset.source.name, self.dataset.split)

    def tasks(self, probe: Probe, rows: Tensor | None = None) -> list[Task]:
        """A probe on every block of the data set, or of the examples at these positions."""
        rows = torch.arange(len(self.dataset)) if rows is None else rows
        size = self.battery.block_size
        return [Task(probe, tuple(block.tolist())) for block in rows.split(size)]

    def on(self, device: Device) -> "Case":
        """The case with its device settled: what `auto` stands for may differ elsewhere."""
        return replace(self, battery=replace(self.battery, device=device))

    def block(self, task: Task) -> Batch:
        """The examples of a task."""
        rows = torch.tensor(task.rows, dtype=torch.int64)
        return next(self.dataset.batches(max(len(rows), 1), order=rows))


@contextmanager
def examined(net: nn.Module, case: Case) -> Iterator[Subject]:
    """The net, ready to be attacked while the block of code runs; then it is as it was.

    Raises:
        ModelError: see `subject_of`; or the net ends the program while the block runs.
    """
    device, threads = device_of(case.battery.device), case.battery.threads
    with answering(), eval_mode(net), frozen(net), placed(net, device), torch_threads(threads):
        yield subject_of(net, case)


def subject_of(net: nn.Module, case: Case) -> Subject:
    """A net in eval mode as the subject of a case, on the device that its battery names.

    Raises:
        ModelError: the net does not take the images, or cannot be asked for logits of them.
    """
    device, precision = device_of(case.battery.device), case.battery.precision
    few = next(case.dataset.batches(COMPARED))[1].to(device)
    net = adapted(net.to(device), few)
    twin = search_copy(net, "fp32", few)
    return Subject(
        net=net,
        twin=twin,
        search_net=search_copy(net, precision, few) if takes_bf16(net, precision) else twin,
        classes=case.classes,
        columns={
            "dataset_hash": case.dataset_hash,
            "split": case.dataset.split,
            "model_hash": case.model_hash,
        },
        source=case.dataset.source.name,
        device=device,
        guard=case.guard,
    )


def perform(subject: Subject, case: Case, task: Task) -> pa.Table:
    """The rows of a task. They depend on nothing but the arguments.

    Raises:
        ModelError: the net does not return finite logits of its classes, a row an example.
        DataError: a label is not one of the classes.
    """
    return pa.concat_tables(_within_memory(subject, case.block(task), task.probe, case.noise))


def _within_memory(
    subject: Subject, block: Batch, probe: Probe, noise: Noise
) -> Iterator[pa.Table]:
    """The block's rows; where memory does not suffice, in two halves, which is said and kept."""
    try:
        yield attack_block(subject, block, probe, noise=noise)
        return
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        half = (len(block[0]) + 1) // 2
        if half == len(block[0]) or not _is_out_of_memory(error):
            raise
    log.warning("out of memory with %d examples a block; going on with %d", len(block[0]), half)
    ids, x, y = block
    for part in zip(ids.split(half), x.split(half), y.split(half), strict=True):
        for table in _within_memory(subject, part, probe, noise):
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
