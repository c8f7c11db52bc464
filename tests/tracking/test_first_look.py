"""A first look at the MLflow store: by its address, its file and its version, without MLflow."""

import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fftune.errors import StorageError
from fftune.tracking.first_look import require_store
from fftune.tracking.store import open_tracking


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A storage whose store MLflow itself has made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root: Path = tmp_path_factory.mktemp("made")
        open_tracking(root, "e")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(made / "mlflow.db", tmp_path)
    return tmp_path


def refusal(root: Path) -> str:
    with pytest.raises(StorageError) as error:
        require_store(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def set_version(root: Path, version: str) -> None:
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))


def test_a_store_that_opens_is_taken(root: Path, tmp_path_factory) -> None:
    require_store(root)
    require_store(tmp_path_factory.mktemp("new"))


def test_a_store_of_an_older_mlflow_is_told_how_to_go_on(root: Path) -> None:
    set_version(root, "bd07f7e963c5")
    assert "is of an older MLflow; `mlflow db upgrade sqlite:///" in refusal(root)


def test_a_store_of_a_newer_mlflow_is_told(root: Path) -> None:
    set_version(root, "f" * 12)
    assert refusal(root).endswith("is of a newer MLflow than the one installed here")


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"y" * 5000])
def test_a_damaged_store_is_told(root: Path, content: bytes) -> None:
    (root / "mlflow.db").write_bytes(content)
    assert "does not answer: " in refusal(root)


def test_an_empty_file_is_a_store_to_be(root: Path) -> None:
    (root / "mlflow.db").write_bytes(b"")
    require_store(root)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("./mlruns", "keeps no runs in folders"),
        ("file:///tmp/mlruns", "keeps no runs in folders"),
        ("nosuch://x", "knows no store 'nosuch://x'"),
        ("sqlite://", "keeps nothing"),
        ("sqlite:///:memory:", "keeps nothing"),
        ("http://127.0.0.1:99999", "does not answer"),
        ("postgresql://anna:geheim@127.0.0.1:9/x", "does not answer"),
        ("postgresql+psycopg://anna:geheim@127.0.0.1:9/x", "does not answer"),
    ],
)
def test_an_address_of_no_use_is_told(root: Path, monkeypatch, uri: str, told: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    said = refusal(root)
    assert told in said and "geheim" not in said


@pytest.mark.parametrize(
    "uri", ["databricks", "databricks://profile", "postgresql://u@/mlflow?host=/run/mlflow"]
)
def test_an_address_that_no_connection_tells_of_is_left_to_mlflow(
    root: Path, monkeypatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    require_store(root)


def test_a_server_that_takes_a_connection_is_taken(root: Path, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        require_store(root)
    assert re.search("does not answer: .*refused", refusal(root))


def test_a_server_behind_a_proxy_is_not_asked(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.invalid")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    require_store(root)


def test_a_folder_is_taken_where_mlflow_takes_it(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    require_store(root)


def test_mlflow_is_not_imported(root: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from fftune.tracking.first_look import require_store\n"
        f"require_store(Path({str(root)!r}))\n"
        "sys.exit(bool({'mlflow', 'sqlalchemy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
