"""Trainings that several trials share: once, whoever comes first, and again after a death."""

import threading
from pathlib import Path

import pytest

from fftune.config import SweepConfig
from fftune.errors import DivergedError, StudyError
from fftune.sweeping.shared_training import shared_training
from fftune.sweeping.study_dir import StudyDir


@pytest.fixture
def study(quick: SweepConfig, tmp_path: Path) -> StudyDir:
    return StudyDir(tmp_path / "study", quick)


def test_one_trial_trains_and_the_others_wait_for_it(study: StudyDir) -> None:
    began, go_on, calls = threading.Event(), threading.Event(), []

    def slowly(folder: Path) -> None:
        calls.append("first")
        began.set()
        assert go_on.wait(60)
        (folder / "net").write_text("trained")

    def late(found: list[str]) -> None:
        folder = shared_training(study, "all", lambda _folder: calls.append("second"))
        found.append((folder / "net").read_text())

    found: list[str] = []
    first = threading.Thread(target=shared_training, args=(study, "all", slowly))
    second = threading.Thread(target=late, args=(found,))
    first.start()
    assert began.wait(60)
    second.start()
    go_on.set()
    first.join()
    second.join()

    assert calls == ["first"]
    assert found == ["trained"]


def test_other_names_are_other_trainings(study: StudyDir) -> None:
    folders = {shared_training(study, name, lambda _folder: None) for name in "ab"}

    assert folders == {study.path / "shared/a", study.path / "shared/b"}


def test_what_diverged_is_not_trained_again(study: StudyDir) -> None:
    calls = []

    def diverges(_folder: Path) -> None:
        calls.append(1)
        raise DivergedError("loss is nan in epoch 1")

    for _ in range(2):
        with pytest.raises(DivergedError, match="loss is nan in epoch 1"):
            shared_training(study, "a", diverges)
    assert calls == [1]


def test_whatever_else_ends_it_is_tried_again(study: StudyDir) -> None:
    def dies(folder: Path) -> None:
        (folder / "half").write_text("")
        raise MemoryError

    with pytest.raises(MemoryError):
        shared_training(study, "a", dies)
    seen = []
    shared_training(study, "a", lambda folder: seen.append((folder / "half").exists()))

    assert seen == [True]  # it goes on from what is there


def test_a_damaged_mark_is_one_line(study: StudyDir) -> None:
    folder = shared_training(study, "a", lambda _folder: None)
    (folder / "ended.json").write_text("[]")

    with pytest.raises(StudyError, match="record of a training .*delete it, and --resume"):
        shared_training(study, "a", lambda _folder: None)
