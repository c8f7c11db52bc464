"""Open the MLflow store, and in it the experiment that runs are written to."""

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from fftune.errors import StorageError, first_words
from fftune.storage import in_turn, write_text, write_whole
from fftune.stored_file import advised, read_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# stdout carries results; with a server it would carry a line a run as well.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

# Seven attempts, its default, take four minutes in which a trial stands still.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

# Each try of a call on a full or locked disk would be a traceback; the last is told in one line.
for _noisy in ("mlflow.store.db.utils", "sqlalchemy.pool"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)

log = logging.getLogger(__name__)
DAMAGED = re.compile("malformed|not a database|no such (table|column)")
"""Words of SQLite's for a file that is no database, or not a whole one."""

LOCKED_SECONDS = 5.0
"""Time for which another process may lock a database of ours before that is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Address of one MLflow experiment; plain values that travel to any worker."""

    uri: str
    experiment_id: str
    unsent: Path
    """Directory of calls that could not be sent to the MLflow server."""
    storage: str = ""
    """Id of the storage whose runs these are: others may use the same server, and equal names."""

    @property
    def turn(self) -> Path:
        """Path for `in_turn` while a run takes the place of another."""
        return self.unsent.with_name("mlflow-turn")

    def client(self) -> "MlflowClient":
        """Connect to this store."""
        from mlflow import MlflowClient

        return MlflowClient(self.uri)


def import_client() -> None:
    """Import MLflow, which takes seconds, while a process waits for something else."""
    from mlflow import MlflowClient
    from mlflow.store.tracking import sqlalchemy_store

    del MlflowClient, sqlalchemy_store


def open_tracking(root: Path, experiment: str) -> Tracking:
    """Open the experiment, creating it if needed. The driver calls this before workers start.

    The store is `MLFLOW_TRACKING_URI`, or else a SQLite file in `root`. Processes that open a new
    one at the same time wait for each other, as each would create its tables. A deleted experiment
    is restored, and a storage folder that was moved gets its artifact paths updated; both are
    logged as warnings.

    Raises:
        StorageError: the store does not answer, is damaged, locked or not to be written, or belongs
            to another MLflow version.
    """
    given = None if own_store() else os.environ["MLFLOW_TRACKING_URI"]
    own = root / "mlflow.db"
    uri = given or _url(own)
    artifacts = None if given else (root / "mlflow").as_uri()
    try:
        with in_turn(own):
            if file := sqlite_file(given) if given else own:
                _make_tables(file, artifacts or "mlruns")
                require_database(file)
            experiment_id = _open_experiment(uri, experiment, artifacts)
            if artifacts:
                _follow(own, experiment_id, artifacts)
            storage = _storage_id(root / "storage-id")
    except StorageError:  # of files of ours
        raise
    except Exception as error:  # damaged stores fail by the errors of a dozen libraries
        log.debug("MLflow", exc_info=True)
        cause = _first_cause(error)
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise unanswered(uri, reason) from None
    unsent = root / "mlflow-unsent"
    return Tracking(uri=uri, experiment_id=experiment_id, unsent=unsent, storage=storage)


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what MLflow's server, disk or the way to them do into one line.

    Raises:
        StorageError: the block met it.
    """
    try:
        yield
    except Exception as error:
        if not (isinstance(error, OSError) or is_outage(error)):
            raise
        log.debug("MLflow", exc_info=True)
        raise StorageError(f"MLflow store {uri!r} failed: {first_words(error)}") from error


def is_outage(error: Exception) -> bool:
    """Tell if MLflow did not answer; what it refuses is a defect."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError  # of a database to which MLflow connects

    if isinstance(error, MlflowException):
        return error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
    return isinstance(error, ConnectionError | OperationalError)


def _storage_id(path: Path) -> str:
    """Id of a storage, made on its first use; under a lock."""
    known = read_text(path, "id of a storage").strip() if path.exists() else ""
    if not known:
        known = uuid4().hex
        write_text(path, f"{known}\n")
    return known


