"""Users whose home folder is missing, closed, or not known at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fftune import recipes
from fftune.cli.doctor import main as doctor
from fftune.cli.evaluate import main as evaluate
from fftune.config import DataSpec, WriteConfig
from fftune.data import load
from fftune.data.beton import manifest
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import data_root, open_parts
from fftune.errors import StorageError
from fftune.storage import storage_root
from fftune.training.train import train
from tests.strangers import ALICE, as_user, needs_root

SET = "synthetic:shape=1x8x8,classes=2,train=20,test=4,seed=1"


@pytest.fixture
def place(empty_mlflow: Path) -> Iterator[Path]:
    """A storage of Alice's, in which a home, data and a checkpoint are closed to her pen."""
    place = Path(tempfile.mkdtemp(prefix="fftune-homes-"))
    (place / "home").mkdir(0o500)
    shutil.copy(empty_mlflow, place)
    trained = recipes.training("standard", recipes.Basis())
    optimizer = replace(trained.optimizer, epochs=0, schedule="step")
    train(replace(trained, optimizer=optimizer)).save(place / "theirs/checkpoint")
    write_beton(
        open_parts(SET)["train"], place / "set/train.beton", WriteConfig(), origin="", splits={}
    )
    for path in (place, place / "mlflow.db"):
        os.chown(path, ALICE, ALICE)
    yield place
    shutil.rmtree(place)


@pytest.mark.some(1)
@needs_root
@pytest.mark.parametrize("home", ["missing", "closed", "unknown"])
def test_what_needs_no_home_works_without_one(place: Path, home: str) -> None:
    """A user without a passwd entry: where `HOME` is not set, nothing tells one."""

    def program() -> None:
        for name in ("FFTUNE_STORAGE", "FFTUNE_DATA", "MLFLOW_TRACKING_URI"):
            os.environ.pop(name, None)
        os.environ["HOME"] = {"missing": "/nonexistent"}.get(home, str(place / "home"))
        if home == "unknown":
            del os.environ["HOME"]
        try:
            storage_root()
        except StorageError as error:
            print(error)
        assert manifest.verified(place / "set/train.beton").count == 20
        spec = DataSpec(name=f"folder:{place / 'set'}", train_size=None, validation_size=0)
        assert len(load(spec, "train")) == 20
        assert not data_root().exists()
        if home == "unknown":
            net = str(place / "theirs/checkpoint")
            few = ["--examples=8", "--battery.steps=1", f"--storage={place}"]
            evaluate([net, "--battery=risks", *few])
            with suppress(SystemExit):  # of an untrained net
                doctor([net, "--examples=8"])

    done = as_user(ALICE, program)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[0]
    if home == "unknown":
        assert line.endswith(
            "lies in a home folder, and this user has none; set HOME, or name another"
        )
        assert "clean accuracy" in done.stdout and list(place.glob("rows/*.parquet"))
        assert "To pass proves nothing" in " ".join(done.stdout.split())
        assert [path.name for path in (place / "theirs").rglob("*") if path.stat().st_uid] == []
    else:
        assert line.startswith("cannot write ") and "--storage or FFTUNE_STORAGE" in line
