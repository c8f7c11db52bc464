"""Canaries in place of every password: nothing that a command prints or leaves behind has one."""

import base64
import os
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.forked import Ended, module

SECRETS = {
    "FFTUNE_DB": "canary-db-4711!",
    "MLFLOW_TRACKING_URI": "canary-mlflow-4711",
    "MLFLOW_TRACKING_PASSWORD": "canary-mlpassword-4711",
    "MLFLOW_TRACKING_TOKEN": "canary-mltoken-4711",
    "HTTP_PROXY": "canary-http-4711/@",
    "https_proxy": "canary-https-4711",
    "AWS_SECRET_ACCESS_KEY": "canary/aws+4711=",
    "AWS_SESSION_TOKEN": "canary-session-4711",
    "AZURE_STORAGE_CONNECTION_STRING": "canary-azure-4711",
    "PGPASSWORD": "canary-pg-4711",
    "HF_TOKEN": "canary-hf-4711",
    "MY_API_KEY": "canary-key-4711",
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
    }


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
    (root / "x").write_text("https://me:canary-https-4711@host")
    assert left_in(root) == {str(root / "x"): {"https_proxy"}}


def test_a_sweep_its_report_and_an_evaluation(root: Path) -> None:
    loud = ("--log-level", "debug")
    studied = module("fftune.sweep", "thrm", *QUICK, *loud)
    assert studied.returncode == 0, told(studied)
    assert "after: mlflow ui --backend-store-uri" in studied.stdout  # an address of the store
    reported = module("fftune.report", "thrm-tiny", *loud)
    few = ("--battery.examples", "10", "--battery.steps", "1")
    evaluated = module("fftune.evaluate", "thrm-tiny", *few, *loud)
    for done in (studied, reported, evaluated):
        assert done.returncode == 0, told(done)
        assert seen(told(done).encode()) == set()
    assert (root / "optuna.db").exists() and (root / "tables.db").exists()
    assert left_in(root) == {}
