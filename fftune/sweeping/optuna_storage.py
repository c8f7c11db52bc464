"""Optuna storage of a study: a journal in the study's folder, or the database of `FFTUNE_DB`.

<study>/search.json    names the storage that the study began with, the study's owner id there, and
                       where the folder was

Either way one driver runs at a time: the folder is locked, and a study in a database belongs to
the one folder that began it, by its owner id: the folder may be moved and renamed. Any tool of
Optuna, such as its dashboard, opens the same storage, where a study keeps its first name.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fftune.errors import FftuneError, StorageError, StudyError
from fftune.secrets import redacted
from fftune.storage import locked, may_write, write_text
from fftune.sweeping.optuna_journal import Journal, free_journal, mend_journal
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_records import read_record

log = logging.getLogger(__name__)

JOURNAL, RECORD = "optuna.journal", "search.json"
SEARCH = "record of a search"
MAKERS = 5
"""Drivers that may begin in a new database at once: each makes some of its tables."""
MADE_TWICE = re.compile("already exists|unique|duplicate", re.IGNORECASE)
"""Words of databases for what another driver has made meanwhile."""
OWNER = "fftune.owner"
"""Attribute of a study in a database: the owner id of its folder."""


def open_storage(study: StudyDir, *, mend: bool = True) -> BaseStorage:
    """Open the storage of a study, which may be new.

    Args:
        mend: mend and free the journal; only under the folder's lock, as half a record may be one
            that a driver is writing.

    Raises:
        StorageError: `FFTUNE_DB` cannot be opened, or the journal is damaged.
        StudyError: the study began with another storage.
    """
    here, began = _place(), _record(study).get("storage", JOURNAL)
    if study.begun and here != began:
        raise StudyError(
            f"study {study.config.name!r} began with {_named(began)}, this is {_named(here)}"
        )
    if here == JOURNAL:
        if mend:
            mend_journal(study.path / JOURNAL)
            free_journal(study.path / JOURNAL)
        with _reporting(here, (Exception,)):  # Optuna does not check records
            return JournalStorage(Journal(study.path / JOURNAL))
    with _reporting(here, (Exception,)):  # of drivers, of Optuna's tables
        return _database(os.environ["FFTUNE_DB"])


def _database(url: str) -> RDBStorage:
    """Open a database, and make Optuna's tables in it unless another driver is quicker."""
    # It may drop a connection that is idle for the hours of a trial.
    options = {"pool_pre_ping": True}
    for _ in range(MAKERS):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except SQLAlchemyError as error:
            if not MADE_TWICE.search(str(error)):
                raise
    return RDBStorage(url, engine_kwargs=options)


def open_or_create(
    study: StudyDir, sampler: BaseSampler, objectives: Sequence[str]
) -> optuna.Study:
    """Open the Optuna study, or create it on the first start; its objectives are minimized.

    Raises:
        StorageError: the database does not answer.
        StudyError: it belongs to another folder, is gone, or this folder is a copy.
    """
    storage, here = open_storage(study), _place()
    known = _record(study)
    mine = known if known.get("storage") == here else {"storage": here, "owner": uuid4().hex}
    if here != JOURNAL and (original := _copied_from(study, mine)):
        raise StudyError(
            f"study {study.config.name!r} is a copy of {str(original)!r}, whose search in "
            f"{_named(here)} can go on there alone; use --name"
        )
    write_text(study.path / RECORD, json.dumps(mine | {"folder": str(study.path)}) + "\n")
    with _reporting(here):
        name = _known_as(study, storage, mine.get("owner", ""))
        if study.begun and name is None:
            raise StudyError(
                f"study {study.config.name!r} has trials, but {_named(here)} does not know it"
            )
    name = name or study.config.name
    make = partial(
        optuna.create_study,
        study_name=name,
        storage=storage,
        sampler=sampler,
        directions=["minimize"] * len(objectives),
    )
    with _reporting(here):
        try:
            search = make()
        except DuplicatedStudyError:
            search = make(load_if_exists=True)
            # Without an owner id, the driver died before it wrote one, if it is of this folder.
            owner = search.user_attrs.get(OWNER, mine["owner"] if mine is known else "")
            if here != JOURNAL and owner != mine["owner"]:
                raise StudyError(
                    f"study {name!r} in {_named(here)} belongs to another folder; use --name"
                ) from None
        if here != JOURNAL:
            search.set_user_attr(OWNER, mine["owner"])
    return search


