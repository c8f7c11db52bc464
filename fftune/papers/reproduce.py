"""Tables and figures of both papers by their keys: plan, do what is left, build, lay out."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from fftune.config import Backend, Device, Resources
from fftune.data.catalog import opened_once
from fftune.errors import ConfigError, StorageError
from fftune.models import device_of
from fftune.models.equivalence import first_line
from fftune.papers.artifacts import Built
from fftune.papers.declarations import Setup
from fftune.papers.graph.plan import Plan, absent_weights, require_weights
from fftune.papers.graph.schedule import Schedule, Wanted, left, run_inline, wanted
from fftune.papers.pages.pictures import PictureFormat, require_kaleido
from fftune.papers.results import Results
from fftune.papers.tasks import Task, papers_root
from fftune.progress import Progress
from fftune.registry import PAPERS, is_of_file, nearest
from fftune.storage import locked

log = logging.getLogger(__name__)

GROUPS = ("P1", "P2", "all")
"""Keys that stand for several: Tao et al. 2022, Wu et al. 2021, both."""
DAY = 24 * 3600.0
"""Seconds of work from which on a run is warned of."""
WORTH_RAY = 60.0
"""Seconds of work from which on a private Ray, which takes half a minute to start, is repaid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Machines and devices that do the tasks; but for the threads none may change a result."""

    backend: Backend | None = None
    """Default `ray` where an address is named, or where this machine has cores to spare."""
    resources: Resources = field(default_factory=Resources)
    device: Device = "auto"
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Outcome of a call: what its items came to."""

    built: Sequence[Built]
    page: Path
    failed: Sequence[str]
    """A line for every task that failed by itself, and every item that could not be built."""

    def summary(self) -> str:
        """A line an item, and where the page and the tables are."""
        lines = [f"{one.key:8s}{_came_to(one)}" for one in self.built]
        return "\n".join([*lines, f"all tables and figures: {self.page}"])


def keys_of(asked: Iterable[str], only: Sequence[str] = ()) -> list[str]:
    """Keys of items, those of groups among them, each once.

    Args:
        only: keys or patterns, as in `P1.T*`; nothing else is kept.

    Raises:
        ConfigError: there is no such key, or nothing is left.
    """
    keys: dict[str, None] = {}
    for key in asked:
        if key in GROUPS:
            keys |= dict.fromkeys(k for k in PAPERS if key == "all" or k.startswith(f"{key}."))
        elif key in PAPERS or is_of_file(key):
            keys[key] = None
        else:
            known = nearest(key, (*GROUPS, *PAPERS))
            raise ConfigError(f"key {key!r} is no table or figure; {known}")
    kept = [key for key in keys if not only or any(fnmatchcase(key, one) for one in only)]
    if not kept:
        raise ConfigError(f"only {' '.join(only)} leaves nothing of {', '.join(keys)}")
    return kept


def reproduce(
    keys: Sequence[str],
    setup: Setup,
    *,
    root: Path,
    how: How,
    pictures: Sequence[PictureFormat] = (),
    partial: bool = False,
) -> Reproduction:
    """Do what is left of the tasks of some items, and build them.

    Everything is content-addressed below `<root>/papers`: what was done before, by whatever call,
    is not done again, and a call that was interrupted goes on.

    Args:
        pictures: formats in which figures are saved as well.
        partial: go on without published nets whose weights are not here; their rows say so.

    Raises:
        ConfigError: pictures are asked for, and what draws them is not installed.
        DataError: data or weights are absent; the message says which, and where they go.
        StorageError: the disk is too small.
        StudyError: another process is at it.
        ClusterError: the cluster cannot be reached, or can never hold one task.
    """
    if pictures:
        require_kaleido()
    if not partial:
        require_weights(keys, setup)
    elif told := absent_weights(keys, setup):
        log.warning("%s; their rows are empty", told)
    place = papers_root(root)
    with locked(place, f"storage {str(place)!r}"):
        items = wanted(keys, setup)
        reasons = _perform(items, setup, root, how)
        results = Results(setup=setup, root=root, reasons=reasons)
        pages = _Pages(setup=setup, folder=place / setup.scale, pictures=pictures)
        built = [pages.add(_built(one, results)) for one in items]
        page = pages.index()
        _tell_mlflow(built, setup, root)
    failed = [*_failures(built, items, reasons), *pages.undrawn]
    return Reproduction(built=built, page=page, failed=failed)


