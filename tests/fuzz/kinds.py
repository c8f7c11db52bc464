"""Every kind of file that fftune reads, a whole one of each, and the functions that read it."""

import io
import json
import pickle
import shutil
import sqlite3
import struct
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from fftune.auditing.bars import read_bar_file
from fftune.auditing.record import AuditRecord
from fftune.config import AttackConfig, DataSpec, ModelSpec, ThreatModel, TrainConfig, read_settings
from fftune.data.beton.manifest import verified
from fftune.data.beton.reader import stored_part
from fftune.data.catalog import load
from fftune.data.conversion import check_beton
from fftune.data.signing import sign, signature_of
from fftune.errors import DivergedError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.question import questions_of
from fftune.evaluation.saved_images import ImageFolder, Perturbed, SavedImages
from fftune.evaluation.tiers import AttackStage
from fftune.hedge_study.precomputed import PerturbedSet
from fftune.hedge_study.showcase_schema import Showcase
from fftune.hedge_study.trial import SHOWCASE
from fftune.keyed_noise import GENERATOR
from fftune.models.loading import load_model
from fftune.models.named_net import read_net
from fftune.models.specs import read_spec
from fftune.outcomes import Outcomes, questions_in
from fftune.papers.pages.page import write_index
from fftune.papers.zoo import read_zoo
from fftune.sweeping.front import Front
from fftune.sweeping.optuna_storage import read_search
from fftune.sweeping.shared_training import shared_training
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_records import read_study
from fftune.tracking.store import open_tracking
from fftune.training.checkpoint import read_checkpoint
from fftune.training.history import read_history
from fftune.training.last_words import FAILED, leave, left
from fftune.training.run_dir import RunDir
from fftune.training.snapshots import Snapshots
from tests.auditing.records import audit_record
from tests.keys import key_pair

