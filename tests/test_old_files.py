"""Files of fftune 0.1.0 (`tests/fixtures/v0_1_0`) under the present code.

Each is opened, reported or gone on with, or refused in one line. What would mix two noise
generators or two engines is refused, and leaves the files as they were.
"""

import hashlib
import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from tests.brief import FLAGS

OLD = Path(__file__).parent / "fixtures" / "v0_1_0"
SWEEP = (
    *("--scale", "tiny", "--backend", "inline", "--base.model", "mlp", "--base.width", "4"),
    *("--base.optimizer.epochs", "1", "--base.attack.steps", "2"),
    *("--battery.steps", "2", "--battery.examples", "20"),
)
TRAIN = ("--scale", "tiny", "--lam", "5", "--model", "mlp", "--width", "4", "--attack.steps", "2")
# Below: the numbers that 0.1.0 printed of its own files.
FRONT = [
    ["0", "0", "yes", "95.0", "%", "(76.4", "to", "99.1)*", "5.3", "%", "(0.9", "to", "24.6)"],
    ["1", "100", "yes", "95.0", "%", "(76.4", "to", "99.1)*", "15.8", "%", "(5.5", "to", "37.6)*"],
]
HEDGED = [
    ["robust", "10.0", "%", "(2.8", "to", "30.1)", "10.0", "%", "(2.8", "to", "30.1)"],
    ["clean", "10.0", "%", "(2.8", "to", "30.1)", "10.0", "%", "(2.8", "to", "30.1)"],
    ["concealed", "0.0", "%", "(0.0", "to", "17.6)", "0.0", "%", "(0.0", "to", "17.6)"],
]