def _perform(items: Sequence[Wanted], setup: Setup, root: Path, how: How) -> dict[str, str]:
    """Do what is left; return why tasks failed, by their keys."""
    asked = [task for one in items for task in one.asked]
    ahead = left(asked, root)
    if not ahead:
        return {}
    plan = Plan.of(items, setup.scale)
    seconds, total = plan.seconds(), len(plan.tasks)
    backend = how.backend or _backend(how, sum(seconds[task.key] for task in ahead))
    plan.require_data(ahead)
    plan.require_room(ahead, root, at_once=1 if backend == "inline" else _cores())
    _warn_of_days(sum(seconds[task.key] for task in ahead))
    schedule = Schedule(ahead, seconds=seconds)
    done = total - len(ahead)
    with opened_once(), Progress("reproduce", unit="tasks", total=total, done=done) as progress:
        _run(backend, schedule, progress, root, how)
    return schedule.reasons


def _warn_of_days(seconds: float) -> None:
    """Say how long it takes before days of it begin: a scale is soon mistyped."""
    if seconds > DAY:
        log.warning(
            "about %s hours of work for one core or card like those here; see --dry-run",
            f"{seconds / 3600:,.0f}",
        )


def _run(backend: Backend, schedule: Schedule, progress: Progress, root: Path, how: How) -> None:
    if backend == "inline":
        run_inline(schedule, progress, root, device=how.device, threads=how.threads)
        return
    from fftune.papers.graph.on_ray import run_on_ray  # importing Ray takes seconds

    run_on_ray(schedule, progress, root, how.resources, device=how.device, threads=how.threads)


def _backend(how: How, seconds: float) -> Backend:
    """Ray where it was asked for by its address or its GPUs, or where it is faster."""
    resources = how.resources
    if resources.address or os.environ.get("RAY_ADDRESS") or resources.gpus:
        return "ray"
    spare = _cores() > how.threads and device_of(how.device) == "cpu"
    return "ray" if spare and seconds >= WORTH_RAY else "inline"


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _built(one: Wanted, results: Results) -> Built:
    """Build an item; an error of it is the item's own."""
    if one.item is None:
        return Built(key=one.key, title=one.title, error=one.error)
    try:
        artifacts = tuple(one.item.build(results))
    except Exception as error:
        log.debug("%s", one.key, exc_info=True)
        return _failed(Built(key=one.item.key, title=one.title), error)
    exact = not one.asked
    return Built(key=one.item.key, title=one.title, artifacts=artifacts, exact=exact)


def _failed(one: Built, error: Exception) -> Built:
    log.warning("%s cannot be built: %s", one.key, first_line(error))
    return replace(one, artifacts=(), error=first_line(error))


@dataclass(slots=True, kw_only=True)
class _Pages:
    """The pages of items; an error in one, or in its pictures, does not stop the others."""

    setup: Setup
    folder: Path
    pictures: Sequence[PictureFormat]
    undrawn: list[str] = field(default_factory=list)
    """Reason why pictures are missing."""

    def add(self, one: Built) -> Built:
        """Write the page of an item; return it as it is laid out, with the error if there is one.

        Raises:
            StorageError: the disk is full.
        """
        try:
            self._write(one)
        except StorageError:
            raise
        except Exception as error:
            log.debug("%s", one.key, exc_info=True)
            one = _failed(one, error)
            self._write(one)
        return one

    def index(self) -> Path:
        """Write the index of the pages."""
        from fftune.papers.pages.page import write_index

        return write_index(self.folder)

    def _write(self, one: Built) -> None:
        from fftune.papers.pages.page import write_item  # importing plotly takes a second

        try:
            write_item(one, self.setup, self.folder, self.pictures)
        except ConfigError as error:  # nothing draws pictures here, nor those of other items
            self.undrawn.append(str(error))
            self.pictures = ()
            write_item(one, self.setup, self.folder)


def _tell_mlflow(built: Sequence[Built], setup: Setup, root: Path) -> None:
    try:
        log_to_mlflow(built, setup, root)
    except Exception as error:
        log.debug("MLflow", exc_info=True)
        log.warning("MLflow has no record of it: %s", first_line(error))


def log_to_mlflow(built: Sequence[Built], setup: Setup, root: Path) -> None:
    """Log items to MLflow, whose import takes seconds."""
    from fftune.papers.pages.publish import log as published

    published(built, setup, root)


def _failures(
    built: Sequence[Built], items: Sequence[Wanted], reasons: dict[str, str]
) -> list[str]:
    tasks: dict[str, Task] = {task.key: task for one in items for task in one.tasks}
    first = [
        f"{tasks[key].need} ({reason})"
        for key, reason in reasons.items()
        if not any(need.key in reasons for need in tasks[key].needs)
    ]
    return [*first, *(f"{one.key} ({one.error})" for one in built if one.error)]


def _came_to(one: Built) -> str:
    if one.error:
        return f"cannot be built: {one.error}"
    directions = [d for artifact in one.artifacts for d in artifact.directions]
    seen = sum(d.found is True for d in directions)
    told = f"; {seen} of {len(directions)} directions found" if directions else ""
    return f"{one.title}{told}"
