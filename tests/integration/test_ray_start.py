"""A private Ray that does not start, or is interrupted: one line, and none of Ray's own."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests import patience

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(1500)]

CHECKOUT = Path(__file__).parents[2]
JOIN = """
import os, signal, sys
from fftune.cli.options import run
from fftune.config import Resources

def join(_):
    from fftune.ray_cluster import cluster  # before Ray, whose start it sets
    change_all()
    with cluster(Resources()):
        print("joined")

join.__module__ = "fftune.cli.sweep"  # a verb's
def stop(node):
    (raylet,) = node.all_processes["raylet"]
    os.kill(raylet.process.pid, signal.SIGSTOP)
    print(raylet.process.pid, flush=True)

def stopping_before(connect):
    def stopped(*values, **settings):
        stop(ray._private.worker._global_node)
        return connect(*values, **settings)
    return stopped

def stopping_after(last_step):
    def stopped(node):
        last_step(node)
        stop(node)
    return stopped

def change_all():
    global ray
    import ray
    from ray._private import node, services
    for change in sys.argv[1:]:
        name, _, program = change.partition("=")
        if change == "stop=started":
            node.Node._record_stats = stopping_after(node.Node._record_stats)
        elif change == "stop=connecting":
            ray._raylet.CoreWorker = stopping_before(ray._raylet.CoreWorker)
        else:
            assert hasattr(services, name)
            setattr(services, name, program)

run(join, [])
"""
WAIT = {"RAY_raylet_start_wait_time_s": "3", "RAY_gcs_server_request_timeout_seconds": "3"}
STARTS = {
    "a raylet that hangs": ("RAYLET_EXECUTABLE={}", "The current node timed out during startup"),
    "a raylet that ends": ("RAYLET_EXECUTABLE=/bin/false", "The current node timed out"),
    "a head that ends": ("GCS_SERVER_EXECUTABLE=/bin/false", ""),
    "a head that hangs": ("GCS_SERVER_EXECUTABLE={}", ""),
}


def begin(*replaced: str, **env: str) -> subprocess.Popen[str]:
    """The start of a command on a private Ray."""
    program = [sys.executable, "-c", JOIN, *replaced]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        program, cwd=CHECKOUT, env={**os.environ, **patience.RAY, **env}, **pipes
    )


def require_one_line(stderr: str, line: str) -> None:
    """It was said that Ray starts, and how that ended; lines that break a silence aside."""
    told = [line for line in stderr.splitlines() if not re.search(" s (so far$|after: )", line)]
    assert len(told) == 2 and told[0].endswith("Ray: starting on this machine"), stderr
    assert re.fullmatch(line, told[1]), stderr


@pytest.mark.parametrize("kind", STARTS)
def test_a_ray_that_does_not_start_is_one_line(kind: str, tmp_path: Path) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)
    replaced, reason = STARTS[kind]
    command = begin(replaced.format(hanging), **WAIT)
    stdout, stderr = command.communicate()
    assert (command.returncode, stdout) == (2, ""), stderr
    require_one_line(stderr, f"fftune: cluster 'local' cannot be reached: {reason}.*")


def test_a_long_temporary_folder_is_no_hindrance(tmp_path: Path) -> None:
    """As batch systems have them: Ray's sockets are in `/tmp` then."""
    place = tmp_path / ("a-folder-of-a-batch-system-" * 4)
    place.mkdir()
    command = begin(TMPDIR=str(place), RAY_TMPDIR="")
    assert command.communicate()[0] == "joined\n" and command.returncode == 0


MOMENTS = [("", 0.0), ("gcs_server", 0.0), ("raylet/raylet", 0.0), ("log_monitor.py", 0.0)]
"""Words in the command of a part of Ray that is there, and seconds after it came."""
LATER = [("log_monitor.py", seconds) for seconds in (1.0, 2.0, 4.0, 8.0)]
"""When this process connects."""


@pytest.mark.parametrize(("part", "seconds"), [*MOMENTS, *LATER])
def test_sigterm_while_ray_starts_is_an_interruption(part: str, seconds: float) -> None:
    """At whatever moment: Ray sets handlers of its own meanwhile, of Python and of C++."""
    command = begin()
    assert command.stderr is not None
    first = ""
    while not first.endswith("Ray: starting on this machine\n"):
        first = command.stderr.readline()
        assert first, "it ended before"
    while part not in " ".join(commands_of(command.pid)):
        time.sleep(0.01)
    time.sleep(seconds)
    command.send_signal(signal.SIGTERM)
    stdout, stderr = command.communicate()
    if stdout:  # it was quicker
        assert command.returncode in (0, 130, -signal.SIGTERM), stderr  # the last: at its end
        return
    assert command.returncode == 130, stderr
    require_one_line(first + stderr, "fftune: interrupted; the same command with --resume goes on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_while_ray_connects_is_an_interruption(number: int, times: int) -> None:
    """However long that takes: Ray's C++ has Python's lock then, and had an alarm of 3 seconds."""
    command = begin("stop=connecting")
    assert command.stdout is not None
    raylet = int(command.stdout.readline())
    for _ in range(times):
        time.sleep(4)
        command.send_signal(number)
    time.sleep(4)
    assert command.poll() is None
    os.kill(raylet, signal.SIGCONT)
    stdout, stderr = command.communicate()
    assert (command.returncode, stdout) == (130, ""), stderr
    require_one_line(stderr, "fftune: interrupted; the same command with --resume goes on")


def test_a_raylet_that_falls_silent_is_one_line() -> None:
    """It has registered with the head, and hangs when this process is about to join it."""
    command = begin("stop=started", RAY_gcs_server_request_timeout_seconds="5")
    stdout, stderr = command.communicate()
    assert command.returncode == 2 and stdout.strip().isdecimal(), stderr
    reason = r"raylet 127\.0\.0\.1:\d+ of this node has not answered for 5 seconds"
    require_one_line(stderr, f"fftune: cluster 'local' cannot be reached: {reason}")


def test_a_ray_that_may_not_be_waited_for_joins_or_is_one_line() -> None:
    command = begin(RAY_raylet_start_wait_time_s="0")
    stdout, stderr = command.communicate()
    if command.returncode == 0:
        assert stdout == "joined\n"
    else:
        assert (command.returncode, stdout) == (2, ""), stderr
        require_one_line(stderr, "fftune: cluster 'local' cannot be reached: .*")


def test_what_ray_starts_hears_signals() -> None:
    """No process of it inherits a mask of ours."""
    command = begin("stop=connecting")
    assert command.stdout is not None
    raylet = int(command.stdout.readline())
    masks = {one.pid: blocked(one.pid) for one in psutil.Process(command.pid).children(True)}
    os.kill(raylet, signal.SIGCONT)
    assert command.communicate()[0] == "joined\n"
    assert len(masks) > 4 and not any(masks.values()), masks


def blocked(pid: int) -> bool:
    """Does a process block SIGTERM? Ray itself blocks SIGINT in what it starts."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False
    mask = re.search(r"^SigBlk:\s*(\w+)$", status, re.M)
    assert mask is not None
    return bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


def commands_of(pid: int) -> list[str]:
    """Command lines of the children of a process."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            found += child.cmdline()
    return found
