"""Optuna's journal after a crash, and trials that it has forgotten."""

import errno
import json
import logging
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from test_front import point

from fftune.config import Dimension, SweepConfig
from fftune.errors import StorageError, StudyError
from fftune.storage import write_text
from fftune.sweeping.optuna_journal import Journal, mend_journal
from fftune.sweeping.optuna_storage import read_search
from fftune.sweeping.optuna_study import open_search, tell
from fftune.sweeping.search_space import suggest
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_results import Failure, SeedResult, Stopped

LINES = [b'{"op_code":4,"trial_id":%d}\n' % i for i in range(4)]


def mended(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    mend_journal(path)
    return path.read_bytes()


def test_whatever_a_crash_left_of_the_last_two_lines_is_cut_to_whole_records(tmp_path) -> None:
    whole, path = b"".join(LINES), tmp_path / "j"
    for cut in range(len(LINES[0]) * 2, len(whole) + 1):
        content = whole[:cut]
        # A line without its end is whole too.
        lines = (cut + 1) // len(LINES[0])
        assert mended(path, content) == b"".join(LINES[:lines]), cut


@pytest.mark.parametrize("tail", [b"\0" * 200, b"\n", b"\n\n\0\0", b'{"op_code":4,\0\0', b"[]\n"])
def test_nuls_and_blank_lines_are_cut_off_and_that_is_said(tmp_path, tail, caplog) -> None:
    whole = b"".join(LINES)
    assert mended(tmp_path / "j", whole + tail) == whole
    assert f"{len(tail)} bytes were cut off" in caplog.text
    caplog.clear()
    assert mended(tmp_path / "j", whole) == whole and not caplog.records
    assert mended(tmp_path / "j", LINES[0] + b"\0\0\n\n" + LINES[1]) == LINES[0] + LINES[1]


def test_a_last_line_without_its_end_is_whole_and_nothing_is_lost(tmp_path, caplog) -> None:
    whole = b"".join(LINES)
    with caplog.at_level(logging.INFO):
        assert mended(tmp_path / "j", whole[:-1]) == whole
    assert "lacked only its last newline, which was added" in caplog.text
    assert "cut off" not in caplog.text
    assert mended(tmp_path / "j", LINES[0] + b"\0\0\n" + LINES[1][:-1]) == LINES[0] + LINES[1]
    assert "3 bytes were cut off" in caplog.text


def test_half_a_record_in_the_middle_is_one_line(tmp_path) -> None:
    with pytest.raises(StorageError, match=r"^journal '.*j' is damaged: line 2 is no record; put"):
        mended(tmp_path / "j", LINES[0] + LINES[1][:9] + LINES[2] + LINES[3])
    mend_journal(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_records_are_added_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    journal = Journal(tmp_path / "j")
    journal.append_logs([{"op_code": 1}, {"op_code": 2}])
    before = (tmp_path / "j").read_bytes()
    assert before == b'{"op_code":1}\n{"op_code":2}\n'
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(StorageError, match=r"cannot write '.*j': the disk is full"):
            journal.append_logs([{"op_code": 3}])
    assert (tmp_path / "j").read_bytes() == before
    with monkeypatch.context() as failed:
        failed.setattr(os, "unlink", failing(errno.EIO))  # Optuna's lock cannot be let go
        with pytest.raises(StorageError, match=r"cannot write '.*j': Input/output error"):
            journal.append_logs([{"op_code": 3}])


def failing(number: int):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_lock_that_a_killed_driver_left_is_taken_at_once(study, caplog) -> None:
    run(study, 1)
    (study.path / "optuna.journal.lock").symlink_to(study.path / "optuna.journal")
    before = time.monotonic()
    open_search(study).enqueue_trial({"lam": 1.0})
    assert time.monotonic() - before < 25  # Optuna takes it after 30
    assert not list(study.path.glob("optuna.journal.lock*"))


def run(study: StudyDir, count: int) -> list[SeedResult]:
    """Trials as a driver does them, but nothing is trained."""
    search, points = open_search(study), []
    for _ in range(count):
        trial = search.ask()
        settings = suggest(trial, study.config)
        known = point(trial.number, 0, (10 + trial.number, 5), (12, 3))
        one = replace(known, lam=float(settings.get("lam", 0)), settings=settings)
        study.trial(trial.number).mkdir(parents=True)
        study.finish([one])
        tell(search, trial.number, [one], study.config)
        points.append(one)
    return points


def states(study: StudyDir) -> list:
    found = open_search(study).get_trials(deepcopy=False)
    return [(t.number, t.state, t.params, t.values) for t in found if t.state.is_finished()]


@pytest.fixture
def study(quick: SweepConfig, tmp_path: Path, monkeypatch) -> StudyDir:
    monkeypatch.delenv("FFTUNE_DB", raising=False)
    study = StudyDir(tmp_path / "studies" / "quick", quick)
    study.path.mkdir(parents=True)
    return study


def test_a_finished_trial_is_told_again_however_much_of_the_journal_is_lost(study) -> None:
    run(study, 2)
    journal = study.path / "optuna.journal"
    lines, before = journal.read_bytes().splitlines(keepends=True), states(study)
    assert [state for _, state, _, _ in before] == [TrialState.COMPLETE] * 2
    begun = next(i for i, line in enumerate(lines) if json.loads(line)["op_code"] == 4)
    for kept in range(begun, len(lines)):
        journal.write_bytes(b"".join(lines[:kept]) + lines[kept][:-25])
        assert states(study) == before, kept


def test_trials_of_a_queue_are_told_again_with_their_own_parameters(study, quick) -> None:
    space = (Dimension(path="lam", low=0.0, high=100.0, scale="log1p"),)
    config = replace(quick, strategy="gp", space=space, trials=4)
    study = StudyDir(study.path, config)
    points = run(study, 2)
    journal = study.path / "optuna.journal"
    lines, before = journal.read_bytes().splitlines(keepends=True), states(study)
    for lost in range(1, 7):
        journal.write_bytes(b"".join(lines[:-lost]))
        found = states(study)
        assert [f[:2] for f in found] == [b[:2] for b in before]
        for (*_, params, _), one in zip(found, points, strict=True):
            again = suggest(optuna.trial.FixedTrial(params), config)
            assert again == pytest.approx(one.settings)


def test_failed_and_stopped_trials_are_not_run_again(study) -> None:
    run(study, 1)
    study.trial(2).mkdir(parents=True)
    study.fail(Failure(trial=2, lam=7.0, settings={"lam": 7.0}, reason="loss is nan"))
    study.stop(Stopped(trial=3, lam=9.0, settings={"lam": 9.0}, epoch=1, epochs_saved=2))
    found = {number: state for number, state, *_ in states(study)}
    fail = TrialState.FAIL
    assert found == {0: TrialState.COMPLETE, 1: fail, 2: fail, 3: TrialState.PRUNED}


def test_a_report_mends_nothing_under_a_drivers_hands(study, caplog) -> None:
    from fftune.storage import locked

    run(study, 1)
    journal = study.path / "optuna.journal"
    half = journal.read_bytes() + b'{"op_code":4,'
    journal.write_bytes(half)
    with locked(study.path, "study"):
        assert len(read_search(study).trials) == 1  # what is whole is shown
        assert journal.read_bytes() == half
    with caplog.at_level(logging.WARNING):
        assert len(read_search(study).trials) == 1
    assert journal.read_bytes() == half[: half.rindex(b"\n") + 1]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        (
            "search.json",
            "",
            r"search.json' is damaged: it is empty; delete it if",
        ),
        ("search.json", "null", r"search.json' must hold a JSON object, got NoneType"),
        ("search.json", "{}", r"search.json' is damaged: storage is missing"),
        ("trials/0/result.json", "", r"result.json' is damaged: it is empty; delete the folder"),
        ("trials/0/result.json", "\x00\xff", r"result.json' is damaged: 'utf-8'"),
        ("trials/0/result.json", "[]", r"result.json' must hold a JSON object, got list"),
        ("trials/0/result.json", "{}", r"result.json' is damaged: trial is missing"),
        ("trials/0/failure.json", '{"trial": 0}', r"failure.json' is damaged: .*reason"),
        (
            "trials/0/stopped.json",
            "{",
            r"stopped.json' is damaged: .*; delete the folder",
        ),
    ],
)
def test_damaged_files_of_a_study_are_one_line_with_their_path(study, file, content, told) -> None:
    run(study, 1)
    (study.path / file).write_bytes(content.encode("latin-1"))
    with pytest.raises(StudyError, match=told) as error:
        open_search(study)
    assert "\n" not in str(error.value) and str(study.path) in str(error.value)
    assert re.search("; (delete|put)", str(error.value))


@pytest.mark.parametrize("content", ["", "{}", '{"open": ""}'])
def test_a_damaged_record_of_attempts_is_one_line(study, content) -> None:
    write_text(study.path / "attempts" / "k.json", content)
    with pytest.raises(StudyError, match=r"k\.json'"):
        study.begin_attempt("k", "me")
