"""MLflow's store: the experiment that runs are written to, opened or made."""

import contextlib
import logging
import os
import re
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
    """Which MLflow experiment to write to; plain values that travel to any worker."""

    uri: str
    experiment_id: str
    unsent: Path
    """Where is kept what the store missed."""

    def client(self) -> "MlflowClient":
        """A client of this store."""
        from mlflow import MlflowClient

        return MlflowClient(self.uri)


def open_tracking(root: Path, experiment: str) -> Tracking:
    """The experiment, made if need be. The driver does this once, before any worker writes.

    The store is `MLFLOW_TRACKING_URI`, or a sqlite file in `root`: four processes that open
    one fresh sqlite database at once fail, as each tries to create its tables. An experiment in
    MLflow's bin is taken out of it, and artifacts of a storage that was moved are sought where it
    is now; both are said.

    Raises:
        StorageError: the store does not answer, is damaged, or is another MLflow's.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or f"sqlite:///{root / 'mlflow.db'}"
    place = None if named else (root / "mlflow").as_uri()
    try:
        number = _opened(uri, experiment, place)
    except Exception as error:  # damaged stores fail by the errors of a dozen libraries
        log.debug("MLflow", exc_info=True)
        cause = _first_cause(error)
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        told = f"MLflow store {uri!r} does not answer: {reason}"
        raise StorageError(re.sub(r"//([^:/@\s]*):[^@/\s]*@", r"//\1:***@", told)) from None
    return Tracking(uri=uri, experiment_id=number, unsent=root / "mlflow-unsent")


def _opened(uri: str, experiment: str, place: str | None) -> str:
    """The id of an experiment that can be written, made if need be.

    Args:
        place: where artifacts of our own store are.
    """
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return str(client.create_experiment(experiment, place))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        log.warning("MLflow's experiment %r was in its bin and is restored", experiment)
    if place is not None and _moved(found.artifact_location, place):
        _follow(uri, found.artifact_location, place)
        log.warning("this storage was moved: MLflow's artifacts are now sought in %s", place)
    return str(found.experiment_id)


def _moved(was: str, place: str) -> bool:
    """Whether artifacts are sought in the `mlflow` of a folder that is another one now."""
    if was.rstrip("/") == place.rstrip("/") or not was.startswith("file:"):
        return False
    old, new = (Path(unquote(urlsplit(url).path)) for url in (was, place))
    return old.name == new.name and not (old.exists() and new.exists() and old.samefile(new))


def _follow(uri: str, was: str, place: str) -> None:
    """Let a store's experiments and runs name the new place; MLflow itself has no call for it."""
    path = uri.removeprefix("sqlite:///")
    changes = (("experiments", "artifact_location"), ("runs", "artifact_uri"))
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
        for table, column in changes:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (place, len(was) + 1, was, len(was) + 1, f"{was}/"),
            )


def _first_cause(error: BaseException) -> BaseException:
    """What began a chain of errors, as in "[Errno 111] Connection refused"."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
