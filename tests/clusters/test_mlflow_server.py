"""clusters/mlflow.sh: MLflow's server on a PostgreSQL of its own, which listens on no port."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clusters.files import CLUSTERS
from tests.patience import free_ports

SCRIPT = CLUSTERS / "mlflow.sh"
INSTALLED = any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb")
PROGRAMS = Path(sys.executable).parent


def run(what: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, what], env=env, capture_output=True, text=True)


def test_your_own_server_is_used_and_none_started(tmp_path: Path) -> None:
    env = {"MLFLOW_TRACKING_URI": "https://mlflow.example.org", "PATH": os.environ["PATH"]}
    done = run("start", {**env, "FFTUNE_STORAGE": str(tmp_path)})
    assert (done.returncode, done.stdout) == (0, "https://mlflow.example.org\n")
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {"PATH": os.environ["PATH"], "FFTUNE_STORAGE": str(tmp_path)}
        done = run("start", {**env, "FFTUNE_MLFLOW_PORT": port})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"mlflow.sh: port {port} is in use; choose another with FFTUNE_MLFLOW_PORT\n"
    )
    done = run("strat", env)
    assert (done.returncode, done.stderr) == (
        2,
        "mlflow.sh: usage: clusters/mlflow.sh start|run|stop\n",
    )


def test_a_stranger_who_got_the_servers_number_is_left_alone(tmp_path: Path) -> None:
    """As after a crash, when the machine has counted on."""
    place = tmp_path / f"fftune-mlflow-{os.getuid()}-5001"
    place.mkdir()
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (place / "pid").write_text(f"{stranger.pid}\n")
    env = {
        "PATH": os.environ["PATH"],
        "XDG_RUNTIME_DIR": str(tmp_path),
        "FFTUNE_STORAGE": str(tmp_path / "storage"),
        "FFTUNE_MLFLOW_PORT": "5001",
    }
    try:
        assert run("stop", env).returncode == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert not place.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("prepared", ["mkdir -m 777 {0} && echo 1 > {0}/pid", "ln -s /tmp {0}"])
@pytest.mark.parametrize("what", ["start", "run", "stop"])
def test_a_folder_that_another_user_has_prepared_is_not_taken(what: str, prepared: str) -> None:
    """Whoever owns the folder of PostgreSQL's socket is its superuser."""
    root = Path(tempfile.mkdtemp(prefix="fftune-mlflow-"))
    root.chmod(0o1777)
    (port,) = free_ports(1)
    place = root / f"fftune-mlflow-0-{port}"
    other = {"user": 65534, "group": 65534, "extra_groups": []}
    subprocess.run(["sh", "-c", prepared.format(place)], check=True, cwd="/", **other)
    before = place.lstat()
    env = {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(root),
        "FFTUNE_STORAGE": str(root / "storage"),
        "FFTUNE_MLFLOW_PORT": str(port),
    }
    try:
        done = run(what, env)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"mlflow.sh: '{place}' is not a folder of yours; ")
        assert done.stderr.count("\n") == 1
        assert (place.lstat().st_uid, place.lstat().st_mode) == (before.st_uid, before.st_mode)
        assert not (root / "storage/mlflow-server").exists()
    finally:
        shutil.rmtree(root)


@pytest.fixture
def server() -> Iterator[dict[str, str]]:
    """The environment of a head.

    Run by root, the script becomes `postgres`, who must get there: not into pytest's own folders.
    """
    root = Path(tempfile.mkdtemp(prefix="fftune-mlflow-"))
    root.chmod(0o755)
    (port,) = free_ports(1)
    env = {
        "PATH": f"{PROGRAMS}:/usr/bin:/bin",
        "HOME": str(root),
        "XDG_RUNTIME_DIR": str(root),
        "FFTUNE_STORAGE": str(root / "storage"),
        "FFTUNE_MLFLOW_HOST": "127.0.0.1",
        "FFTUNE_MLFLOW_ADDRESS": "127.0.0.1",
        "FFTUNE_MLFLOW_PORT": str(port),
        "FFTUNE_MLFLOW_START_SECONDS": "1200",
    }
    yield env
    stopped = run("stop", env)
    assert stopped.returncode == 0, stopped.stderr
    shutil.rmtree(root)


@pytest.mark.slow  # MLflow makes its tables
@pytest.mark.skipif(not INSTALLED, reason="PostgreSQL is not installed (package 'postgresql')")
def test_runs_survive_the_server(server: dict[str, str]) -> None:
    started = run("start", server)
    assert started.returncode == 0, started.stderr
    uri = started.stdout.strip()
    assert uri == f"http://127.0.0.1:{server['FFTUNE_MLFLOW_PORT']}"
    assert run("start", server).stdout.strip() == uri  # it runs already
    assert_only_mlflow_listens(server)

    from mlflow import MlflowClient

    run_id = MlflowClient(uri).create_run("0").info.run_id
    MlflowClient(uri).log_metric(run_id, "risk", 0.25)
    MlflowClient(uri).log_text(run_id, "page", "report.html")
    assert run("stop", server).returncode == 0
    assert run("start", server).stdout.strip() == uri
    assert MlflowClient(uri).get_run(run_id).data.metrics == {"risk": 0.25}
    assert [a.path for a in MlflowClient(uri).list_artifacts(run_id)] == ["report.html"]


def assert_only_mlflow_listens(env: dict[str, str]) -> None:
    """Of all that was started: the server's port, and PostgreSQL's socket in a private folder."""
    tables = Path(env["FFTUNE_STORAGE"], "mlflow-server/postgres")
    postmaster = psutil.Process(int((tables / "postmaster.pid").read_text().split()[0]))
    assert [c for c in postmaster.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []
    (folder,) = Path(env["XDG_RUNTIME_DIR"]).glob("fftune-mlflow-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert tables.stat().st_mode & 0o777 == 0o700
