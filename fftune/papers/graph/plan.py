"""Plan of a run of the papers' items, before anything starts: its time, its disk, its data."""

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import torch

from fftune.config import TrainConfig
from fftune.data.catalog import data_root, open_parts, opened_once
from fftune.errors import DataError, FftuneError, StorageError
from fftune.hardware import Card, CardName, card_of, cards
from fftune.models import device_of
from fftune.papers.declarations import Analysis, Net, Setup, Substandard
from fftune.papers.graph.costs import Cost, cost_of, weights_of
from fftune.papers.graph.schedule import Schedule, Wanted, closure, left
from fftune.papers.scales import config_of, images_of
from fftune.papers.tasks import Task, images_for, nets_of
from fftune.papers.zoo import is_here, missing, zoo_of
from fftune.progress import duration
from fftune.recipes import Scale
from fftune.training.hours import Job, hours_on, source
from fftune.training.phases import phases_of

log = logging.getLogger(__name__)

GB = 1e9
PAGES = 0.15 * GB
"""Bytes of the pages with all tables and figures, roughly."""
START, CALL = 0.3, 0.004
"""Seconds of a task, and of a call of a net, whatever is computed (one core, November 2026)."""
TERA_A_SECOND = {"cpu": 0.05, "cuda": 20.0}
"""Operations a second of one core, and of a card that nobody measured, in units of 10^12."""

SIZES: Mapping[str, str] = {
    "cifar10": "60,000 images, 0.18 GB as `cifar-10-batches-py`",
    "cifar100": "60,000 images, 0.18 GB as `cifar-100-python`",
    "svhn": "99,289 images, 0.25 GB as `train_32x32.mat` and `test_32x32.mat`",
    "tiny-imagenet": "110,000 images, 0.25 GB as its archive unpacks",
    "imagenet": "1,331,167 photographs, 145 GB as `train/CLASS` and `val/CLASS`",
}
"""Published data, how large they are, and the form in which they are found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tasks of what was asked for, with their costs."""

    wanted: Sequence[Wanted]
    scale: Scale
    costs: Mapping[str, Cost]
    """Costs by the keys of the tasks."""

    @classmethod
    def of(cls, wanted: Sequence[Wanted], scale: Scale) -> "Plan":
        """Count the costs of all tasks, those that are done too."""
        tasks = closure(task for one in wanted for task in one.asked)
        return cls(wanted=wanted, scale=scale, costs={t.key: _cost(t) for t in tasks})

    @property
    def tasks(self) -> list[Task]:
        """All tasks, each once, after what it needs."""
        return closure(task for one in self.wanted for task in one.asked)

    def seconds(self) -> dict[str, float]:
        """Rough seconds of each task on the device at hand, by its key."""
        rate = TERA_A_SECOND[device_of("auto")]
        return {
            key: START + CALL * cost.calls + cost.tera / rate for key, cost in self.costs.items()
        }

    def require_data(self, tasks: Sequence[Task]) -> None:
        """Check that the data of tasks are there.

        Raises:
            DataError: which are not, which items need them, where they go, how large they are.
        """
        absent = self.absent(tasks)
        if absent:
            raise DataError("; ".join(absent) + "; FFTUNE_DATA names another folder")

    def absent(self, tasks: Sequence[Task]) -> list[str]:
        """A line for every data set of these tasks that is not there."""
        users: dict[str, list[str]] = {}
        for one in self.wanted:
            keys = {task.key for task in one.tasks}
            for task in tasks:
                for name in _data_of(task) if task.key in keys else ():
                    users.setdefault(name, []).append(one.key)
        found = []
        with opened_once():
            for name, keys_of_it in users.items():
                reason = _why_absent(name)
                if reason:
                    found.append(_absent_line(name, reason, dict.fromkeys(keys_of_it)))
        return found

    def require_room(self, tasks: Sequence[Task], root: Path, *, at_once: int) -> None:
        """Check that the disk has room for what tasks leave.

        Raises:
            StorageError: it has not.
        """
        free, needed = shutil.disk_usage(root).free, self.bytes(tasks, at_once=at_once)
        if tasks and needed > free:
            raise StorageError(
                f"storage {str(root)!r} has {free / GB:.1f} GB free, and the {len(tasks)} tasks "
                f"ahead leave about {needed / GB:.1f} GB; --storage names another folder"
            )

    def bytes(self, tasks: Sequence[Task], *, at_once: int) -> float:
        """Bytes that tasks and the pages leave, and that so many take at once beside."""
        kept = sum(self.costs[task.key].bytes for task in tasks)
        beside = sorted((self.costs[task.key].meanwhile for task in tasks), reverse=True)
        return kept + sum(beside[:at_once]) + PAGES


