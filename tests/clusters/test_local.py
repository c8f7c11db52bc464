"""clusters/local.sh ends the head that it started and nobody else; the head here is an actor's."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clusters.files import CLUSTERS
from tests.patience import first_of_free, free_ports

RAY = """#!/usr/bin/env python3
import glob, os, socket, sys, time
if "TAKEN" in os.environ:  # as Ray's agent does without its port, and stays alive
    session = sys.argv[sys.argv.index("--temp-dir") + 1] + "/session_latest"
    os.makedirs(session + "/sockets")
    while not (told := glob.glob(session + "/dashboard_agent_listen_port_*")):
        time.sleep(0.1)
    while not os.path.getsize(told[0]):
        time.sleep(0.1)
    open(told[0], "w").write("-1")
    time.sleep(600)
flags = ("--dashboard-port", "--dashboard-agent-listen-port")
ports = [sys.argv[sys.argv.index(flag) + 1] for flag in flags]
open_ = [socket.create_server(("127.0.0.1", int(port))) for port in ports]
time.sleep(600)
"""
"""It listens where the head would."""


def run(what: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = CLUSTERS / "local.sh"
    return subprocess.run([script, what], env=env, capture_output=True, text=True)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    ray = tmp_path / "venv/bin/ray"
    ray.parent.mkdir(parents=True)
    ray.write_text(RAY)
    ray.chmod(0o755)
    ray.with_name("python").symlink_to(sys.executable)
    (tmp_path / "state").mkdir()
    names = ("", "_DASHBOARD", "_CLIENT", "_AGENT")
    numbers = [*free_ports(3), first_of_free(4)]
    ports = {f"FFTUNE_RAY{name}_PORT": str(p) for name, p in zip(names, numbers, strict=True)}
    return ports | {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "FFTUNE_VENV": str(tmp_path / "venv"),
        "FFTUNE_CLUSTER_DIR": str(tmp_path / "state"),
        "FFTUNE_RAY_CPUS": "1",
    }


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_the_head_is_ended(env: dict[str, str], tmp_path: Path) -> None:
    started = run("start", env)
    assert started.returncode == 0, started.stderr
    head = psutil.Process(int((tmp_path / "state/pid").read_text()))
    ray = Path((tmp_path / "state/temp").read_text().strip())
    assert ray.name == "ray"  # which Ray opens to every user, while its parent is ours
    assert stat.S_IMODE(ray.parent.stat().st_mode) == 0o700
    assert head.cmdline()[head.cmdline().index("--temp-dir") + 1] == str(ray)
    again = run("start", env)
    assert again.stderr == f"local.sh: already running (pid {head.pid}); stop it first\n"
    assert run("stop", env).stderr == ""
    assert not ray.parent.exists()
    assert not head.is_running() or head.status() == psutil.STATUS_ZOMBIE
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["log", "token"]
    assert run("stop", env).stderr == "local.sh: not running\n"


@pytest.mark.parametrize(
    ("name", "after"),
    [("", 0), ("_DASHBOARD", 0), ("_CLIENT", 0), *(("_AGENT", after) for after in range(4))],
)
def test_a_port_in_use_is_one_line(env: dict[str, str], name: str, after: int) -> None:
    """Also by a connection, which does not listen: Ray would wait for it, or have no agent."""
    port = int(env[f"FFTUNE_RAY{name}_PORT"]) + after
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", port))
        started = run("start", env)
    assert (started.returncode, started.stdout) == (2, "")
    wanted = f"local.sh: port {port} is in use; choose another (see the head of this file)\n"
    assert started.stderr == wanted


@pytest.mark.parametrize(
    ("name", "port"),
    [
        *(("PORT", port) for port in ("0", "06391", "99999", "-1", "6391.5", "auto")),
        *(("AGENT_PORT", port) for port in ("08", "99999", "65533", "auto")),
        ("WORKER_PORTS", "auto"),
    ],
)
def test_what_is_no_port_is_one_line(env: dict[str, str], name: str, port: str) -> None:
    started = run("start", env | {f"FFTUNE_RAY_{name}": port})
    assert (started.returncode, started.stdout) == (2, "")
    none = int(port) + 3 if port == "65533" else port
    wanted = f"local.sh: port {none} is none; choose another (see the head of this file)\n"
    assert started.stderr == wanted


def test_a_port_taken_while_the_head_starts_ends_it(env: dict[str, str], tmp_path: Path) -> None:
    started = run("start", env | {"TAKEN": ""})
    assert (started.returncode, started.stdout) == (2, "")
    assert started.stderr == (
        f"local.sh: port {env['FFTUNE_RAY_AGENT_PORT']} was taken while the head started; start it "
        "again, or choose another (see the head of this file)\n"
    )
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["log", "token"]


def test_a_stranger_who_got_the_heads_number_is_left_alone(
    env: dict[str, str], tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    """As after a crash, when the machine has counted on."""
    (tmp_path / "state/pid").write_text(f"{stranger.pid}\n")
    (tmp_path / "state/temp").write_text(f"{tmp_path}/fftune-ray.1\n")
    stopped = run("stop", env)
    assert (stopped.returncode, stopped.stderr) == (0, "local.sh: not running\n")
    assert stranger.poll() is None
    assert run("start", env).returncode == 0  # the number says nothing of a head
    assert run("stop", env).stderr == ""
    assert stranger.poll() is None