def own_store() -> bool:
    """Tell if runs are kept in the storage folder itself, and on no server."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


def _url(database: Path) -> str:
    """URL of a SQLite file, whatever its folder is called.

    Where MLflow sees `sqlite:///` it makes the folder, without decoding the path.
    """
    path = str(database)
    plain = not {"%", "?"} & set(path)
    encoded = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{path}" if plain else f"sqlite+pysqlite:///{encoded}"


def sqlite_file(uri: str) -> Path | None:
    """File of a SQLite URL, which may be given as a `file:` URI; None for other stores."""
    path = uri.removeprefix("sqlite:///").partition("?")[0].removeprefix("file:")
    return Path(unquote(path)) if uri.startswith("sqlite:///") and path else None


def _make_tables(database: Path, artifacts: str) -> None:
    """Make MLflow's tables in a new file, whole or not at all: it cannot go on with half of them.

    Args:
        artifacts: URL of the artifacts' folder of MLflow's own default experiment.
    """
    if database.exists() and database.stat().st_size:
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    def fill(part: Path) -> None:
        journal = part.with_name(f"{part.name}-journal")
        journal.unlink(missing_ok=True)  # a killed process's: SQLite would take it for this file's
        try:
            store: Any = SqlAlchemyStore
            store(_url(part), artifacts).engine.dispose()
        finally:
            journal.unlink(missing_ok=True)

    write_whole(database, fill)


def unanswered(store: str, reason: object) -> StorageError:
    """The error of a store that cannot be opened; of a damaged file it says what to do."""
    line = f"MLflow store {store!r} does not answer: {reason}"
    return StorageError(advised("database", line) if DAMAGED.search(line) else line)


def require_database(path: Path) -> None:
    """Check that a file, which may be new, is a database that can be written.

    MLflow itself would try for minutes, with a traceback each time. SQLite makes files that no
    group may share.

    Raises:
        OSError, sqlite3.Error: it is none, cannot be written, or somebody has locked it.
    """
    with open(path, "ab"):
        pass
    with contextlib.closing(sqlite3.connect(path, timeout=LOCKED_SECONDS)) as database:
        database.execute("PRAGMA schema_version")
        database.execute("BEGIN IMMEDIATE")  # as a writer; others may read, and wait their turn
        database.rollback()


def _open_experiment(uri: str, experiment: str, artifacts: str | None) -> str:
    """Id of an experiment that can be written, created or restored if needed.

    Args:
        artifacts: URL of the artifacts' folder in our own store; None: the server has its own.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        try:
            return str(client.create_experiment(experiment, artifacts))
        except MlflowException:
            found = client.get_experiment_by_name(experiment)
            if found is None:
                raise  # else another storage, on the same server, was first
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        log.warning("MLflow experiment %r was deleted and is restored", experiment)
    return str(found.experiment_id)


def _follow(database: Path, experiment_id: str, artifacts: str) -> None:
    """Have the artifacts of all runs read from where they are now, if the storage was moved."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as open_database:
        ask = "SELECT artifact_location FROM experiments WHERE experiment_id = ?"
        (was,) = open_database.execute(ask, (experiment_id,)).fetchone()
        if not _moved(was, artifacts):
            return
        with open_database:
            _relocate(open_database, was, artifacts)
    log.warning("the storage was moved: MLflow artifacts are now read from %s", artifacts)


def _moved(was: str, now: str) -> bool:
    """Do two artifact URLs name `mlflow` folders of one storage, before and after a move?"""
    if was.rstrip("/") == now.rstrip("/") or not was.startswith("file:"):
        return False
    old, new = (Path(unquote(urlsplit(url).path)) for url in (was, now))
    return old.name == new.name and not (old.exists() and new.exists() and old.samefile(new))


def _relocate(database: sqlite3.Connection, was: str, now: str) -> None:
    """Update the artifact URLs of all experiments and runs; MLflow itself has no call for it."""
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (now, len(was) + 1, was, len(was) + 1, f"{was}/"),
        )


def _first_cause(error: BaseException) -> BaseException:
    """First error of a chain, as in "[Errno 111] Connection refused"."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