class Said(NamedTuple):
    code: int
    out: str
    err: str

    def table(self, rows: list[list[str]]) -> list[list[str]]:
        """The printed lines that begin as these rows do, as words, cut to their lengths."""
        words = [line.split() for line in self.out.splitlines()]
        return [found[: len(r)] for r in rows for found in words if found[:2] == r[:2]][: len(rows)]

    @property
    def refusal(self) -> str:
        """The one line of a user's mistake."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("fftune: ")]
        return line


Command = Callable[..., Said]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("v0_1_0")
    for name in ("store", "data"):
        with tarfile.open(OLD / f"{name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def store(unpacked: Path, tmp_path: Path) -> Path:
    """The storage root of 0.1.0, moved to a folder of this test."""
    folder = Path(shutil.copytree(unpacked / "store", tmp_path / "store"))
    text = (folder / "mlflow.sql").read_text(encoding="utf-8")
    database = sqlite3.connect(folder / "mlflow.db")
    database.executescript(text.replace("@FOLDER@", str(tmp_path)))
    database.close()
    return folder


@pytest.fixture
def fftune(capsys, monkeypatch, tmp_path: Path) -> Command:
    """`python -m fftune.VERB ARGUMENTS`, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(verb: str, *arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", [verb, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            runpy.run_module(f"fftune.{verb}", run_name="__main__")
        assert isinstance(stop.value.code, int)
        return Said(stop.value.code, *capsys.readouterr())

    return call


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def runs_in_mlflow(store: Path) -> list[tuple[str, str]]:
    """The name and the artifacts' place of every run that is not deleted, nor replaced."""
    query = (
        "select name, artifact_uri from runs where lifecycle_stage = 'active' and run_uuid not in "
        "(select run_uuid from tags where key = 'fftune.replaced_by') order by name"
    )
    database = sqlite3.connect(store / "mlflow.db")
    found = database.execute(query).fetchall()
    database.close()
    return found


def test_a_finished_study_is_reported_and_said_to_be_old(store: Path, fftune: Command) -> None:
    trials = contents(store / "studies" / "done" / "trials")
    runs = runs_in_mlflow(store)
    said = fftune("report", "done", "--storage", str(store))
    assert said.code == 0
    assert said.table(FRONT) == FRONT
    assert "done: its rows are of an older engine" in said.out
    assert "older engine" in (store / "studies" / "done" / "report.html").read_text("utf-8")
    assert contents(store / "studies" / "done" / "trials") == trials
    assert len(runs) == 11
    now = runs_in_mlflow(store)
    assert [name for name, _ in now] == [name for name, _ in runs]  # the new front's for the old's
    assert all(place.startswith(f"file://{store}/mlflow/") for _, place in now)
    assert (store / "mlflow" / dict(now)["done front"].split("/")[-2]).is_dir()


def test_a_finished_study_that_is_resumed_has_nothing_left_to_do(
    store: Path, fftune: Command
) -> None:
    trials = contents(store / "studies" / "done" / "trials")
    said = fftune(
        *("sweep", "thrm", "--name", "done", *SWEEP, "--trials", "2"),
        *("--storage", str(store), "--resume"),
    )
    assert said.code == 0
    assert said.table(FRONT) == FRONT
    assert "older engine" in said.out
    assert contents(store / "studies" / "done" / "trials") == trials


@pytest.mark.parametrize(("name", "trials"), [("cut", "2"), ("done", "3")])
def test_no_trial_of_this_engine_joins_those_of_another(
    name: str, trials: str, store: Path, fftune: Command
) -> None:
    before = contents(store / "studies" / name / "trials")
    said = fftune(
        *("sweep", "thrm", "--name", name, *SWEEP, "--trials", trials),
        *("--storage", str(store), "--resume"),
    )
    assert f"study '{name}' has trials of another engine (an older one" in said.refusal
    assert contents(store / "studies" / name / "trials") == before


def test_a_study_that_was_cut_in_its_first_training_does_not_go_on(
    store: Path, fftune: Command
) -> None:
    study = store / "studies" / "cut"
    shutil.rmtree(study / "trials" / "0")
    before = contents(study / "states")
    assert before
    said = fftune(
        *("sweep", "thrm", "--name", "cut", *SWEEP, "--trials", "2"),
        *("--storage", str(store), "--resume"),
    )
    assert "study 'cut' has a training that was begun with noise generator 1" in said.refusal
    assert contents(study / "states") == before
    assert not list((study / "trials").iterdir())  # no trial is recorded as failed


def test_an_unfinished_study_has_no_report(store: Path, fftune: Command) -> None:
    said = fftune("report", "cut", "--storage", str(store))
    assert "study 'cut' has no front" in said.refusal


def test_a_hedge_study_is_reported_and_said_to_be_old(store: Path, fftune: Command) -> None:
    said = fftune("report", "hedged", "--storage", str(store))
    assert said.code == 0
    assert said.table(HEDGED) == HEDGED
    assert "hedged: its rows are of an older engine" in said.out


def test_a_finished_run_is_given_back(store: Path, fftune: Command) -> None:
    before = contents(store / "runs" / "done")
    said = fftune(
        *("train", "thrm", *TRAIN, "--name", "done", "--optimizer.epochs", "1"),
        *("--storage", str(store), "--resume"),
    )
    assert said.code == 0
    last = "1 epoch trained: accuracy 8.0 % on training images, clean.\n"
    assert said.out.endswith(last)
    assert contents(store / "runs" / "done") == before


def test_a_run_of_another_noise_generator_does_not_go_on(store: Path, fftune: Command) -> None:
    before = contents(store / "runs" / "cut")
    said = fftune(
        *("train", "thrm", *TRAIN, "--name", "cut", "--optimizer.epochs", "200"),
        *("--save-seconds", "0", "--storage", str(store), "--resume"),
    )
    assert "drawn with noise generator 1" in said.refusal
    assert contents(store / "runs" / "cut") == before


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_and_no_old_block_is_used(store: Path, fftune: Command) -> None:
    old = contents(store / "rows")
    rows = []
    for root in (store, store.parent / "fresh"):
        root.mkdir(exist_ok=True)
        said = fftune(
            *("evaluate", str(store / "runs" / "done" / "checkpoint"), "--battery", "risks"),
            *("--battery.steps", "2", "--examples", "20", "--defense", "hedge"),
            *("--defense.steps", "2", "--defense.repeats", "1", *FLAGS),
            *("--storage", str(root), "--rows", str(root / "new.parquet")),
        )
        assert said.code == 0
        assert "clean images  10.0 % (2.8 to 30.1)" in said.out  # as in 0.1.0
        rows.append(pd.read_parquet(root / "new.parquet"))
    pd.testing.assert_frame_equal(*rows)
    assert contents(store / "rows") == old


def test_rows_are_read_and_said_to_be_old(store: Path) -> None:
    (path,) = (store / "rows").glob("*.parquet")
    code = (
        "import json, logging, sys\n"
        "from pathlib import Path\n"
        "from fftune.outcomes import Outcomes\n"
        "logging.basicConfig()\n"
        "table = Outcomes.read(Path(sys.argv[1])).table\n"
        "columns = ['id', 'attack', 'defense', 'pred_clean', 'pred_clean_defended']\n"
        "print(json.dumps(table.select(columns).to_pylist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(OLD.parents[2])},
    )
    assert done.stderr.count("outcomes of schema 1 are read") == 1
    rows = pd.DataFrame(json.loads(done.stdout))
    old = pd.read_parquet(path)
    assert len(rows) == len(old) > 0
    bare = rows["defense"] == "none"
    assert bare.any() and not bare.all()
    assert (rows["pred_clean_defended"][bare] == rows["pred_clean"][bare]).all()
    assert rows["pred_clean_defended"][~bare].isna().all()  # 0.1.0 did not write it down


def test_a_beton_is_verified_and_trained_on(
    unpacked: Path, tmp_path: Path, fftune: Command, monkeypatch
) -> None:
    pytest.importorskip("ffcv")
    monkeypatch.setenv("FFTUNE_DATA", str(unpacked / "data"))
    said = fftune("data", "verify", "pngs")
    assert said.code == 0
    assert "20 examples of 10 classes, 1x8x8" in said.out
    assert "content 822143526479ea59" in said.out
    said = fftune(
        *("train", "standard", "--scale", "tiny", "--data", "pngs", "--data.train-size", "10"),
        *("--data.validation-size", "0", "--model", "mlp", "--width", "4", "--engine", "memory"),
        *("--optimizer.epochs", "1", "--optimizer.batch-size", "5", "--storage", str(tmp_path)),
    )
    assert said.code == 0
    assert "1 epoch trained" in said.out
