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

from fftune.attacks import attack_spec
from fftune.config import ModelSpec, config_hash
from fftune.data import Dataset
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block import ModelUnderTest, logits_of
from fftune.evaluation.defended import CLEAN
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.models.loading import source_of
from fftune.outcomes import SCHEMA, SCHEMA_VERSION
from fftune.registry import code_of
from fftune.storage import sha256, write_whole
from fftune.user_code import local_code

log = logging.getLogger(__name__)

ENGINE = 3
"""Raised by every change to scoring, or to all attacks, that moves a row."""
ASKED = 16
"""Images on which a net's answers are part of what it is."""
PLAIN = pa.schema(
    [(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in SCHEMA]
)
"""The columns of a block, before many are put together."""
ANSWERS = ("pred_clean", "pred_clean_defended", "pred_pert")
"""What nets say: classes."""
COUNT = b"fftune.rows"
"""What a block's file calls the count of its rows."""


class BlockCache:
    """The blocks of one case. A block's key is a hash of weights, data, attack, seed and engine."""

    def __init__(self, root: Path, job: EvalJob, net: str, device: str) -> None:
        """
        Args:
            root: where results land.
            net: `identity` of the net; its weights are the case's `model_hash`.
            device: "cpu" or "cuda", on which blocks are computed.
        """
        battery = job.battery
        self._folder = root / "blocks"
        self._job = job
        self._common = (
            *(ENGINE, SCHEMA_VERSION, torch.__version__, device),
            *(net, job.model_hash, job.dataset_hash, job.dataset.source.name),
            *(job.dataset.split, battery.seed, battery.threads, battery.precision),
        )

    def known(self, tasks: Iterable[BlockTask]) -> dict[BlockTask, pa.Table]:
        """The rows of those tasks that were done before."""
        found = ((task, self.get(task)) for task in tasks)
        return {task: table for task, table in found if table is not None}

    def get(self, task: BlockTask) -> pa.Table | None:
        """The rows of a task, or None where they are not known or were damaged."""
        path = self._path(task)
        if not path.exists():
            return None
        try:
            table = pq.read_table(path, page_checksum_verification=True, memory_map=False)
            wrong = self._misfit(task, table)
        except (OSError, pa.ArrowException) as error:
            wrong = str(error)
        if wrong:
            log.warning("block %s is damaged and computed again: %s", path.name, wrong)
            return None
        return table.replace_schema_metadata(None)

    def put(self, task: BlockTask, table: pa.Table) -> None:
        """Keep the rows of a task, whole or not at all."""
        kept = table.replace_schema_metadata({COUNT: str(len(table))})
        write_whole(
            self._path(task),
            lambda part: pq.write_table(kept, part, compression="zstd", write_page_checksum=True),
        )

    def _misfit(self, task: BlockTask, table: pa.Table) -> str:
        """Why rows cannot be those of a task; empty where they can.

        Which examples a probe of mistakes alone has rows of depends on the net: there the count
        that was written down must do.
        """
        if not table.schema.remove_metadata().equals(PLAIN):
            return "it is of another schema"
        if (table.schema.metadata or {}).get(COUNT) != str(len(table)).encode():
            return f"it has {len(table)} rows, not as many as were kept"
        for name, value in self._expected(task).items():
            if set(table[name].unique().to_pylist()) - {value}:
                return f"its {name} is not {value!r}"
        wanted = self._job.dataset.ids[list(task.rows)].tolist()
        shares = _by_defense(table)
        ids = shares.get(("none", 0), [])
        kept = set(ids)
        whole = task.attack.scope == "all"
        if ids != (wanted if whole else [one for one in wanted if one in kept]):
            return "it is of other examples"
        if ids and self._draws(task) != len(shares) - 1:
            return f"it has {len(shares) - 1} draws of defences"
        if any(share != ids for share in shares.values()):
            return "it lacks examples"
        return self._edited(task, table)

    def _edited(self, task: BlockTask, table: pa.Table) -> str:
        """Which values no net and no data set could have given; empty where there are none."""
        data, rows = self._job.dataset, list(task.rows)
        labels = dict(zip(data.ids[rows].tolist(), data.y[rows].tolist(), strict=True))
        if table["y"].to_pylist() != [labels[one] for one in table["id"].to_pylist()]:
            return "its y are not the data set's"
        for name in ANSWERS:
            if set(table[name].unique().to_pylist()) - set(range(self._job.classes)):
                return f"its {name} is no class"
        return ""

    def _expected(self, task: BlockTask) -> dict[str, object]:
        """Columns that say the same in every row of a task."""
        job, attack = self._job, task.attack
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset_hash": job.dataset_hash,
            "split": job.dataset.split,
            "model_hash": job.model_hash,
            "attack": attack.name,
            "norm": attack.config.threat.norm,
            "eps": attack.config.threat.eps,
            "goal": attack.goal,
            "seed": job.battery.seed,
            "protocol": attack.protocol,
            "tier": attack.tier,
        }

    def _draws(self, task: BlockTask) -> int:
        """How often defences are drawn for a task, all of them together."""
        defense_set = self._job.defense_set
        if defense_set is None:
            return 0
        repeats = defense_set.control if task.attack.name == CLEAN else defense_set.repeats
        return repeats * len(defense_set.defenses)

    def _path(self, task: BlockTask) -> Path:
        defense_set = self._job.defense_set
        if defense_set is not None and task.attack.name != CLEAN:
            # How many attacks stand beside this one is no matter to it.
            defense_set = replace(defense_set, control=0, draws=0)
        ids = tuple(self._job.dataset.ids[list(task.rows)].tolist())
        defended = "" if defense_set is None else config_hash(defense_set)
        what = repr(
            (*self._common, *_revisions(task.attack), config_hash(task.attack), defended, ids)
        )
        key = hashlib.sha256(what.encode()).hexdigest()[:32]
        return self._folder / key[:2] / f"{key}.parquet"


