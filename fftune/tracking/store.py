"""Open the MLflow store, and in it the experiment that runs are written to."""

import contextlib
import logging
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from fftune.errors import StorageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# stdout carries results; with a server it would carry a line a run as well.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

# Seven attempts, its default, take four minutes in which a trial stands still.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Address of one MLflow experiment; plain values that travel to any worker."""

    uri: str
    experiment_id: str
    unsent: Path
    """Directory of calls that could not be sent to the MLflow server."""

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

    The store is `MLFLOW_TRACKING_URI`, or else a SQLite file in `root`. (Processes that open one
    fresh SQLite database at the same time fail, since each tries to create its tables.) A deleted
    experiment is restored, and a storage folder that was moved gets its artifact paths updated;
    both are logged as warnings.

    Raises:
        StorageError: the store does not answer, is damaged, or belongs to another MLflow version.
    """
    given = None if own_store() else os.environ["MLFLOW_TRACKING_URI"]
    uri = given or f"sqlite:///{root / 'mlflow.db'}"
    artifacts = None if given else (root / "mlflow").as_uri()
    try:
        if not given:
            # With the mode of other files, which SQLite's own has not: a group may share it.
            (root / "mlflow.db").touch(0o666)
        experiment_id = _open_experiment(uri, experiment, artifacts)
    except Exception as error:  # damaged stores fail by the errors of a dozen libraries
        log.debug("MLflow", exc_info=True)
        cause = _first_cause(error)
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise StorageError(f"MLflow store {uri!r} does not answer: {reason}") from None
    return Tracking(uri=uri, experiment_id=experiment_id, unsent=root / "mlflow-unsent")


def own_store() -> bool:
    """Tell if runs are kept in the storage folder itself, and on no server."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


def _open_experiment(uri: str, experiment: str, artifacts: str | None) -> str:
    """Id of an experiment that can be written, created or restored if needed.

    Args:
        artifacts: URL of the artifacts' folder in our own store; None: the server has its own.
    """
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return str(client.create_experiment(experiment, artifacts))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        log.warning("MLflow experiment %r was deleted and is restored", experiment)
    if artifacts is not None and _moved(found.artifact_location, artifacts):
        _relocate(uri, found.artifact_location, artifacts)
        log.warning("the storage was moved: MLflow artifacts are now read from %s", artifacts)
    return str(found.experiment_id)


def _moved(was: str, now: str) -> bool:
    """Do two artifact URLs name `mlflow` folders of one storage, before and after a move?"""
    if was.rstrip("/") == now.rstrip("/") or not was.startswith("file:"):
        return False
    old, new = (Path(unquote(urlsplit(url).path)) for url in (was, now))
    return old.name == new.name and not (old.exists() and new.exists() and old.samefile(new))


def _relocate(uri: str, was: str, now: str) -> None:
    """Update the artifact URLs of all experiments and runs; MLflow itself has no call for it."""
    path = uri.removeprefix("sqlite:///")
    changes = (("experiments", "artifact_location"), ("runs", "artifact_uri"))
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
        for table, column in changes:
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
