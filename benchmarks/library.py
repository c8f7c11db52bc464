"""Passes that attacks of each library need to find .97 of what those of all libraries find.

    python benchmarks/attacks.py library --models FOLDER [--images 100] [--seeds 0 1 2]
                                         [--records FILE]

One hook around the net counts the rows of every forward and of every backward pass, whoever asks:
a row belongs to the image that it is nearest to. As the hook sees every answer, it also tells after
how many passes an image was first fooled inside the ball. An attack has found an image if the
point that it hands over is inside the ball and fools the untouched net. Such an image costs what
was spent until it was first fooled, any other all that was spent on it: ours and theirs are
alike granted a perfect early end, and the last attack is cut in hindsight. A second figure is of
whole attacks, as they run. A library's attacks are taken in its own best order, in hindsight, too
(next is the one that finds most new images per pass), each on what is left.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from library_attacks import Member, members
from pass_hook import PassHook, fooled
from rivals import THREAT, seconds_used
from torch import Tensor, nn

from fftune.config import Goal

SHARE = 0.97
NETS = ("fastat_small", "natural_small")
GOALS: tuple[Goal, ...] = ("adversarial", "hypocritical")


@dataclass(frozen=True, kw_only=True)
class Record:
    """Run of one attack on all N images of one net and goal."""

    net: str
    goal: Goal
    library: str
    attack: str
    seed: int
    """-1: the attack draws nothing at random, and counts for every seed."""
    ids: list[int]
    found: list[bool]
    first: list[int]
    """Passes up to the first that fooled an image; -1: none has."""
    forwards: list[int]
    backwards: list[int]
    doubtful: int
    """Rows, of all, that might be of another image than they were counted for."""
    seconds: float

    @property
    def key(self) -> tuple[str | int, ...]:
        """Fields that tell runs apart."""
        return self.net, self.goal, self.library, self.attack, self.seed

    @property
    def total(self) -> list[int]:
        """Passes of each image, of both kinds."""
        return [f + b for f, b in zip(self.forwards, self.backwards, strict=True)]

    @property
    def cost(self) -> list[int]:
        """Passes of each image until it was fooled, or all of them."""
        rows = zip(self.found, self.first, self.total, strict=True)
        return [first if found and first >= 0 else total for found, first, total in rows]


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images that one goal attacks on one net: D+ or the mistakes D-."""

    ids: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def of(
        cls, net: nn.Module, batches: Iterator[tuple[Tensor, ...]], goal: Goal, n: int
    ) -> "Images":
        """The first `n` that the net gets right, or wrong for a false friend."""
        ids, x, y = (torch.cat(part) for part in zip(*batches, strict=True))
        with torch.no_grad():
            right = torch.cat([net(part).argmax(1) for part in x.split(256)]) == y
        at = (right if goal == "adversarial" else ~right).nonzero().flatten()[:n]
        return cls(ids=ids[at], x=x[at], y=y[at])


def run(member: Member, net: nn.Module, name: str, images: Images, goal: Goal, seed: int) -> Record:
    """Run an attack on a copy of the images, and judge what it hands over."""
    torch.manual_seed(max(seed, 0))
    hook = PassHook(net, images.x, images.y, goal, THREAT.eps)
    began = seconds_used()
    x_pert = member.run(hook, images.x.clone(), images.y.clone(), images.ids, max(seed, 0)).detach()
    spent = seconds_used() - began
    with torch.no_grad():
        logits = net(x_pert)
    return Record(
        net=name,
        goal=goal,
        library=member.library,
        attack=member.name,
        seed=seed,
        ids=images.ids.tolist(),
        found=fooled(goal, logits, images.x, x_pert, images.y, THREAT.eps).tolist(),
        first=hook.first.tolist(),
        forwards=hook.forwards.tolist(),
        backwards=hook.backwards.tolist(),
        doubtful=hook.doubtful,
        seconds=spent,
    )


@dataclass(frozen=True, kw_only=True)
class Step:
    """An attack in a library's order, and what all up to it have found at which passes."""

    attack: str
    found: int
    passes: int
    """Rows of both kinds, over all images."""


def in_best_order(records: Sequence[Record], enough: float, *, whole: bool = False) -> list[Step]:
    """Attacks by most new images per pass, each on what is left, until `enough` are found.

    The last is the attack, after however many of the others, with which the total is least. Where
    even all attacks find less, all that find something are taken.

    Args:
        whole: count all passes of each attack. Else an image costs what was spent until it was
            fooled, and the last attack is cut where enough are found: no image gets more passes.
    """
    order, every = _greedy(records, whole), _every(records)
    ends = []
    for count in range(len(order)):
        begun = order[:count]
        left = every - _union(begun)
        known = len(every) - len(left)
        if known >= enough:
            break
        ends += [
            _steps([*begun, last], enough, whole)
            for last in records
            if known + len(_new(last, left)) >= enough
        ]
    return min(ends, key=lambda steps: steps[-1].passes, default=_steps(order, enough, whole))


def _greedy(records: Sequence[Record], whole: bool) -> list[Record]:
    """Attacks that find something new, those with most new images per pass first."""
    order: list[Record] = []
    left = _every(records)

    def gain(record: Record) -> tuple[float, str]:
        cost = record.total if whole else record.cost
        return len(_new(record, left)) / max(1, sum(cost[i] for i in left)), record.attack

    while waiting := [record for record in records if _new(record, left)]:
        order.append(max(waiting, key=gain))
        left -= _union(order)
    return order


