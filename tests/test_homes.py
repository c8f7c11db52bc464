"""Users whose home folder is missing, closed, or not known at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fftune.cli.evaluate import main as evaluate
from fftune.config import DataSpec, WriteConfig
from fftune.data import load
from fftune.data.beton import manifest
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import data_root, open_parts
from fftune.errors import StorageError
from fftune.storage import storage_root
from tests.strangers import ALICE, as_user, needs_root

SET = "synthetic:shape=1x8x8,classes=2,train=20,test=4,seed=1"
NET = """
import torch

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


@pytest.fixture
def place(empty_mlflow: Path) -> Iterator[Path]:
    """A storage of another user's, with a closed folder `home`, data and a net."""
    place = Path(tempfile.mkdtemp(prefix="fftune-homes-"))
    (place / "home").mkdir(0o500)
    shutil.copy(empty_mlflow, place)
    (place / "net.py").write_text(NET)
    write_beton(
        open_parts(SET)["train"], place / "set/train.beton", WriteConfig(), origin="", splits={}
    )
    for path in (place, place / "mlflow.db"):
        os.chown(path, ALICE, ALICE)
    yield place
    shutil.rmtree(place)


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
            few = ["--examples=8", "--battery.steps=1", f"--storage={place}"]
            evaluate([f"--model={place / 'net.py'}:net", "--data=digits", "--battery=risks", *few])

    done = as_user(ALICE, program)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[0]
    if home == "unknown":
        assert line.endswith(
            "lies in a home folder, and this user has none; set HOME, or name another"
        )
        assert "clean accuracy" in done.stdout and list(place.glob("rows/*.parquet"))
    else:
        assert line.startswith("cannot write ") and "--storage or FFTUNE_STORAGE" in line
