"""A first look at the MLflow store, in milliseconds: what is of no use is told before any work."""

import contextlib
import os
import re
import socket
import sqlite3
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import getproxies, proxy_bypass

from fftune.errors import StorageError
from fftune.storage import may_write
from fftune.stored_file import read_text, require_plain_file
from fftune.tracking.store import require_database, sqlite_file, unanswered

DATABASES = {"mysql": 3306, "mssql": 1433, "postgresql": 5432}
"""Kinds of servers that MLflow opens through SQLAlchemy, and their usual ports."""
SERVERS = {"http": 80, "https": 443}
MANAGED = ("databricks", "databricks-uc", "uc")
"""Stores whose address is none of a network's."""
CONNECT_SECONDS = 5.0
"""Longest wait for a server to take a connection."""


def require_store(root: Path) -> None:
    """Refuse an MLflow store that cannot be opened, without MLflow, whose import takes seconds.

    What is well here can still be refused by MLflow itself, which `open_tracking` asks while the
    work begins.

    Args:
        root: storage folder, whose `mlflow.db` is the store unless `MLFLOW_TRACKING_URI` is set.

    Raises:
        StorageError: the store is of no kind that MLflow knows, is a folder of its old file store,
            a damaged database or another version's, or a server that takes no connection.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    file = sqlite_file(uri) if uri else root / "mlflow.db"
    file = None if file == Path(":memory:") else file
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if file is not None:
        _look_at_file(file, own=not uri)
    elif uri in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        raise StorageError(
            f"MLFLOW_TRACKING_URI: {uri!r} keeps nothing; name a file: sqlite:///FILE"
        )
    elif scheme in ("", "file") and uri not in MANAGED:
        _look_at_folder(uri)
    elif scheme in {**SERVERS, **DATABASES}:
        _knock(uri, {**SERVERS, **DATABASES}[scheme])
    elif not {scheme, uri} & {"sqlite", *MANAGED, *_plugins()}:
        known = ", ".join(sorted(["sqlite", *SERVERS, *DATABASES]))
        raise StorageError(f"MLFLOW_TRACKING_URI: MLflow knows no store {uri!r}; kinds: {known}")


def _look_at_file(file: Path, *, own: bool) -> None:
    """Refuse a file that is no database that can be written, or has another version's tables."""
    try:
        require_plain_file(file)
    except StorageError as error:
        raise StorageError(f"MLflow store: {error}") from None
    if not file.exists() or not file.stat().st_size or (own and not may_write(file.parent)):
        return
    try:
        require_database(file)
        found = _revision(file)
    except (OSError, sqlite3.Error) as error:
        raise unanswered(str(file), error) from error
    newest, known = _revisions()
    if not found or not newest or found == newest:
        return
    if found in known:
        how = f"`mlflow db upgrade sqlite:///{file}` brings it to this one's, after a copy of it"
        raise StorageError(f"MLflow store {str(file)!r} is of an older MLflow; {how}")
    raise StorageError(
        f"MLflow store {str(file)!r} is of a newer MLflow than the one installed here"
    )


def _revision(file: Path) -> str:
    """Version of a store's tables; empty where it has none yet."""
    ask = "SELECT version_num FROM alembic_version"
    with contextlib.closing(sqlite3.connect(file)) as database:
        try:
            row = database.execute(ask).fetchone()
        except sqlite3.OperationalError:
            return ""
    return str(row[0]) if row else ""


def _revisions() -> tuple[str, set[str]]:
    """Newest version of tables that the installed MLflow makes, and all that came before.

    Read off its migrations, each of which names the one it follows; empty where they are no more.
    """
    spec = find_spec("mlflow")
    places = spec.submodule_search_locations if spec else None
    folder = Path(next(iter(places), "")) / "store/db_migrations/versions" if places else Path()
    texts = [read_text(path, "migration of MLflow") for path in folder.glob("*.py") if places]
    each = [dict(re.findall(r'^(down_revision|revision)\b.*?= "(\w+)"', t, re.M)) for t in texts]
    known = {names["revision"] for names in each if "revision" in names}
    last = known - {names.get("down_revision", "") for names in each}
    return (last.pop(), known) if len(last) == 1 else ("", known)


def _look_at_folder(uri: str) -> None:
    """Refuse a folder, which MLflow itself refuses unless it is told otherwise."""
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
        raise StorageError(
            f"MLFLOW_TRACKING_URI: MLflow keeps no runs in folders as {uri!r} any more; name a "
            "database as sqlite:///FILE, or set MLFLOW_ALLOW_FILE_STORE=true"
        )


def _knock(uri: str, usual: int) -> None:
    """Refuse a server that takes no connection; one behind a proxy or a socket is not asked."""
    parts = urlsplit(uri)
    host = parts.hostname or ""
    proxied = parts.scheme in getproxies() and not proxy_bypass(host)
    if (
        not host
        or "," in parts.netloc
        or proxied
        or {"host", "service"} & set(parse_qs(parts.query))
    ):
        return
    try:
        socket.create_connection((host, parts.port or usual), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise unanswered(uri, error) from error


def _plugins() -> set[str]:
    """Kinds of stores that installed packages bring along."""
    return {point.name for point in entry_points(group="mlflow.tracking_store")}
