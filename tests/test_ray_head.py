"""A head that goes away: sockets stand for it, and Ray itself is not needed."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fftune import ray_head
from fftune.errors import ClusterError
from fftune.ray_head import head_watched
from tests.forked import forked


@pytest.fixture
def ray(tmp_path: Path, monkeypatch) -> Iterator[SimpleNamespace]:
    """A head and a raylet that listen, as the arguments of the watch; `left` counts its ends."""
    monkeypatch.setattr(ray_head, "POLL", 0.02)
    monkeypatch.chdir(tmp_path)  # paths of sockets are short
    head, raylet = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    raylet.bind("raylet")
    raylet.listen()
    there = SimpleNamespace(head=head, raylet=raylet, left=[])
    there.at = {
        "head": f"127.0.0.1:{head.getsockname()[1]}",
        "raylet": "raylet",
        "leave": lambda: there.left.append(1),
    }
    # A shell's background job ignores SIGINT, and then nothing interrupts its main thread.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield there
    signal.signal(signal.SIGINT, before)
    head.close()
    raylet.close()


def until(interrupted: threading.Event) -> None:
    """Wait, as Ray's calls do, for what may never come."""
    while not interrupted.wait(0.01):
        pass


def test_a_block_ends_with_one_line_once_the_head_is_gone(ray) -> None:
    with pytest.raises(ClusterError) as told, head_watched(**ray.at, private=True):
        ray.head.close()
        until(threading.Event())
    line = (
        f"Ray's head at {ray.at['head']} is gone (Connection refused); what is finished is kept; "
    )
    assert str(told.value).startswith(line) and "\n" not in str(told.value)
    assert ray.left == [1]


def test_a_raylet_that_ends_is_seen_at_once_whoevers_it_is(ray) -> None:
    with (
        pytest.raises(ClusterError, match="^Ray's raylet on this machine has ended; .* --resume$"),
        head_watched(**ray.at, private=False),
    ):
        ray.raylet.accept()[0].close()
        until(threading.Event())


def test_a_head_that_comes_back_under_its_address_is_waited_for(ray, monkeypatch) -> None:
    """Of a cluster: nobody starts a private one anew."""
    looks: list[bool] = []
    connect = socket.create_connection

    def look(*where, **how):
        looks.append(len(looks) > 20)
        if not looks[-1]:
            raise ConnectionRefusedError
        return connect(*where, **how)

    monkeypatch.setattr(ray_head.socket, "create_connection", look)
    with head_watched(**ray.at, private=False):
        while not any(looks):
            time.sleep(0.01)


def test_what_fails_sooner_than_the_head_was_missed_is_the_same_line(ray, monkeypatch) -> None:
    monkeypatch.setattr(ray_head, "POLL", 60)
    with pytest.raises(ClusterError, match="is gone"), head_watched(**ray.at, private=False):
        ray.head.close()
        raise RuntimeError("the actor died unexpectedly\nand here is why")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_other_errors_stay_as_they_are(ray, error) -> None:
    with pytest.raises(error, match="^its own$"), head_watched(**ray.at, private=True):
        raise error("its own")


def test_the_end_of_a_private_head_at_the_end_of_the_block_is_none(ray) -> None:
    def leave() -> None:
        ray.head.close()
        ray.raylet.accept()[0].close()
        time.sleep(0.2)

    with head_watched(**ray.at | {"leave": leave}, private=True):
        pass


def test_a_block_that_ray_holds_fast_ends_with_the_process(ray, monkeypatch) -> None:
    monkeypatch.setattr(ray_head, "ENDING", 0.05)
    monkeypatch.setattr(ray_head, "interrupt_main", lambda: None)

    def held() -> None:
        with head_watched(**ray.at, private=True):
            ray.raylet.accept()[0].close()
            until(threading.Event())

    done = forked(held)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fftune: Ray's raylet") and done.stderr.count("\n") == 1