def read_search(study: StudyDir) -> optuna.Study | None:
    """Open the Optuna study of a folder for reading; None if there is none.

    Raises:
        StorageError: its database does not answer.
        StudyError: it is in another storage than `FFTUNE_DB` says.
    """
    if not study.begun or not ({JOURNAL, RECORD} & {path.name for path in study.path.iterdir()}):
        return None
    if _place() == JOURNAL and may_write(study.path):
        with suppress(StudyError), locked(study.path, f"study {study.config.name!r}"):
            mend_journal(study.path / JOURNAL)
    storage = open_storage(study, mend=False)
    with _reporting(_place()):
        owner = _record(study).get("owner", "")
        name = _known_as(study, storage, owner)
        search = optuna.load_study(study_name=name, storage=storage) if name else None
        return search if search and search.user_attrs.get(OWNER, owner) == owner else None


@contextmanager
def answering() -> Iterator[None]:
    """Turn errors of the database during a study into one line.

    Raises:
        StorageError: the database cannot be used.
    """
    with _reporting(_place()):
        yield


def _place() -> str:
    """Name of the storage in records and messages, without a password.

    Raises:
        StorageError: `FFTUNE_DB` is no URL.
    """
    url = os.environ.get("FFTUNE_DB")
    if not url:
        return JOURNAL
    example = "sqlite:////home/me/optuna.db or postgresql://me@host/optuna"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(f"FFTUNE_DB is no database URL, such as {example}") from None
    inside = parsed.database in (None, "", ":memory:") or parsed.query.get("mode") == "memory"
    if parsed.get_backend_name() == "sqlite" and inside:
        raise StorageError(f"FFTUNE_DB {url!r} is lost when the command ends; name {example}")
    return redacted(parsed.render_as_string())


def _known_as(study: StudyDir, storage: BaseStorage, owner: str) -> str | None:
    """Name of the folder's study in its storage, which it keeps when the folder is renamed.

    Returns:
        None where the storage does not know it.
    """
    names = optuna.get_all_study_names(storage)
    if _place() == JOURNAL:
        return names[0] if names else None
    for each in optuna.get_all_study_summaries(storage, include_best_trial=False):
        if owner and each.user_attrs.get(OWNER) == owner:
            return each.study_name
    return study.config.name if study.config.name in names else None


def _copied_from(study: StudyDir, record: Mapping[str, str]) -> Path | None:
    """Folder that this one is a copy of, with one study of a database for both."""
    before = Path(record.get("folder", study.path))
    try:
        elsewhere = not before.samefile(study.path)
        same = read_record(before / RECORD, "owner", what=SEARCH)["owner"] == record["owner"]
    except (OSError, ValueError, StudyError):  # it is gone, or no path: this one was moved
        return None
    return before if elsewhere and same else None


def _named(place: str) -> str:
    return "its journal (without FFTUNE_DB)" if place == JOURNAL else f"FFTUNE_DB {place!r}"


def _record(study: StudyDir) -> dict[str, str]:
    """Contents of `search.json`; studies without one have a journal."""
    path = study.path / RECORD
    known = read_record(path, "storage", what=SEARCH) if path.exists() else {}
    return {name: redacted(str(value)) for name, value in known.items()}  # 0.2.0 kept `?password=`


ERRORS: tuple[type[Exception], ...] = (SQLAlchemyError, StorageInternalError)


@contextmanager
def _reporting(place: str, errors: tuple[type[Exception], ...] = ERRORS) -> Iterator[None]:
    """Turn errors of a database into one line."""
    try:
        yield
    except FftuneError:
        raise
    except errors as error:
        cause = error.__cause__ or error
        reason = next(iter(str(cause).splitlines()), "") or type(cause).__name__
        raise StorageError(f"{_named(place)} cannot be used: {reason}") from error
