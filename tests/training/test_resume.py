"""A run that was interrupted ends with the weights of one that was not."""

import json
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fftune.config import TrainConfig
from fftune.errors import ModelError, StorageError
from fftune.keyed_noise import GENERATOR
from fftune.models import weights_hash
from fftune.training.snapshots import Snapshots
from fftune.training.step import Stepper
from fftune.training.train import train
from tests.training.tinies import tiny

CONFIG = tiny("thrm", epochs=4, lam=5.0)


class CrashError(Exception):
    """Stands for a crash."""


@pytest.fixture
def crash(monkeypatch):
    """Let training fail before the given step of the whole process."""
    original = Stepper.__call__

    def at(step: int) -> None:
        count = iter(range(10**6))

        def call(self, *args, **kwargs):
            if next(count) == step:
                raise CrashError
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Stepper, "__call__", call)

    yield at
    monkeypatch.undo()


def interrupted(config: TrainConfig, folder: Path, crash, step: int) -> None:
    crash(step)
    with pytest.raises(CrashError):
        train(config, folder=folder, save_seconds=0)


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return weights_hash(train(CONFIG).model)


@pytest.mark.some(1)
@pytest.mark.parametrize("step", [1, 2, 5])
def test_the_weights_are_those_of_a_run_without_a_crash(tmp_path, crash, step, undisturbed) -> None:
    interrupted(CONFIG, tmp_path, crash, step)
    crash(10**5)
    resumed = []
    checkpoint = train(CONFIG, folder=tmp_path, on_resume=resumed.extend)
    assert weights_hash(checkpoint.model) == undisturbed
    assert len(resumed) == step // 2  # two steps an epoch
    assert [epoch.epoch for epoch in checkpoint.history] == [1, 2, 3, 4]
    assert [e.loss for e in checkpoint.history] == [e.loss for e in train(CONFIG).history]


def test_states_that_a_killed_process_left_of_an_ended_run_go(tmp_path) -> None:
    config = tiny(epochs=1)
    train(config, folder=tmp_path)
    left = tmp_path / "states/1-0.pt"
    left.parent.mkdir()
    left.write_bytes(b"state")
    train(config, folder=tmp_path)
    assert not left.parent.exists()


def test_a_truncated_state_is_noticed_and_the_one_before_taken(
    tmp_path, crash, undisturbed, caplog
) -> None:
    interrupted(CONFIG, tmp_path, crash, 5)
    newest = Snapshots(tmp_path / "states").saved()[0]
    path = tmp_path / "states" / newest.file
    path.write_bytes(path.read_bytes()[:-100])
    crash(10**5)
    with caplog.at_level(logging.WARNING):
        checkpoint = train(CONFIG, folder=tmp_path)
    assert f"{newest.file} cannot be used (its checksum is another); going back" in caplog.text
    assert weights_hash(checkpoint.model) == undisturbed


def test_two_states_are_kept_and_a_damaged_list_is_said(tmp_path, crash, caplog) -> None:
    interrupted(CONFIG, tmp_path, crash, 5)
    states = Snapshots(tmp_path / "states")
    assert sorted(p.name for p in states.folder.glob("*.pt")) == ["2-0.pt", "2-1.pt"]
    assert [(s.epoch, s.step) for s in states.saved()] == [(2, 1), (2, 0)]
    (states.folder / "states.json").write_text("[{")
    with caplog.at_level(logging.WARNING):
        assert states.newest() is None
    assert "cannot be listed" in caplog.text


def test_what_a_killed_writer_left_goes_with_the_next_state_and_the_last(tmp_path) -> None:
    states = Snapshots(tmp_path / "states")
    for number in range(2):
        states.folder.mkdir(exist_ok=True)
        (states.folder / f".7-{number}.pt.k1ll3d").touch()
        states.save({"epoch": number}, epoch=number, step=0)
        assert not list(states.folder.glob(".*"))
    (states.folder / ".8-0.pt.k1ll3d").touch()
    states.clear()
    assert not states.folder.exists()
    states.clear()


def test_a_state_of_other_settings_or_other_data_is_refused(tmp_path, crash) -> None:
    interrupted(CONFIG, tmp_path, crash, 3)
    crash(10**5)
    with pytest.raises(ModelError, match="of a run with other settings"):
        train(replace(CONFIG, lam=6.0), folder=tmp_path)
    states = Snapshots(tmp_path / "states")
    state = states.newest()
    assert state is not None
    states.save(state | {"data_hash": "0" * 16}, epoch=9, step=0)
    with pytest.raises(ModelError, match="of a run with other training data"):
        train(CONFIG, folder=tmp_path)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The kernel takes no more of any file, as where a disk is full in the middle of one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("part", [0.5, 0.99])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, crash, undisturbed, part) -> None:
    interrupted(CONFIG, tmp_path, crash, 3)
    crash(10**5)
    before = sorted(tmp_path.rglob("*"))
    size = max(path.stat().st_size for path in before)
    full = r"cannot write .*\.pt': File too large; nothing was left behind$"
    with room_for(int(size * part)), pytest.raises(StorageError, match=full):
        train(CONFIG, folder=tmp_path, save_seconds=0)
    assert sorted(tmp_path.rglob("*")) == before
    assert weights_hash(train(CONFIG, folder=tmp_path).model) == undisturbed


def test_states_elsewhere_outlive_the_run(tmp_path) -> None:
    first = train(CONFIG, folder=tmp_path / "a", states=tmp_path / "states")
    assert json.loads((tmp_path / "states/states.json").read_text())[0]["epoch"] == 4
    epochs = []
    again = train(
        CONFIG,
        folder=tmp_path / "b",
        states=tmp_path / "states",
        on_epoch=lambda epoch, _model: epochs.append(epoch),
    )
    assert not epochs
    assert weights_hash(again.model) == weights_hash(first.model)


def test_dropout_does_not_depend_on_where_a_run_was_interrupted(tmp_path, crash) -> None:
    factory = Path(__file__).with_name("user_net.py")
    config = tiny(epochs=3, model=f"{factory}:dropping")
    expected = weights_hash(train(config).model)
    interrupted(config, tmp_path, crash, 3)
    crash(10**5)
    assert weights_hash(train(config, folder=tmp_path).model) == expected


@pytest.mark.parametrize("file", ["../elsewhere.pt", "/etc/passwd", "a\0b.pt", "", ".."])
def test_states_elsewhere_are_no_states_of_the_run(file: str, tmp_path, caplog) -> None:
    record = {"file": file, "sha256": "0" * 64, "epoch": 1, "step": 0, "generator": GENERATOR}
    (tmp_path / "states.json").write_text(json.dumps([record]))
    assert Snapshots(tmp_path).newest() is None
    assert "cannot be listed: states" in caplog.text and "elsewhere" in caplog.text