OLD = Path(__file__).parents[1] / "fixtures/v0_1_0"
NET = """from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
BARS = """data = "digits"
eps = "8/255"
[bars]
accuracy = 0.9
hypocritical_risk = "1/3"
"""
ZOO = """[[net]]
name = "mine"
factory = "net.py:net"
data = "digits"
eps = "8/255"
[net.published.worst]
"""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    file: str
    """Path of a whole one below the folder that `make` fills."""
    read: Callable[[Path], object]
    """Function of that folder, which reads the file."""
    goes_on: bool = False
    """A damaged one is said, and done without: nothing but time is lost."""
    mended: tuple[str, ...] = ()
    """Other files that reading may write."""


def make(root: Path) -> None:
    """Fill a folder with a whole file of each kind."""
    for name in ("store", "data"):
        with tarfile.open(OLD / f"{name}.tar.xz") as archive:
            archive.extractall(root, filter="data")
    ended = {"trial": 2, "lam": 7.0, "settings": {"lam": 7.0}}
    _write(root / f"{TRIALS}/2/failure.json", ended | {"reason": "diverged"})
    _write(root / f"{TRIALS}/3/stopped.json", ended | {"trial": 3, "epoch": 1, "epochs_saved": 2})
    text = (root / "store/mlflow.sql").read_text(encoding="utf-8")
    database = sqlite3.connect(root / "store/mlflow.db")
    database.executescript(text.replace("@FOLDER@", str(root)))
    database.close()
    _write(root / f"{SHARED}/a/ended.json", {"diverged": ""})
    states = root / "store/runs/cut/states/states.json"
    _write(states, [one | {"generator": GENERATOR} for one in json.loads(states.read_text())])
    (root / "store/storage-id").write_text("0123456789abcdef\n")
    leave(DivergedError("loss is nan"), root / "store/runs/done")
    shutil.copytree(root / CHECKPOINT, root / "store/runs/done/average")
    (root / "net.py").write_text(NET)
    (root / "zoo.toml").write_text(ZOO)
    _make_images(root)
    (root / "audit.toml").write_text(BARS)
    audit_record().write(root / "audits/a/audit.json")
    summary = {"schema_version": 1, "key": "P1.T4", "name": "P1.T4", "title": "T", "cells": 1}
    summary |= {"scale": "tiny", "error": "", "missing": 0, "verdicts": {}, "directions": {}}
    _save_images(root / "images")
    key_pair(root)
    _sign(root)
    _write(root / "pages/P1.T4.json", summary | {"files": []})
    (root / "pages/P1.T4.html").write_text("<nav></nav>")


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def _make_images(root: Path) -> None:
    """A folder of classes, Tiny-ImageNet's validation part, files of many, MNIST's archive."""
    encoded = io.BytesIO()
    for place in ("folder/a", "folder/b", "annotated/train/a", "annotated/val/images", "listed"):
        (root / place).mkdir(parents=True)
        for i in range(3):
            image = Image.new("RGB", (4, 4), (i * 40, 80, 120))
            image.save(root / place / f"{i}.png")
    image.save(encoded, "PNG")
    lines = "".join(f"{i}.png\ta\t0\t0\t3\t3\n" for i in range(3))
    (root / "annotated/val/val_annotations.txt").write_text(lines)
    (root / "listed/metadata.csv").write_text("file_name,label\n0.png,a\n1.png,b\n2.png,a\n")
    table = pa.table({"image": [encoded.getvalue()] * 4, "label": ["a", "b", "a", "b"]})
    pq.write_table(table, root / "images.parquet")
    with pa.ipc.new_stream(str(root / "images.arrow"), table.schema) as stream:
        stream.write_table(table)
    with tarfile.open(root / "samples.tar", "w") as tar:
        for i in range(4):
            for ending, content in (("png", encoded.getvalue()), ("cls", b"%d" % (i % 2))):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    pixels = np.arange(4 * 4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 4, 3)
    np.savez(root / "arrays.npz", x=pixels, y=np.array([0, 1, 0, 1]))
    batch = {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 0, 1]}
    (root / "pickles").mkdir()
    (root / "pickles/test_batch").write_bytes(pickle.dumps(batch))
    raw = root / "MNIST/raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        header = struct.pack(">IIII", 2051, 2, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + bytes(2 * 28 * 28))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 2) + b"\1\2")


def _study(root: Path, name: str = "done") -> StudyDir:
    folder = root / "store/studies" / name
    return StudyDir(folder, read_study(folder))


def _shared_training(root: Path) -> object:
    with suppress(DivergedError):  # any text may be the reason
        return shared_training(_study(root), "a", lambda _folder: None)
    return None


def _images(name: str) -> Callable[[Path], object]:
    return lambda root: load(DataSpec(name=name.format(root=root)), "test")


def _save_images(folder: Path) -> None:
    """A perturbed image as PNG, and one whose verdict needs its floats; clean ones likewise."""
    x = torch.tensor([0.5, 102 / 255]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    labels = torch.zeros(2, dtype=torch.int64)
    found = Perturbed(
        ids=torch.tensor([3, 4]), x=x, x_pert=x + 0.1, y=labels, pred_clean=labels,
        pred=torch.tensor([1, 0]), success=torch.tensor([True, False]),
    )  # fmt: skip
    config = AttackConfig(threat=ThreatModel(eps=0.2))
    attack = Attack(
        name="pgd-2", goal="adversarial", stages=(AttackStage(config=config, loss="ce"),)
    )
    ImageFolder(folder=folder).keep(("a", "b"), attack, found, lambda x: torch.zeros(len(x)).long())


def _saved_images(folder: Path) -> object:
    saved = SavedImages.read(folder)
    return [saved.pair(row) for row in saved.rows]


def _sign(root: Path) -> object:
    return sign(f"folder:{root / 'folder'}", root / MANIFEST, root / "key.pem")


def _signature(root: Path) -> object:
    data = DataSpec(name=f"folder:{root / 'folder'}")
    return signature_of(data, "test", root / f"{MANIFEST}.sig", root / "key.pub")


def _mnist(root: Path) -> object:
    from fftune.data.sources.archives import mnist, opened

    read = mnist(root)
    parts = opened(read, root / "MNIST", name="mnist", mean=(0.1,), std=(0.3,)) if read else {}
    return [parts[part] for part in parts]


TRIALS = "store/studies/done/trials"
CHECKPOINT, TRIAL = "store/runs/done/checkpoint", f"{TRIALS}/0"
SHARED = "store/studies/done/shared"
HEDGED = "store/studies/hedged"
MANIFEST = "folder.manifest.json"
STORE = tuple(
    f"store/{name}" for name in ("mlflow.db", ".mlflow.db.lock", "mlflow.db-journal", "storage-id")
)
KINDS: Mapping[str, Kind] = {
    "net": Kind(f"{CHECKPOINT}/model.json", lambda r: read_net(str(r / CHECKPOINT))),
    "weights": Kind(f"{CHECKPOINT}/weights.pt", lambda r: load_model(read_spec(r / CHECKPOINT))),
    "checkpoint": Kind(
        f"{CHECKPOINT}/training.json",
        lambda r: read_checkpoint(r / CHECKPOINT, r / "store/runs/done/history.parquet"),
    ),
    "settings": Kind(
        f"{CHECKPOINT}/config.json",
        lambda r: read_settings(TrainConfig, r / CHECKPOINT / "config.json"),
    ),
    "settings of a study": Kind("store/studies/done/config.json", _study),
    "settings of a hedge": Kind(f"{HEDGED}/config.json", lambda r: _study(r, "hedged")),
    "history": Kind(
        "store/runs/done/history.parquet",
        lambda r: read_history(r / "store/runs/done/history.parquet"),
    ),
    "states": Kind(
        "store/runs/cut/states/states.json",
        lambda r: RunDir(r / "store/runs/cut").states.newest(),
        goes_on=True,
    ),
    "state": Kind(
        "store/runs/cut/states/3-0.pt",
        lambda r: Snapshots(r / "store/runs/cut/states").newest(),
        goes_on=True,
    ),
    "record": Kind(f"{TRIAL}/result.json", lambda r: _study(r).front(lambda *_: {})),
    "record of a failure": Kind(f"{TRIALS}/2/failure.json", lambda r: _study(r).failure(2)),
    "record of a stop": Kind(f"{TRIALS}/3/stopped.json", lambda r: _study(r).front(lambda *_: {})),
    "record of a training": Kind(
        f"{SHARED}/a/ended.json",
        _shared_training,
        mended=(f"{SHARED}/.a.lock",),
    ),
    "record of attempts": Kind(
        "store/studies/done/attempts/6b263b6c622ded91.json",
        lambda r: _study(r).begin_attempt("6b263b6c622ded91", "now"),
        mended=("store/studies/done/attempts/6b263b6c622ded91.json",),
    ),
    "record of a search": Kind(
        "store/studies/done/search.json",
        lambda r: read_search(_study(r)),
        mended=("store/studies/done/lock",),
    ),
    "journal": Kind(
        "store/studies/done/optuna.journal",
        lambda r: read_search(_study(r)),
        goes_on=True,
        mended=("store/studies/done/lock", "store/studies/done/optuna.journal.lock"),
    ),
    "audit": Kind("audits/a/audit.json", lambda r: AuditRecord.read(r / "audits/a/audit.json")),
    "bars": Kind("audit.toml", lambda r: read_bar_file(r / "audit.toml")),
    "front": Kind(
        "store/studies/done/front.json", lambda r: Front.read(r / "store/studies/done/front.json")
    ),
    "outcomes": Kind(
        f"{TRIAL}/outcomes.parquet",
        lambda r: [
            questions_in(r / TRIAL / "outcomes.parquet"),
            questions_of(Outcomes.read(r / TRIAL / "outcomes.parquet")),
        ],
    ),
    "perturbed examples": Kind(
        "store/crafted/fe24aa5abb55ffff.pt",
        lambda r: PerturbedSet.read(r / "store/crafted/fe24aa5abb55ffff.pt"),
    ),
    "saved image": Kind("images/pgd-2-adversarial/3.npz", lambda r: _saved_images(r / "images")),
    "index of saved images": Kind("images/index.csv", lambda r: _saved_images(r / "images")),
    "showcase": Kind(f"{HEDGED}/{SHOWCASE}", lambda r: Showcase.read(r / HEDGED / SHOWCASE)),
    "manifest": Kind("data/pngs/whole.json", lambda r: stored_part(r / "data/pngs/whole.beton")),
    "beton": Kind("data/pngs/whole.beton", lambda r: check_beton(r / "data/pngs/whole.beton")),
    "memory of checksums": Kind(
        "data/pngs/whole.json", lambda r: verified(r / "data/pngs/whole.beton", again=True)
    ),
    "signed manifest": Kind(MANIFEST, _signature),
    "signature": Kind(f"{MANIFEST}.sig", _signature),
    "public key": Kind("key.pub", _signature),
    "private key": Kind("key.pem", _sign, mended=(MANIFEST, f"{MANIFEST}.sig")),
    "image": Kind("folder/a/1.png", _images("folder:{root}/folder")),
    "annotations": Kind("annotated/val/val_annotations.txt", _images("folder:{root}/annotated")),
    "list of images": Kind("listed/metadata.csv", _images("folder:{root}/listed")),
    "Parquet file": Kind("images.parquet", _images("folder:{root}/images.parquet")),
    "Arrow file": Kind("images.arrow", _images("folder:{root}/images.arrow")),
    "tar": Kind("samples.tar", _images("folder:{root}/samples.tar")),
    "NumPy file": Kind("arrays.npz", _images("folder:{root}/arrays.npz")),
    "pickle": Kind("pickles/test_batch", _images("folder:{root}/pickles")),
    "archive": Kind("MNIST/raw/t10k-images-idx3-ubyte", _mnist),
    "labels of an archive": Kind("MNIST/raw/train-labels-idx1-ubyte", _mnist),
    "zoo": Kind("zoo.toml", lambda r: read_zoo(r / "zoo.toml")),
    "user's file": Kind("net.py", lambda r: load_model(ModelSpec(factory=f"{r / 'net.py'}:net"))),
    "summary": Kind(
        "pages/P1.T4.json",
        lambda r: write_index(r / "pages"),
        goes_on=True,
        mended=("pages/P1.T4.html", "pages/index.html"),
    ),
    "database": Kind(
        "store/mlflow.db",
        lambda r: open_tracking(r / "store", "Default"),
        goes_on=True,
        mended=STORE,
    ),
    "a worker's last words": Kind(
        f"store/runs/done/{FAILED}", lambda r: left(r / "store/runs/done") and None
    ),
    "id of a storage": Kind(
        "store/storage-id",
        lambda r: open_tracking(r / "store", "Default"),
        goes_on=True,
        mended=STORE,
    ),
}
"""By the words that `fftune.stored_file.reading` is given, as far as it reads them."""

NOT_TRIED = {
    "migration of MLflow": "a file of an installed package",
    "block": "tests/fuzz/test_whole_verbs.py; a damaged one is computed again",
    "preprocessor": "tests/models/test_origins.py",
    "reference": "tests/models/test_origins.py: of the hub's cache",
    "settings of a net": "tests/models/test_origins.py",
    "JUnit file": "tests/test_replaced_files.py",
    "summary of rows": "tests/test_replaced_files.py",
    "page": "written a moment before by the same command",
    "plotly's code": "compared with what would be written",
    "note of a task": "compared with what would be written",
    "analysis": "tests/fuzz/test_whole_verbs.py",
    "checksum": "tests/fuzz/test_whole_verbs.py",
}
"""Kinds that the table above leaves out, and why."""