def require_weights(keys: Sequence[str], setup: Setup) -> None:
    """Check that the weights of the published nets of some tables are there.

    Raises:
        DataError: which are not, where they go, how large they are, and what to do without them.
    """
    if line := absent_weights(keys, setup):
        raise DataError(f"{line}; --zoo names others, --partial leaves their rows empty")


def absent_weights(keys: Sequence[str], setup: Setup) -> str:
    """A line about published nets of these keys whose weights are not there; empty: there are."""
    nets = [net for net in zoo_of(setup.scale, setup.zoo) if {*net.tables} & {*keys}]
    gone = missing(nets)
    if not gone:
        return ""
    size = sum(weights_of(net) for net in nets if not is_here(net)) / GB
    users = [key for key in keys if any(key in net.tables for net in nets)]
    first = ", ".join(gone[:FEW_NETS]) + (", ..." if len(gone) > FEW_NETS else "")
    return (
        f"weights of {len(gone)} published nets (about {size:.1f} GB) are not there: {first}; "
        f"{', '.join(users)} need them"
    )


def _cost(task: Task) -> Cost:
    try:
        return cost_of(task)
    except FftuneError as error:  # which its turn brings too, and then it fails alone
        log.debug("%s: %s", task.need, error)
        return Cost()


def listing(plan: Plan, root: Path) -> str:
    """A line an item: its key, what it is, what it costs on this machine, and its state."""
    seconds = plan.seconds()
    lines = []
    for one in plan.wanted:
        cost = "" if one.error else duration(sum(seconds[task.key] for task in one.tasks))
        state = f"cannot be built: {one.error}" if one.error else _state(one, root)
        lines.append((one.key, cost, state, one.title))
    return _aligned([("key", "about", "state", "what it is"), *lines])


def _state(one: Wanted, root: Path) -> str:
    done = sum(task.is_done(root) for task in one.asked)
    if done == len(one.asked):
        return "built" if one.asked else "needs no task"
    return f"{done} of {len(one.asked)}" if done else "not begun"


def dry_run(plan: Plan, root: Path, on: CardName | None, number: int | None) -> str:
    """Tasks and hours of every item and of all together; nothing of the data has to be there.

    Args:
        on: a card of the table; None is the device at hand.
        number: of cards, or of cores; None: one.
    """
    card = cards()[on] if on else _card_at_hand()
    hours = _hours(plan, card)
    owners = Counter(task.key for one in plan.wanted for task in one.tasks)
    lines: list[tuple[str, ...]] = [(*HEADINGS, "GPU-hours" if card else "hours")]
    for one in plan.wanted:
        if one.error:
            lines.append((one.key, one.error, *[""] * 6))
            continue
        shared = sum(owners[task.key] > 1 for task in one.tasks)
        own = sum(hours[task.key] for task in one.tasks)
        lines.append((one.key, str(len(one.tasks)), str(shared), *_counts(one.tasks), _short(own)))
    tasks = plan.tasks
    every = sum(hours.values())
    lines.append(("together", str(len(tasks)), "", *_counts(tasks), _short(every)))
    saved = sum(len(one.tasks) for one in plan.wanted) - len(tasks)
    return "\n".join([_aligned(lines), *_told(plan, root, card, hours, number or 1, saved)])


