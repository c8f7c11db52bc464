"""What an MLflow server has missed: told once, by whoever comes, and never in the way."""

import json
import os
import time
from pathlib import Path
from threading import Barrier, Thread, local

import pytest

from fftune.tracking import outbox, runs
from fftune.tracking.runs import TrackedRun, send_outbox
from fftune.tracking.store import Tracking, open_tracking

REPLAY = runs._replay


class Death(BaseException):
    """Nobody handles it."""


@pytest.fixture
def store(root: Path, monkeypatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_tracking(root, "e")


@pytest.fixture
def unsent(store: Tracking, monkeypatch) -> list[Path]:
    """Files of five runs that were made while the server was away."""

    def nobody(*_: object):
        raise ConnectionError("nobody there")

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_replay", nobody)
        for name in "abcde":
            run = TrackedRun(store, name, tags={"n": name}, params={"p": name})
            run.metrics({"m": 0.5}, 1)
            run.metrics({"m": 0.25}, 2)
            run.end()
    return sorted(store.unsent.glob("*.jsonl"))


def found(store: Tracking) -> list[tuple[str, str, str, float]]:
    """Name, status, parameter and last metric of each run."""
    each = store.client().search_runs([store.experiment_id])
    return sorted(
        (r.info.run_name, r.info.status, r.data.params["p"], r.data.metrics["m"]) for r in each
    )


ALL = [(name, "FINISHED", name, 0.25) for name in "abcde"]


def test_three_senders_at_once_tell_each_run_once(store, unsent, monkeypatch) -> None:
    together, mine, listed = Barrier(3), local(), runs.unsent_files

    def at_once(folder: Path) -> list[Path]:
        files = listed(folder)
        if not hasattr(mine, "seen"):
            mine.seen = files
            together.wait(60)  # all three have seen the five files
        return files

    monkeypatch.setattr(runs, "unsent_files", at_once)
    threads = [Thread(target=send_outbox, args=(store,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(store) == ALL
    assert not list(store.unsent.glob("*.jsonl"))


@pytest.mark.parametrize("call", ["begin", "metrics", "end"])
def test_a_sender_that_dies_tells_no_run_twice(store, unsent, monkeypatch, call: str) -> None:
    def dying(client, where, run, name, arguments):
        run = REPLAY(client, where, run, name, arguments)
        if name == call:
            raise Death
        return run

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_replay", dying)
        with pytest.raises(Death):
            send_outbox(store)
    send_outbox(store)
    assert found(store) == ALL
    (history,) = {
        tuple((m.step, m.value) for m in store.client().get_metric_history(r.info.run_id, "m"))
        for r in store.client().search_runs([store.experiment_id])
    }
    assert history == ((1, 0.5), (2, 0.25))


@pytest.mark.parametrize(
    "content",
    [b"garbage\n", b"\x00\xff\n", b"null\n", b"[]\n", b'{"a": 1}\n', b'[1, 2]\n["end"]\n'],
)
def test_a_damaged_file_is_set_aside_and_the_others_are_sent(
    store, unsent, caplog, content
) -> None:
    (store.unsent / "0-1.jsonl").write_bytes(content)
    send_outbox(store)
    assert found(store) == ALL
    assert [path.name for path in store.unsent.iterdir() if path.suffix != ""] == ["0-1.refused"]
    (warning,) = (r for r in caplog.messages if "cannot take what is kept" in r)
    assert "0-1.refused" in warning and "\n" not in warning
    caplog.clear()
    send_outbox(store)
    assert not caplog.messages  # said once


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_set_aside_and_not_waited_for(store, unsent, make) -> None:
    make(store.unsent / "0-1.jsonl")
    send_outbox(store)
    assert found(store) == ALL
    assert (store.unsent / "0-1.refused").exists()


def test_what_the_server_refuses_for_ever_is_set_aside(store, unsent, caplog, tmp_path) -> None:
    """A run that somebody deleted, one of an experiment that is gone, an artifact that is gone."""
    end = ["end", "FINISHED", 1]
    begin = ["begin", "x", {"n": "x"}, {"p": "x"}, 1]
    stale = {
        "1-1": [["run", "0" * 32], ["metrics", [["m", 1.0, 1, 1]]], end],
        "2-1": [[*begin, "123456"], end],
        "3-1": [begin, ["metrics", [["m", 1.0, 1, 1]]], ["file", str(tmp_path / "gone")], end],
        "4-1": [["discard", {"n": "a"}]],  # of an older version: nothing is deleted for it
    }
    for name, calls in stale.items():
        lines = "".join(json.dumps(call) + "\n" for call in calls)
        (store.unsent / f"{name}.jsonl").write_text(lines)
    send_outbox(store)
    aside = sorted(path.name for path in store.unsent.glob("*.refused"))
    assert aside == ["1-1.refused", "2-1.refused", "3-1.refused"]
    assert found(store) == [*ALL, ("x", "FINISHED", "x", 1.0)]  # without its artifact
    assert not list(store.unsent.glob("*.jsonl"))


def test_runs_are_sent_to_the_experiment_that_they_were_made_in(store, unsent, root: Path) -> None:
    other = open_tracking(root, "another")
    send_outbox(other)
    assert found(other) == [] and found(store) == ALL


def test_a_run_that_was_abandoned_is_sent_as_far_as_it_came(store, unsent) -> None:
    first = unsent[0]
    first.write_text("".join(first.read_text().splitlines(keepends=True)[:-1]))
    long_ago = time.time() - 2 * outbox.ABANDONED_SECONDS
    os.utime(first, (long_ago, long_ago))
    send_outbox(store)
    assert [status for _, status, *_ in found(store)] == ["RUNNING", *["FINISHED"] * 4]


def test_whoever_opens_an_experiment_sends_what_was_kept() -> None:
    """There is one way to open it outside of the room itself, and it sends."""
    package = Path(runs.__file__).parents[1]
    elsewhere = [path for path in package.rglob("*.py") if path.parent.name != "tracking"]
    texts = {path: path.read_text(encoding="utf-8") for path in elsewhere}
    assert [path for path, text in texts.items() if "open_tracking" in text] == []
    assert sum("open_to_write" in text for text in texts.values()) == 6