def _revisions(attack: Attack) -> list[tuple[str, int | str]]:
    """Versions of an attack's searches that moved rows, and of the user's files that hold some."""
    searches = sorted({stage.config.search for stage in attack.stages})
    versions = [(name, code_of(name) or attack_spec(name).revision) for name in searches]
    return [(name, version) for name, version in versions if version]


def _by_defense(table: pa.Table) -> dict[tuple[str, int], list[int]]:
    """The ids of rows, in order, under each draw of each defence."""
    shares: dict[tuple[str, int], list[int]] = {}
    columns = (table[name].to_pylist() for name in ("defense", "defense_repeat", "id"))
    for defense, repeat, one in zip(*columns, strict=True):
        shares.setdefault((defense, repeat), []).append(one)
    return shares


def identity(spec: ModelSpec, subject: ModelUnderTest, dataset: Dataset) -> str:
    """16 hex digits of what a net computes, beside its weights.

    Its modules, and whose they are; for a user's own net the text of the file that its function
    lies in, and all code that was imported from beside it; the bits of its logits of a few
    images, spread over the data, which also hold what it reads from files of its own.

    Raises:
        ModelError: the net does not return finite logits of the data's classes.
    """
    plain = config_hash(replace(spec, factory=spec.factory.rpartition("/")[2], weights="", hash=""))
    digest = hashlib.sha256(f"{plain} {subject.net}".encode())
    count = min(ASKED, len(dataset))
    rows = torch.arange(count) * len(dataset) // max(count, 1)
    for _, x, _ in dataset.batches(ASKED, order=rows):
        logits = logits_of(subject, x.to(subject.device))
        digest.update(logits.cpu().numpy().tobytes())
    file = source_of(spec.factory)
    if file is not None:  # last: a net may import what it needs when it is asked
        digest.update(f"{sha256(file)} {local_code(file)}".encode())
    return digest.hexdigest()[:16]
