"""Cache of finished blocks of rows, keyed by a hash of everything that the rows depend on.

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
from fftune.config.model import Origin
from fftune.data import Dataset
from fftune.errors import DataError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.defended import CLEAN, Effort
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.evaluation.model_under_test import ModelUnderTest, logits_of
from fftune.evaluation.stored_forms import is_stored
from fftune.models.loading import source_of
from fftune.outcomes import SCHEMA, SCHEMA_VERSION, content_of
from fftune.registry import code_of
from fftune.storage import sha256, write_whole
from fftune.stored_file import reading
from fftune.user_code import local_code

log = logging.getLogger(__name__)

ENGINE = 3
"""Version of the scoring and of what all attacks share; raised by every change that moves a row."""
JUDGING = 2
"""Version of what a GPU's verdicts and a defense's own steps are asked of, in which ENGINE has no
part: raised by a change that moves those rows alone."""
ASKED = 16
"""Images on which a net's logits are part of its identity."""
PLAIN = pa.schema(
    [(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in SCHEMA]
)
"""Columns of a single block, with plain strings."""
ANSWERS = ("pred_clean", "pred_clean_defended", "pred_pert")
"""Columns of predicted classes."""
COUNT = b"fftune.rows"
"""Key of the number of rows in a file's metadata."""
CONTENT = b"fftune.content"
"""Key of the digest of the rows."""


class BlockCache:
    """Blocks of one job; the key is a hash of weights, code, data, attack, seed and engine."""

    def __init__(self, root: Path, job: EvalJob, net: str, device: str) -> None:
        """
        Args:
            root: folder of results.
            net: `identity` of the net; its weights are named by the job's `model_hash`.
            device: "cpu" or "cuda", on which blocks are computed.
        """
        battery = job.battery
        self._folder = root / "blocks"
        self._job = job
        revision = judging(device, defended=job.defense_set is not None)
        self._common: tuple[object, ...] = (
            *(ENGINE, SCHEMA_VERSION, torch.__version__, device),
            *(net, job.model_hash, job.dataset_hash, job.dataset.source.name),
            *(job.dataset.split, battery.seed, battery.threads, battery.precision),
            *filter(None, [revision, *battery.stored]),
        )

    def known(self, tasks: Iterable[BlockTask]) -> dict[BlockTask, pa.Table]:
        """Rows of those tasks that are in the cache."""
        found = ((task, self.get(task)) for task in tasks)
        return {task: table for task, table in found if table is not None}

    def get(self, task: BlockTask) -> pa.Table | None:
        """Rows of a task; None where they are missing or damaged."""
        path = self._path(task)
        if not path.exists():
            return None
        try:
            with reading(path, "block", DataError):
                table = pq.read_table(path, page_checksum_verification=True, memory_map=False)
                wrong = self._misfit(task, table)
        except DataError as error:
            wrong = str(error)
        if wrong:
            log.warning("block %s is damaged and computed again: %s", path.name, wrong)
            return None
        return table.replace_schema_metadata(None)

    def put(self, task: BlockTask, table: pa.Table) -> None:
        """Store the rows of a task, whole or not at all."""
        said = {COUNT: str(len(table)), CONTENT: content_of(table)}
        kept = table.replace_schema_metadata(said)
        write_whole(
            self._path(task),
            lambda part: pq.write_table(kept, part, compression="zstd", write_page_checksum=True),
        )

    def _misfit(self, task: BlockTask, table: pa.Table) -> str:
        """Reason why rows cannot be those of a task; empty where they can.

        An attack on mistakes alone has rows of examples that depend on the net: there the count
        that was stored must suffice.
        """
        if not table.schema.remove_metadata().equals(PLAIN):
            return "it is of another schema"
        said = table.schema.metadata or {}
        if said.get(COUNT) != str(len(table)).encode():
            return f"it has {len(table)} rows, not as many as were kept"
        if said.get(CONTENT) != content_of(table).encode():
            return "its rows are not those that were kept"
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
            return f"it has {len(shares) - 1} draws of defenses"
        if any(share != ids for share in shares.values()):
            return "it lacks examples"
        return self._edited(task, table)

    def _edited(self, task: BlockTask, table: pa.Table) -> str:
        """Reason why values can come from no net or data set; empty where there is none."""
        data, rows = self._job.dataset, list(task.rows)
        labels = dict(zip(data.ids[rows].tolist(), data.y[rows].tolist(), strict=True))
        if table["y"].to_pylist() != [labels[one] for one in table["id"].to_pylist()]:
            return "its y are not the data set's"
        for name in ANSWERS:
            if set(table[name].unique().to_pylist()) - set(range(self._job.classes)):
                return f"its {name} is no class"
        return ""

    def _expected(self, task: BlockTask) -> dict[str, object]:
        """Columns with one value in all rows of a task, and that value."""
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
        """Number of draws of defenses for a task, over all of them, and of stored forms."""
        defense_set = self._job.defense_set
        stored = len(self._job.battery.stored) if is_stored(task.attack) else 0
        if defense_set is None:
            return stored
        return stored + defense_set.scored(task.attack.name) * len(defense_set.defenses)

    def _path(self, task: BlockTask) -> Path:
        defense_set = self._job.defense_set
        if defense_set is not None and task.attack.name != CLEAN:
            # Rows of an attack do not depend on the number of attacks beside it.
            defense_set = replace(defense_set, control=0, draws=0, effort=Effort())
        ids = tuple(self._job.dataset.ids[list(task.rows)].tolist())
        defended = "" if defense_set is None else config_hash(defense_set)
        what = repr(
            (*self._common, *_revisions(task.attack), config_hash(task.attack), defended, ids)
        )
        key = hashlib.sha256(what.encode()).hexdigest()[:32]
        return self._folder / key[:2] / f"{key}.parquet"


def judging(device: str, *, defended: bool) -> int:
    """Version of how verdicts are taken; 0 for a bare net's on a CPU, which ENGINE covers."""
    return JUDGING if defended or device != "cpu" else 0


def _revisions(attack: Attack) -> list[tuple[str, int | str]]:
    """Versions of an attack's searches that moved rows, and of the user's files that hold some."""
    searches = sorted({stage.config.search for stage in attack.stages})
    versions = [(name, code_of(name) or attack_spec(name).revision) for name in searches]
    return [(name, version) for name, version in versions if version]


def _by_defense(table: pa.Table) -> dict[tuple[str, int], list[int]]:
    """Ids of rows, in order, by defense and draw."""
    shares: dict[tuple[str, int], list[int]] = {}
    columns = (table[name].to_pylist() for name in ("defense", "defense_repeat", "id"))
    for defense, repeat, one in zip(*columns, strict=True):
        shares.setdefault((defense, repeat), []).append(one)
    return shares


def identity(spec: ModelSpec, subject: ModelUnderTest, dataset: Dataset) -> str:
    """Hash, in 16 hex digits, of what a net computes apart from its weights.

    It covers the net's modules and factory; the libraries, or the file, that built it; for a
    user's own net the text of its file and all code imported from beside it; and the bits of its
    logits on a few images, spread over the data, which also depend on files that it reads.

    Raises:
        ModelError: the net does not return finite logits of the data's classes.
    """
    version = "" if spec.origin is None else spec.origin.version
    plain = config_hash(
        replace(
            spec,
            factory=spec.factory.rpartition("/")[2],
            weights="",
            weights_key="",
            hash="",
            origin=Origin(version=version, told=""),
        )
    )
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
