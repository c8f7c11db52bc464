"""Ray's own lines: in the log, and on no stream of the command's."""

import logging
import os
import sys

import pytest

from fftune.cli.streams import streams
from fftune.ray_lines import rays_lines_logged, worker
from tests.forked import forked

pytestmark = pytest.mark.xdist_group("ray")  # imported once
RAYS = logging.getLogger("ray")


def speak() -> None:
    """Say something as Ray's nodes do, on stdout, and as its Python does, with a traceback."""
    told = {"lines": ["Raylet is terminated."], "pid": "raylet", "is_err": False}
    worker.print_to_stdstream(told, ignore_prefix=False)
    try:
        raise RuntimeError("why")
    except RuntimeError:
        RAYS.error("Trial task failed", exc_info=True)


def command() -> None:
    with streams():
        with rays_lines_logged():
            speak()
            os.write(2, b"[2026 E 1 2] rpc_client.h:204: Failed to connect\n*** Aborted at\n")
            print("ours", file=sys.stderr)
        os.write(2, b"C++ is heard again\n")


def test_a_command_says_nothing_of_rays() -> None:
    done = forked(command)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "ours\nC++ is heard again\n"


def test_all_of_it_is_in_the_log(caplog) -> None:
    caplog.set_level("DEBUG", "fftune.ray_lines")
    before = RAYS.handlers[:], worker.print_worker_logs
    with rays_lines_logged():
        speak()
    assert caplog.messages[:3] == [
        "Ray: Raylet is terminated.",
        "Ray: Trial task failed",
        "Ray: Traceback (most recent call last):",
    ]
    assert (RAYS.handlers, worker.print_worker_logs) == before