def _told(
    plan: Plan,
    root: Path,
    card: Card | None,
    hours: Mapping[str, float],
    number: int,
    saved: int,
) -> list[str]:
    tasks = plan.tasks
    name = card.title if card else ("core" if device_of("auto") == "cpu" else "GPU")
    name += "s" if number > 1 else ""
    ahead = left(tasks, root)
    took, each = makespan(tasks, hours, number), sum(hours.values())
    nets = [task.need for task in tasks if isinstance(task.need, Net)]
    naive = sum(net.kind == "naive" for net in nets)
    told = [
        f"{len(nets) - naive:,} trainings, and {naive:,} nets as they are initialised",
        f"{saved:,} tasks are saved, as items share them; {len(tasks) - len(ahead):,} are done",
        f"about {_short(each)} h on one, {_short(took)} h on {number} {name}; "
        f"{plan.bytes(ahead, at_once=number) / GB:.1f} GB on the disk",
        _source(plan, card),
        *plan.absent(ahead),
    ]
    return [line for line in told if line]


def makespan(tasks: Sequence[Task], hours: Mapping[str, float], places: int) -> float:
    """Hours until the last task ends, if each begins as the graph begins it."""
    schedule = Schedule(tasks, seconds=hours)
    clock, at_work, order = 0.0, list[tuple[float, int, Task]](), count()
    while not schedule.over:
        while len(at_work) < places and (task := schedule.next()) is not None:
            heappush(at_work, (clock + hours[task.key], next(order), task))
        clock, _, ended = heappop(at_work)
        schedule.done(ended, hours[ended.key])
    return clock


def _hours(plan: Plan, card: Card | None) -> dict[str, float]:
    if card is None:
        return {key: seconds / 3600 for key, seconds in plan.seconds().items()}
    return {key: _on_card(cost, card) for key, cost in plan.costs.items()}


def _on_card(cost: Cost, card: Card) -> float:
    jobs = (
        hours_on(card, Job(training=one.training, evaluation=one.evaluation), one.config, one.each)
        for one in cost.loads
    )
    return sum(hours.slow for hours in jobs)


def _source(plan: Plan, card: Card | None) -> str:
    heaviest = max(
        (load for cost in plan.costs.values() for load in cost.loads),
        key=lambda load: load.tera,
        default=None,
    )
    if heaviest is None:
        return ""
    if card is None:
        return "by rough rates of this machine; --on h100 tells the hours on a card"
    return source(card, heaviest.config)


def _card_at_hand() -> Card | None:
    return card_of(torch.cuda.get_device_name()) if device_of("auto") == "cuda" else None


def _counts(tasks: Sequence[Task]) -> list[str]:
    kinds = Counter(task.kind for task in tasks)
    return [f"{kinds[kind]:,}" for kind in ("net", "data", "rows", "analysis")]


def _short(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns; what stands in the last is not padded."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(row.rstrip() for row in rows)


def _data_of(task: Task) -> list[str]:
    """Names of the data sets that a task reads, but for those that other tasks write."""
    need, scale = task.need, task.scale
    if isinstance(need, Net):
        config: TrainConfig = config_of(need, scale)
        phases = [phase.data for phase in phases_of(config) if config.phases]
        return [images_of(need.data, need.model, scale).name, *phases]
    if isinstance(need, Substandard):
        return [images_of(need.data, need.model, scale).name]
    nets = nets_of(need)[:1] if isinstance(need, Analysis) else nets_of(need)
    return [images_for(net, scale).name for net in nets]


def _why_absent(name: str) -> str:
    try:
        open_parts(name)
    except DataError as error:
        return str(error)
    return ""


def _absent_line(name: str, reason: str, keys: Mapping[str, None]) -> str:
    """Say what is absent, who needs it, and where it goes; or what is wrong with what is there."""
    users = ", ".join(keys) if len(keys) <= FEW else f"{', '.join([*keys][:FEW])} and others"
    parent, _, phase = name.partition("-phase")
    if phase:
        made = f"`fftune data write {parent} --phase {phase}` writes it"
        return f"data set {name!r} is not in {str(data_root())!r}; {users} need it; {made}"
    if "is not in" not in reason or name not in SIZES:
        return f"{reason}; {users} need it"
    place = str(data_root() / name)
    return f"data set {name!r} ({SIZES[name]}) is not in {place!r}; {users} need it"


HEADINGS = ("key", "tasks", "shared", "nets", "data", "rows", "analyses")
FEW, FEW_NETS = 6, 2
"""Items that a line names, and nets with their files."""
