"""Blocks of rows by what they depend on: what was computed once is never computed again.

<root>/blocks/<2 digits>/<32 digits>.parquet; the folder may be deleted at any time.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from fftune.config import ModelSpec, Search, config_hash
from fftune.evaluate.case import Case, Task
from fftune.evaluate.defended import CLEAN
from fftune.models.user import source_of
from fftune.outcomes import SCHEMA_VERSION
from fftune.storage import sha256, write_whole

log = logging.getLogger(__name__)

ENGINE = 3
"""Raised by every change to scoring, or to all attacks, that moves a row."""
REVISIONS: dict[Search, int] = {"fab": 1}
"""Likewise by changes to one search, which leave the blocks of all others as they are."""


class Cache:
    """The blocks of one case. A block's key is a hash of weights, data, attack, seed and engine."""

    def __init__(self, root: Path, case: Case, net: str, device: str) -> None:
        """
        Args:
            root: where results land.
            net: `identity` of the net; its weights are the case's `model_hash`.
            device: "cpu" or "cuda", on which blocks are computed.
        """
        battery = case.battery
        self._folder = root / "blocks"
        self._case = case
        self._common = (
            *(ENGINE, SCHEMA_VERSION, torch.__version__, device),
            *(net, case.model_hash, case.dataset_hash, case.dataset.source.name),
            *(case.dataset.split, battery.seed, battery.threads, battery.precision),
        )

    def known(self, tasks: Iterable[Task]) -> dict[Task, pa.Table]:
        """The rows of those tasks that were done before."""
        found = ((task, self.get(task)) for task in tasks)
        return {task: table for task, table in found if table is not None}

    def get(self, task: Task) -> pa.Table | None:
        """The rows of a task, or None where they are not known or were damaged."""
        path = self._path(task)
        if not path.exists():
            return None
        try:
            return pq.read_table(path, page_checksum_verification=True, memory_map=False)
        except (OSError, pa.ArrowException) as error:
            log.warning("block %s is damaged and computed again: %s", path.name, error)
            return None

    def put(self, task: Task, table: pa.Table) -> None:
        """Keep the rows of a task, whole or not at all."""
        write_whole(
            self._path(task),
            lambda part: pq.write_table(table, part, compression="zstd", write_page_checksum=True),
        )

    def _path(self, task: Task) -> Path:
        guard = self._case.guard
        if guard is not None and task.probe.attack != CLEAN:
            # How many attacks stand beside this one is no matter to it.
            guard = replace(guard, control=0, draws=0)
        ids = tuple(self._case.dataset.ids[list(task.rows)].tolist())
        defended = "" if guard is None else config_hash(guard)
        searches = {part.config.search for part in task.probe.parts}
        revised = sorted((name, REVISIONS[name]) for name in searches & REVISIONS.keys())
        what = repr((*self._common, *revised, config_hash(task.probe), defended, ids))
        key = hashlib.sha256(what.encode()).hexdigest()[:32]
        return self._folder / key[:2] / f"{key}.parquet"


def identity(spec: ModelSpec, net: nn.Module) -> str:
    """16 hex digits of what a net is beside its weights: its modules, and whose they are.

    For a user's own net that is the text of the file that its function lies in.
    """
    file = source_of(spec.factory)
    text = "" if file is None else sha256(file)
    plain = config_hash(replace(spec, factory=spec.factory.rpartition("/")[2], weights="", hash=""))
    return hashlib.sha256(f"{plain} {text} {net}".encode()).hexdigest()[:16]
