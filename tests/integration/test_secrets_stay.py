"""Canaries in place of every password: nothing that a command prints or leaves behind has one."""

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.forked import Ended, module
from tests.integration.test_jobs import CHECKOUT, asked, cluster, settings_in, submit, token_of

__all__ = ["cluster"]
MARK = "4711"
"""In every secret, and never beside its word in this file, which a job uploads."""
SECRETS = {
    "FFTUNE_DB": f"canary-db-{MARK}!",
    "MLFLOW_TRACKING_URI": f"canary-mlflow-{MARK}",
    "MLFLOW_TRACKING_PASSWORD": f"canary-mlpassword-{MARK}",
    "MLFLOW_TRACKING_TOKEN": f"canary-mltoken-{MARK}",
    "HTTP_PROXY": f"canary-http-{MARK}/@",
    "https_proxy": f"canary-https-{MARK}",
    "AWS_SECRET_ACCESS_KEY": f"canary/aws+{MARK}=",
    "AWS_SESSION_TOKEN": f"canary-session-{MARK}",
    "AZURE_STORAGE_CONNECTION_STRING": f"canary-azure-{MARK}",
    "PGPASSWORD": f"canary-pg-{MARK}",
    "HF_TOKEN": f"canary-hf-{MARK}",
    "MY_API_KEY": f"canary-key-{MARK}",
}
PLACES = {
    "FFTUNE_DB": "sqlite:///file:{root}/optuna.db?uri=true&password={secret}",
    "MLFLOW_TRACKING_URI": "sqlite:///file:{root}/tables.db?uri=true&password={secret}",
    "HTTP_PROXY": "http://me:{secret}@127.0.0.1:9",
    "https_proxy": "http://me:{secret}@127.0.0.1:9/",
    "AZURE_STORAGE_CONNECTION_STRING": "Protocol=https;AccountName=me;AccountKey={secret};x=y",
}
QUICK = (
    *("--trials", "1", "--base.optimizer.epochs", "1", "--battery.steps", "1"),
    *("--battery.examples", "20", "--backend", "inline"),
)


def planted(root: Path) -> dict[str, str]:
    """Variables of the environment, with a canary in each."""
    at = {name: quote(s, safe="") if name in PLACES else s for name, s in SECRETS.items()}
    return {
        name: PLACES.get(name, "{secret}").format(root=root, secret=secret)
        for name, secret in at.items()
    } | {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def seen(content: bytes) -> set[str]:
    """Names of the secrets that a text betrays, plain or as headers and addresses spell them."""
    found = set()
    for name, secret in SECRETS.items():
        spelled = {secret, quote(secret, safe=""), quote(secret)}
        spelled |= {base64.b64encode(f"me:{secret}".encode()).decode()}
        if any(way.encode() in content for way in spelled):
            found.add(name)
    return found


def left_in(root: Path) -> dict[str, set[str]]:
    """Secrets in files below a folder, and in their names."""
    files = {p: p.read_bytes() + str(p).encode() for p in root.rglob("*") if p.is_file()}
    assert files
    betrayed = {str(path): seen(content) for path, content in files.items()}
    return {path: names for path, names in betrayed.items() if names}


@pytest.fixture
def root(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage, and an environment full of canaries."""
    shutil.copy(empty_mlflow, tmp_path / "tables.db")
    for name, value in planted(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FFTUNE_STORAGE", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(done: Ended) -> str:
    return done.stdout + done.stderr


def test_a_canary_would_be_seen(root: Path) -> None:
    assert seen(repr(dict(os.environ)).encode()) == SECRETS.keys()
    (root / "x").write_text(f"https://me:{SECRETS['https_proxy']}@host")
    assert left_in(root) == {str(root / "x"): {"https_proxy"}}


def test_a_sweep_its_report_and_an_evaluation(root: Path) -> None:
    loud = ("--log-level", "debug")
    studied = module("fftune.sweep", "thrm", *QUICK, *loud)
    assert studied.returncode == 0, told(studied)
    served = r"after: (\S+/)?mlflow ui --backend-store-uri"  # an address of the store
    assert re.search(served, studied.stdout)
    reported = module("fftune.report", "thrm-tiny", *loud)
    few = ("--battery.examples", "10", "--battery.steps", "1")
    evaluated = module("fftune.evaluate", "thrm-tiny", *few, *loud)
    for done in (studied, reported, evaluated):
        assert done.returncode == 0, told(done)
        assert seen(told(done).encode()) == set()
    assert (root / "optuna.db").exists() and (root / "tables.db").exists()
    assert left_in(root) == {}


@pytest.fixture
def ray_temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder for a private Ray, whose paths are short."""
    place = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    yield place
    shutil.rmtree(place)


ON_RAY = (*QUICK[:-1], "ray")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("ray")
def test_a_sweep_on_a_private_ray(root: Path, ray_temp: Path) -> None:
    """Ray's own logs, and what it keeps of the driver, of tasks and of actors."""
    command = [sys.executable, "-m", "fftune.sweep", "thrm", *ON_RAY, "--log-level", "debug"]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, env=env, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen(done.stdout + done.stderr) == set()
    assert len(list(ray_temp.rglob("*.log"))) > 3
    assert {**left_in(ray_temp), **left_in(root)} == {}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a head that is full of canaries: a job's is the same."""
    root = tmp_path_factory.mktemp("cluster")
    return settings_in(root) | planted(root / "results")


TOLD = (
    *(
        "/api/jobs/",
        "/api/v0/tasks?detail=1",
        "/api/v0/actors?detail=1",
        "/api/v0/workers?detail=1",
    ),
    *("/api/v0/runtime_envs?detail=1", "/api/v0/nodes?detail=1", "/nodes?view=summary"),
    *("/logical/actors", "/events", "/api/cluster_metadata"),
)
"""What the dashboard's pages ask the head."""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("ray")
def test_a_job_and_the_heads_dashboard(settings: dict[str, str], cluster: dict[str, str]) -> None:
    quick = ("--trials", "1", "--base.optimizer.epochs", "1", "--battery.steps", "1")
    done = submit(cluster, "python", "-m", "fftune.sweep", "thrm", *quick, "--log-level", "debug")
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen((done.stdout + done.stderr).encode()) == set()
    answers = {path: asked(cluster, path, token=token_of(cluster)) for path in TOLD}
    assert answers["/api/jobs/"][0] == 200 and "fftune.sweep" in str(answers["/api/jobs/"][1])
    assert {path: seen(str(told).encode()) for path, told in answers.items()} == {
        path: set() for path in TOLD
    }
    ray = Path(cluster["FFTUNE_CLUSTER_DIR"], "temp").read_text().strip()
    assert left_in(Path(ray)) == {}
    assert left_in(Path(cluster["FFTUNE_CLUSTER_DIR"]).parent) == {}