def _steps(order: Sequence[Record], enough: float, whole: bool) -> list[Step]:
    """Finds and passes after each attack of an order."""
    steps, found, passes, left = [], 0, 0, _every(order)
    for record in order:
        new = _new(record, left)
        if whole:
            passes += sum(record.total[i] for i in left)
        else:
            passes += _until(record, left, new, enough - found)
        found, left = found + len(new), left - new
        steps.append(Step(attack=record.attack, found=found, passes=passes))
    return steps


def _every(records: Sequence[Record]) -> set[int]:
    return set(range(len(records[0].found))) if records else set()


def _new(record: Record, left: set[int]) -> set[int]:
    return {i for i in left if record.found[i]}


def _until(record: Record, left: set[int], new: set[int], missing: float) -> int:
    """Passes on the images that are left, cut where as many as are missing are found."""
    cost = record.cost
    if len(new) < missing:
        return sum(cost[i] for i in left)
    needed = max(1, -int(-missing // 1))
    most = sorted(cost[i] for i in new)[needed - 1]
    return sum(min(cost[i], most) for i in left)


def study(
    nets: Mapping[str, nn.Module],
    batches: Callable[[], Iterator[tuple[Tensor, ...]]],
    count: int,
    seeds: Sequence[int],
    path: Path | None,
    budget: float = 2400,
) -> None:
    """Run every attack that is not yet in the records, seed by seed, and print what they come to.

    Args:
        batches: opens the images.
        count: images of each net and goal.
        path: JSON lines, one a run, which a later call goes on from.
        budget: CPU seconds after which no further attack begins.
    """
    records = _read(path)
    known, missing = {record.key for record in records}, set()
    began = seconds_used()
    for seed in (-1, *seeds):
        for name, net in nets.items():
            for goal in GOALS:
                images = Images.of(net, batches(), goal, count)
                for member in members(goal):
                    key = (name, goal, member.library, member.name, seed)
                    if member.seeded == (seed < 0) or key in known:
                        continue
                    if seconds_used() - began > budget:
                        missing.add(f"{key} was not run: the budget of {budget:.0f} CPU-s is spent")
                        continue
                    records.append(run(member, net, name, images, goal, seed))
                    _say(records[-1], path)
    print(*sorted(missing), sep="\n")
    for name in nets:
        for goal in GOALS:
            print(
                "\n".join(summary([r for r in records if (r.net, r.goal) == (name, goal)], seeds))
            )


def _read(path: Path | None) -> list[Record]:
    if path is None or not path.exists():
        return []
    return [Record(**json.loads(line)) for line in path.read_text().splitlines()]


def _say(record: Record, path: Path | None) -> None:
    n = len(record.found)
    print(
        f"{time.strftime('%H:%M:%S')} {record.net} {record.goal[:4]} {record.library} "
        f"{record.attack} seed {record.seed}: {sum(record.found)} of {n}, "
        f"{sum(record.forwards) / n:.1f} + {sum(record.backwards) / n:.1f} passes an image, "
        f"{sum(record.cost) / n:.1f} until first fooled, {record.seconds:.1f} CPU-s"
        + (f", {record.doubtful} rows in doubt" if record.doubtful else ""),
        flush=True,
    )
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(asdict(record)) + "\n")


def summary(records: Sequence[Record], seeds: Sequence[int]) -> list[str]:
    """Lines on one net and goal: the union, with and without ours, and each library's passes."""
    if not records:
        return []
    n, libraries = len(records[0].found), list(dict.fromkeys(r.library for r in records))
    of = {seed: [r for r in records if r.seed in (-1, seed)] for seed in seeds}
    every = [len(_union(of[seed])) for seed in seeds]
    rivals = [len(_union([r for r in of[seed] if r.library[:4] != "ours"])) for seed in seeds]
    lines = [
        f"{records[0].net}, {records[0].goal}, n = {n}: union of all {_each(every)}, without ours "
        f"{_each(rivals)} (seeds {_each(seeds)})"
    ]
    for library in libraries:
        own = [[r for r in of[seed] if r.library == library] for seed in seeds]
        for whole in (False, True):
            steps = [
                in_best_order(records, SHARE * most, whole=whole)
                for records, most in zip(own, every, strict=True)
            ]
            lines.append(f"  {library:18s}{_told(steps, every, n, whole)}")
    return lines


def _told(steps: Sequence[Sequence[Step]], every: Sequence[int], n: int, whole: bool) -> str:
    """Medians over seeds of what a library reaches, and its order under the first seed."""
    ends = [part[-1] if part else Step(attack="", found=0, passes=0) for part in steps]
    shares = [end.found / most if most else 0.0 for end, most in zip(ends, every, strict=True)]
    passes = [end.passes / n for end in ends]
    verb = "reaches" if all(share >= SHARE for share in shares) else "ends at"
    kind = "whole attacks" if whole else "cut"
    order = " > ".join(f"{step.attack} {step.found}" for step in steps[0])
    return (
        f"{verb} {median(shares):.3f} after {median(passes):8,.1f} passes an image, {kind} "
        f"({_each(passes, ',.1f')}); {order}"
    )


def _union(records: Sequence[Record]) -> set[int]:
    return {i for record in records for i, found in enumerate(record.found) if found}


def _each(values: Sequence[float], form: str = "") -> str:
    return ", ".join(format(value, form) for value in values)
