"""Block tasks performed within the memory that there is."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import torch

from fftune.data.dataset import Batch
from fftune.devices import narrow, policy
from fftune.errors import OutOfMemoryError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block import attack_block
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.keyed_noise import Noise
from fftune.training.out_of_memory import free_memory, ran_out

log = logging.getLogger(__name__)


def perform(subject: ModelUnderTest, job: EvalJob, task: BlockTask) -> pa.Table:
    """Attack one block: the rows of a task, which depend on nothing but the arguments.

    Raises:
        ModelError: the net does not return finite logits of its classes, a row an example.
        DataError: a label is not one of the classes.
        OutOfMemoryError: there is no memory for a single example.
    """
    return pa.concat_tables(_within_memory(subject, job.block(task), task.attack, job.noise))


def _within_memory(
    subject: ModelUnderTest, block: Batch, attack: Attack, noise: Noise
) -> Iterator[pa.Table]:
    """Rows of a block; out of memory, once more without what the device has recorded, then by
    smaller batches of its searches, where the device has large ones, and then of its halves, with
    a remark in their status.

    Raises:
        OutOfMemoryError: there is no memory for a single example.
    """
    if (table := _attacked(subject, block, attack, noise)) is not None:
        yield table
        return
    again = True
    while again:
        free_memory(None)  # the error is gone, and its frames with it
        if (table := _attacked(subject, block, attack, noise)) is not None:
            yield table
            return
        again = narrow(subject.device)
        if again:
            log.warning("out of memory: searches go on with half as many rows in a batch")
    count, half = len(block[0]), (len(block[0]) + 1) // 2
    if half == count:
        raise OutOfMemoryError(
            f"out of memory on {subject.device} with one example: no block is small enough"
        )
    log.warning("out of memory with %d examples a block; going on with %d", count, half)
    part_of = replace(subject, piece=_no_more(subject, half))
    ids, x, y = block
    for part in zip(ids.split(half), x.split(half), y.split(half), strict=True):
        for table in _within_memory(part_of, part, attack, noise):
            yield _remarked(table, f"block of {half}")


def _attacked(
    subject: ModelUnderTest, block: Batch, attack: Attack, noise: Noise
) -> pa.Table | None:
    """Rows of a block; None where memory does not suffice.

    It returns first, as an error that is handled still holds all tensors of its frames.
    """
    try:
        return attack_block(subject, block, attack, noise=noise)
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
    return None


def _no_more(subject: ModelUnderTest, rows: int) -> int:
    """The size of a verdict's pieces, at most so many rows."""
    size = policy(subject.device).piece if subject.piece is None else subject.piece
    return min(size, rows)


def _remarked(table: pa.Table, remark: str) -> pa.Table:
    """Rows with a remark added to their status."""
    status = [f"{s}, {remark}" for s in table["status"].to_pylist()]
    at = table.schema.get_field_index("status")
    column = pa.array(status).cast(table.schema.field(at).type)
    return table.set_column(at, table.schema.field(at), column)
