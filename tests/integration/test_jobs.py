"""`ray job submit` against the head that clusters/local.sh starts, as the README tells it."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("ray")  # one cluster at a time

CHECKOUT = Path(__file__).parents[2]
LOCAL = CHECKOUT / "clusters/local.sh"
RAY = Path(sys.executable).with_name("ray")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def sh(*arguments: object, env: dict[str, str], timeout: int = 280):
    return subprocess.run(
        [*map(str, arguments)],
        cwd=CHECKOUT,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("cluster")
    (root / "results").mkdir()
    ports = free_ports(4)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "FFTUNE_VENV": str(Path(sys.executable).parents[1]),
        "FFTUNE_CLUSTER_DIR": str(root / "state"),
        "FFTUNE_STORAGE": str(root / "results"),
        "FFTUNE_RAY_PORT": str(ports[0]),
        "FFTUNE_RAY_DASHBOARD_PORT": str(ports[1]),
        "FFTUNE_RAY_CLIENT_PORT": str(ports[2]),
        "FFTUNE_RAY_AGENT_PORT": str(ports[3]),
        "FFTUNE_RAY_WORKER_PORTS": "24000",
    }


@pytest.fixture(scope="module")
def cluster(settings: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment after `eval "$(clusters/local.sh start)"`."""
    started = sh(LOCAL, "start", env=settings)
    assert started.returncode == 0, started.stderr
    pid = int(Path(settings["FFTUNE_CLUSTER_DIR"], "pid").read_text())
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    exports = dict(re.findall(r"(RAY_\w+)=(\S+)", started.stdout))
    yield {**settings, **exports}
    stopped = sh(LOCAL, "stop", env=settings)
    assert stopped.returncode == 0, stopped.stderr
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def submit(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return sh(RAY, "job", "submit", "--working-dir", ".", "--", *arguments, env=env)


def test_a_sweep_as_a_job(cluster: dict[str, str]) -> None:
    quick = "--trials 2 --base.optimizer.epochs 2 --battery.steps 2"
    done = submit(cluster, *f"python -m fftune.sweep thrm --scale tiny {quick}".split())
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if "thrm-tiny trial" in line]
    assert len(lines) == 2
    assert "trial 2/2 lam" in lines[1]
    assert "once a false friend has touched them" in done.stdout
    study = Path(cluster["FFTUNE_STORAGE"], "studies/thrm-tiny")
    assert (study / "front.json").exists()
    assert (study / "report.html").exists()


def test_the_users_mistake_is_exit_code_2(cluster: dict[str, str]) -> None:
    done = submit(cluster, "python", "-m", "fftune.sweep", "thrn")
    assert done.returncode == 1  # all that the submitting command tells
    assert "fftune: recipe 'thrn' does not exist; did you mean 'thrm'" in done.stdout
    job = re.search(r"raysubmit_\w+", done.stdout)
    assert job
    ask = (
        "from ray.job_submission import JobSubmissionClient as Client;"
        f"print(Client('{cluster['RAY_API_SERVER_ADDRESS']}').get_job_info('{job[0]}').driver_exit_code)"
    )
    assert sh(sys.executable, "-c", ask, env=cluster).stdout.strip() == "2"


def test_nobody_gets_in_without_the_token(cluster: dict[str, str]) -> None:
    stranger = {name: v for name, v in cluster.items() if not name.startswith("RAY_AUTH")}
    stranger["HOME"] = cluster["FFTUNE_CLUSTER_DIR"]  # Ray looks for a token there too
    assert submit(stranger, "python", "--version").returncode != 0
    wrong = {**stranger, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    refused = submit(wrong, "python", "--version")
    assert refused.returncode != 0
    assert re.search("401|403|[Aa]uthenti", refused.stdout + refused.stderr)


def test_the_token_is_private_and_never_printed(cluster: dict[str, str]) -> None:
    state = Path(cluster["FFTUNE_CLUSTER_DIR"])
    token = (state / "token").read_text().strip()
    assert len(token) == 64
    assert (state / "token").stat().st_mode & 0o777 == 0o600
    assert token not in (state / "log").read_text()
    assert token not in sh(LOCAL, "settings", env=cluster).stdout


def test_every_listener_is_on_loopback(cluster: dict[str, str]) -> None:
    pid = int(Path(cluster["FFTUNE_CLUSTER_DIR"], "pid").read_text())
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    places = {
        ip_address(c.laddr.ip.removeprefix("::ffff:"))
        for process in family
        if process.status() != psutil.STATUS_ZOMBIE
        for c in process.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }
    assert places
    assert all(place.is_loopback for place in places), places


def test_a_second_start_and_a_port_in_use(cluster: dict[str, str], tmp_path: Path) -> None:
    again = sh(LOCAL, "start", env=cluster)
    assert again.returncode == 2
    assert "already running" in again.stderr
    elsewhere = sh(LOCAL, "start", env={**cluster, "FFTUNE_CLUSTER_DIR": str(tmp_path)})
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")
    assert elsewhere.stderr.startswith(f"local.sh: port {cluster['FFTUNE_RAY_PORT']} is in use")
