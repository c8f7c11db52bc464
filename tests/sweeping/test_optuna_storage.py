"""Optuna's study in a database of `FFTUNE_DB`."""

import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from fftune.config import SweepConfig
from fftune.errors import StorageError, StudyError
from fftune.storage import write_text
from fftune.sweeping.optuna_storage import open_storage
from fftune.sweeping.optuna_study import open_search
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.sweep import sweep


@pytest.fixture
def db(tmp_path: Path, monkeypatch) -> str:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    monkeypatch.setenv("FFTUNE_DB", url)
    return url


def folder(root: Path, config: SweepConfig, *, begun: bool = False) -> StudyDir:
    study = StudyDir(root / "studies" / config.name, config)
    study.path.mkdir(parents=True, exist_ok=True)
    if begun:
        write_text(study.trial(0) / "config.json", "{}")
    return study


@pytest.mark.slow
def test_a_study_in_a_database_is_any_optuna_tools(quick: SweepConfig, root, db: str) -> None:
    config = replace(quick, trials=2)
    front = sweep(config, root=root, backend="inline")

    search = optuna.load_study(study_name="quick", storage=db)
    told = {t.number: t.values for t in search.trials}
    assert told == {
        p.trial: [p.validation.natural_risk.value, p.validation.hypocritical_risk.value]
        for p in front.results
    }
    assert search.metric_names == ["natural_risk", "hypocritical_risk"]
    assert not (root / "studies/quick/optuna.journal").exists()
    assert len(sweep(quick, root=root, backend="inline", resume=True).results) == 3
    assert len(optuna.load_study(study_name="quick", storage=db).trials) == 3


def test_resuming_with_another_storage_is_refused(quick, tmp_path, db, monkeypatch) -> None:
    open_search(folder(tmp_path, quick))
    study = folder(tmp_path, quick, begun=True)
    open_search(study)
    monkeypatch.delenv("FFTUNE_DB")
    with pytest.raises(StudyError, match=rf"began with FFTUNE_DB '{db}', this is its journal"):
        open_search(study)
    monkeypatch.setenv("FFTUNE_DB", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(StudyError, match=r"this is FFTUNE_DB 'sqlite:.*other.db'"):
        open_search(study)


def test_a_study_that_began_with_a_journal(quick, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("FFTUNE_DB", raising=False)
    open_search(folder(tmp_path, quick))
    study = folder(tmp_path, quick, begun=True)
    (study.path / "search.json").unlink()  # as studies of earlier versions are
    open_search(study)
    monkeypatch.setenv("FFTUNE_DB", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(StudyError, match=r"began with its journal .*, this is FFTUNE_DB 'sqlite:"):
        open_search(study)


def test_a_database_that_lost_the_study_is_refused(quick, tmp_path, db) -> None:
    study = folder(tmp_path, quick)
    open_search(study)
    optuna.delete_study(study_name="quick", storage=db)
    folder(tmp_path, quick, begun=True)
    with pytest.raises(StudyError, match=r"study 'quick' has trials, but FFTUNE_DB .* not know it"):
        open_search(study)


def test_a_study_of_another_folder_is_refused(quick: SweepConfig, tmp_path: Path, db) -> None:
    """Two drivers that share a database and no file system."""
    search = open_search(folder(tmp_path / "one", quick))
    search.ask()
    with pytest.raises(StudyError, match=r"'quick' in FFTUNE_DB .* another folder; use --name"):
        open_search(folder(tmp_path / "two", quick))
    open_search(folder(tmp_path / "one", quick))


def test_a_driver_that_died_before_its_mark_goes_on(quick: SweepConfig, tmp_path: Path, db) -> None:
    study = folder(tmp_path / "one", quick)
    open_search(study)
    optuna.delete_study(study_name="quick", storage=db)
    optuna.create_study(study_name="quick", storage=db, directions=["minimize"] * 2)
    with pytest.raises(StudyError, match="another folder"):  # it has no claim of its own
        open_search(folder(tmp_path / "two", quick))
    open_search(study)
    with pytest.raises(StudyError, match="another folder"):
        open_search(folder(tmp_path / "two", quick))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", r"^FFTUNE_DB is no database URL, such as sqlite:"),
        ("nosuch://me@host/x", r"^FFTUNE_DB 'nosuch://me@host/x' cannot be used: .*nosuch"),
        ("sqlite:////nowhere/x.db", r"cannot be used: .*unable to open database file"),
        (
            "postgresql://me:secret@127.0.0.1:1/x",
            r"^FFTUNE_DB 'postgresql://me:\*\*\*@127.0.0.1:1/x' cannot be used: .*refused",
        ),
        (
            "postgresql://127.0.0.1:1/x?user=me&password=secret",
            r"^FFTUNE_DB 'postgresql://127.0.0.1:1/x\?password=\*\*\*&user=me' cannot be used: "
            ".*refused",
        ),
    ],
)
def test_a_wrong_url_is_one_line(quick, tmp_path, monkeypatch, url: str, told: str) -> None:
    monkeypatch.setenv("FFTUNE_DB", url)
    with pytest.raises(StorageError, match=told) as error:
        open_storage(folder(tmp_path, quick))
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
    assert error.value.exit_code == 2


def test_a_password_in_the_query_is_not_recorded(quick, tmp_path: Path, monkeypatch) -> None:
    url = f"sqlite:///file:{tmp_path / 'optuna.db'}?uri=true&password=canary-db"
    monkeypatch.setenv("FFTUNE_DB", url)
    study = folder(tmp_path, quick)
    open_search(study)
    record = study.path / "search.json"
    known = json.loads(record.read_text())
    assert "canary" not in record.read_text() and "password=***" in known["storage"]
    old = record.read_text().replace("password=***", "password=canary-db")
    write_text(record, old)  # as 0.2.0 wrote it
    open_search(folder(tmp_path, quick, begun=True))
    assert "canary" not in record.read_text()
