"""What `ray job submit --working-dir .` uploads: Ray's own code packs a tree full of secrets."""

import re
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package

from tests.clusters.files import CHECKOUT, CLUSTERS

WANTED = [
    "fftune/__init__.py",
    "fftune/data/images.py",
    "fftune/training/trainer.py",
    "clusters/token.sh",
    "experiments/2026-11-21-mine.py",
    "my/net.py",
    "my/checkpoint/weights.pt",
    "my/model.json",
    "my/keyed_noise.json",
    "fftune/secrets.py",
    "tokenizer.json",
    "id_map.py",
    "rows.py",
    "identity.json",
]
UNWANTED = [
    ".env",
    ".env.local",
    "my/.env",
    "prod.env",
    "my/aws.pem",
    "tls.key",
    "auth_token",
    "state/token",
    ".netrc",
    ".pgpass",
    ".ssh/id_ed25519",
    "id_rsa",
    ".aws/config",
    ".kube/config",
    ".config/gcloud/key.json",
    "kubeconfig.yaml",
    "credentials.json",
    ".git-credentials",
    ".gitconfig",
    ".pypirc",
    "home/.npmrc",
    ".docker/config.json",
    ".config/pip/pip.conf",
    "pip.conf",
    "kaggle.json",
    ".huggingface/token",
    "gcp-service-account.json",
    "my_service_account_1.json",
    "project-key.json",
    "application_default_credentials.json",
    "aws_credentials_old",
    "id_ecdsa",
    "keys/id_dsa",
    "id_ed25519_sk",
    "id_rsa.bak",
    "secrets.yaml",
    "my/secrets.yml",
    "client_secret_1.json",
    "prod.secret.toml",
    "cert.pfx",
    "cert.p12",
    "store.jks",
    "api_token",
    "x.token",
    ".vault-token",
    ".bash_history",
    "terraform.tfstate",
    "prod.tfvars",
    "aws.mine.yaml",
    "clusters/gcp.mine.yaml",
    "optuna.db",
    "optuna.db-wal",
    "my/x.sqlite3",
    "rows/a.parquet",
    "results/rows/a.parquet",
    "blocks/1.parquet",
    "crafted/1.pt",
    "mlflow-server/postgres/PG_VERSION",
    "mlflow-unsent/1.jsonl",
    ".git/config",
    ".venv/bin/python",
    "data/cifar10/train.png",
    "datasets/x.bin",
    "my/cifar10.beton",
    "mlflow.db",
    "mlruns/0/meta.yaml",
    "mlflow/artifact",
    "studies/thrm/config.json",
    "runs/a/config.json",
    "my/__pycache__/x.pyc",
    "job.log",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in [*WANTED, *UNWANTED]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for name in (".gitignore", ".rayignore"):
        shutil.copy(CHECKOUT / name, root)
    return root


def packed(tree: Path, target: Path) -> set[str]:
    create_package(str(tree), target, include_gitignore=True)
    with zipfile.ZipFile(target) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_secrets_data_and_results_stay_here(tree: Path, tmp_path: Path) -> None:
    assert packed(tree, tmp_path / "sent.zip") == {*WANTED, ".gitignore", ".rayignore"}


def test_it_is_the_ignore_file_that_keeps_them(tree: Path, tmp_path: Path) -> None:
    """FACTS: Ray itself would upload `.env`."""
    (tree / ".rayignore").unlink()
    assert {"auth_token", "my/aws.pem", "mlflow.db"} <= packed(tree, tmp_path / "sent.zip")


def of_docker(pattern: str) -> str:
    """A pattern of .rayignore in Docker's words: there all are anchored, and `**/` is anywhere."""
    anchored = pattern.startswith("/")
    return ("" if anchored else "**/") + pattern.strip("/")


def patterns(path: Path) -> set[str]:
    lines = path.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_an_image_holds_no_more_than_an_upload() -> None:
    kept_here = {of_docker(pattern) for pattern in patterns(CHECKOUT / ".rayignore")}
    assert {"**/.env.*", "**/.ssh", "data", "**/*.db"} <= kept_here
    assert kept_here <= patterns(CLUSTERS / "Dockerfile.dockerignore")


SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|AccountKey=|\b[0-9a-f]{32,}\b"
    r"|(password|passwd|secret|RAY_AUTH_TOKEN)\s*[=:]\s*['\"]?[A-Za-z0-9+/]{8,}",
    re.IGNORECASE,
)


@pytest.mark.parametrize("folder", ["clusters", "dashboards"])
def test_no_secret_is_in_a_file(folder: str) -> None:
    for path in (CHECKOUT / folder).rglob("*"):
        if path.is_file():
            assert not SECRETS.search(path.read_text()), path


@pytest.mark.parametrize(
    "text", ["password: hunter2hunter2", "-----BEGIN RSA PRIVATE KEY", "RAY_AUTH_TOKEN=abcdefgh12"]
)
def test_a_secret_would_be_seen(text: str) -> None:
    assert SECRETS.search(text)


def test_a_token_is_made_once_for_its_owner_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "home/.ray/auth_token"
    script = CLUSTERS / "token.sh"
    env = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    first = subprocess.run([script], env=env, capture_output=True, text=True, check=True)
    token = path.read_text()
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)  # as Ray's own command leaves it
    again = subprocess.run([script], env=env, capture_output=True, text=True, check=True)
    assert path.read_text() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (first.stdout, first.stderr, again.stdout, again.stderr) == ("", "", "", "")
    subprocess.run([script, tmp_path / "other"], env=env, check=True)
    assert (tmp_path / "other").read_text() != token
