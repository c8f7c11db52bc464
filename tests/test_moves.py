"""Storages that are copied, renamed, moved, shared by a group, or there for reading alone."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from fftune.cli.report import main as report
from fftune.cli.sweep import main as sweep
from fftune.errors import StudyError
from fftune.sweeping.front import Front
from fftune.sweeping.optuna_storage import read_search
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_records import read_study
from fftune.tracking.store import open_tracking
from tests.strangers import ALICE, BOB, as_user, needs_root

GROUP = 54300


COINS = str(Path(__file__).with_name("sweeping") / "coin_kind.py")


def flip(root: Path, *flags: str) -> Front:
    """Go on with the study of coins, by default that with its own name."""
    search = ["--strategy", "gap", "--space", "share=0.1:0.9"]
    sweep([COINS, *search, "--backend", "inline", "--storage", str(root), *flags])
    name = flags[flags.index("--name") + 1] if "--name" in flags else "coins"
    return Front.read(root / "studies" / name / "front.json")


@pytest.fixture
def study(root: Path, monkeypatch) -> Path:
    """The folder of a study of two trials."""
    monkeypatch.delenv("FFTUNE_DB", raising=False)
    flip(root, "--trials", "2")
    return root / "studies/coins"


def searched(folder: Path) -> int:
    """How many trials the search of a folder knows."""
    search = read_search(StudyDir(folder, read_study(folder)))
    assert search is not None
    return len(search.trials)


def test_a_study_that_is_renamed_or_copied_goes_by_its_new_name(
    study: Path, root: Path, capsys
) -> None:
    shutil.copytree(study, study.with_name("copy"))
    study.rename(study.with_name("renamed"))
    capsys.readouterr()
    report(["renamed", "copy", "--storage", str(root)])
    said = capsys.readouterr().out
    assert "renamed" in said and "copy" in said and "coins" not in said
    for name, trials in (("renamed", 3), ("copy", 4)):
        front = flip(root, "--name", name, "--trials", str(trials), "--resume")
        assert front.study == name and len(front.results) == trials
        assert searched(study.with_name(name)) == trials
    with pytest.raises(StudyError, match="study 'coins' has no front"):
        report(["coins", "--storage", str(root)])
    assert len(flip(root, "--trials", "2").results) == 2  # its old name is free


def test_a_study_in_a_database_is_its_folders_wherever_that_is(
    root: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("FFTUNE_DB", url := f"sqlite:///{tmp_path / 'optuna.db'}")
    flip(root, "--trials", "2")
    folder = root / "studies/coins"
    shutil.copytree(folder, folder.with_name("copy"))
    with pytest.raises(StudyError, match="'copy' is a copy of '.*coins', whose search in FFTUNE"):
        flip(root, "--name", "copy", "--trials", "3", "--resume")
    assert searched(folder.with_name("copy")) == 2  # it is read all the same
    folder.rename(folder.with_name("renamed"))
    front = flip(root, "--name", "renamed", "--trials", "3", "--resume")
    assert len(front.results) == 3
    assert optuna.get_all_study_names(url) == ["coins"]
    with pytest.raises(StudyError, match="'coins' in FFTUNE_DB .* belongs to another folder"):
        flip(root, "--trials", "2")


def test_a_storage_that_is_moved_takes_mlflow_along(
    study: Path, root: Path, tmp_path: Path
) -> None:
    name = "50% off a%20b #it's (é)?"
    moved = tmp_path / "below" / name
    moved.mkdir(parents=True)
    for part in ("studies", "mlflow.db"):
        (root / part).rename(moved / part)
    beside = {path.name for path in tmp_path.iterdir()}
    assert len(flip(moved, "--trials", "3", "--resume").results) == 3
    tracking = open_tracking(moved, "fftune")
    client = tracking.client()
    runs = client.search_runs([tracking.experiment_id], "attributes.status = 'FINISHED'")
    assert len(runs) == 3
    assert all(run.info.artifact_uri.startswith((moved / "mlflow").as_uri()) for run in runs)
    client.log_text(runs[0].info.run_id, "text", "a/b.txt")
    assert [f.path for f in client.list_artifacts(runs[0].info.run_id, "a")] == ["a/b.txt"]
    assert {path.name for path in tmp_path.iterdir()} == beside
    assert [path.name for path in moved.parent.iterdir()] == [name]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="fftune-moves-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@needs_root
def test_two_users_of_a_group_go_on_with_one_study(open_folder: Path) -> None:
    root = open_folder / "results"
    root.mkdir()
    os.chown(root, -1, GROUP)
    root.chmod(0o2770)
    for user, trials in ((ALICE, 2), (BOB, 3)):
        more = ("--trials", str(trials), "--resume")
        done = as_user(
            user,
            lambda more=more: flip(root, *more),
            groups=(user, GROUP),
            umask=0o002,
        )
        assert done.returncode == 0, done.stderr
        assert "report.html" in done.stdout and "not in MLflow" not in done.stdout
    assert len(Front.read(root / "studies/coins/front.json").results) == 3
    for path in root.rglob("*"):
        if path.name != "lock":
            kept = path.stat()
            assert (kept.st_gid, kept.st_mode & 0o060) == (GROUP, 0o060), path


@needs_root
def test_a_storage_that_cannot_be_written_is_read(open_folder: Path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    flip(open_folder, "--trials", "2")
    folder = open_folder / "studies/coins"
    before = {path: path.stat().st_mtime_ns for path in open_folder.rglob("*")}
    done = as_user(ALICE, lambda: report(["coins", "--storage", str(open_folder)]))
    assert done.returncode == 0, done.stderr
    assert f"report  not kept: {str(folder)!r} cannot be written" in done.stdout
    assert "hypocritical risk" in done.stdout
    assert searched(folder) == 2
    done = as_user(ALICE, lambda: print(searched(folder)))
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    wrong = as_user(ALICE, lambda: flip(open_folder, "--resume"))
    assert "cannot be written" in wrong.stderr
    assert before == {path: path.stat().st_mtime_ns for path in open_folder.rglob("*")}
