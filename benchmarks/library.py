"""Passes that attacks of each library need to find .97 of what those of all libraries find.

    python benchmarks/attacks.py library --models FOLDER [--images 100] [--seeds 0 1 2]
                                         [--records FILE]

One hook around the net counts the rows of every forward and of every backward pass, whoever asks:
a row belongs to the image that it is nearest to. As the hook sees every answer, it also tells after
how many passes an image was first fooled inside the ball. An attack has found an image if the
point that it hands over is inside the ball and fools the untouched net. Such an image costs what
was spent until it was first fooled, any other all that was spent on it: ours and theirs are
alike granted a perfect early end. A library's attacks are taken in its own best order, in
hindsight (next is the one that finds most new images per pass), each on what is left.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from library_attacks import Member, members
from rivals import THREAT, seconds_used
from torch import Tensor, nn

from fftune.attacks import success
from fftune.config import Goal
from fftune.models import inference_copy

SHARE = 0.97
TOLERANCE = 1e-6
DOUBTFUL = 0.9
"""Ratio of the distances to the nearest image and the next above which a row is counted so."""
NETS = ("fastat_small", "natural_small")
GOALS: tuple[Goal, ...] = ("adversarial", "hypocritical")


class PassHook(nn.Module):
    """Net that counts its passes for each image, and notes when an image is first fooled."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, goal: Goal, eps: float) -> None:
        """Watch attacks with this goal on (N, C, H, W) images `x` of (N,) labels `y`.

        They ask an equivalent copy of the net, which is faster; `verdict` is the net itself.
        """
        super().__init__()
        self.verdict, self.net = net, inference_copy(net, "fp32", x[:4])
        self.x, self.y, self.goal, self.eps = x, y, goal, eps
        self.forwards, self.backwards = (torch.zeros(len(x), dtype=torch.int64) for _ in range(2))
        self.first = torch.full((len(x),), -1)
        """(N,) int64, passes of both kinds up to the first that fooled; -1: none has."""
        self.doubtful = 0
        """Rows that lie nearly as near to a second image."""
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        at = self.images(x.detach())
        self.forwards.index_add_(0, at, torch.ones_like(at))
        logits: Tensor = self.net(x)
        won = at[fooled(self.goal, logits.detach(), self.x[at], x.detach(), self.y[at], self.eps)]
        new = won[self.first[won] < 0]
        self.first[new] = self.forwards[new] + self.backwards[new]
        if logits.requires_grad:
            logits.register_hook(lambda _: self._differentiated(at))
        return logits

    def images(self, x: Tensor) -> Tensor:
        """(R,) int64, the image of each row: the nearest in l_2."""
        apart = torch.cdist(x.flatten(1), self.x.flatten(1))
        near = apart.topk(min(2, len(self.x)), largest=False)
        self.doubtful += int((near.values[:, 0] > DOUBTFUL * near.values[:, -1]).sum())
        return near.indices[:, 0]

    def _differentiated(self, at: Tensor) -> None:
        self.backwards.index_add_(0, at, torch.ones_like(at))


def fooled(goal: Goal, logits: Tensor, x: Tensor, x_pert: Tensor, y: Tensor, eps: float) -> Tensor:
    """(R,) bool: the point serves the goal, and lies inside the ball and [0, 1]: one rule for all.

    Args:
        logits: (R, K), the untouched net's at `x_pert`.
    """
    pred = logits.argmax(1)
    pixels = x_pert.flatten(1)
    far = (pixels - x.flatten(1)).abs().amax(1) > eps + TOLERANCE
    outside = (pixels.amin(1) < -TOLERANCE) | (pixels.amax(1) > 1 + TOLERANCE)
    return success(goal, pred, pred, y) & ~far & ~outside


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
        """What tells runs apart."""
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
    """An attack in a library's order, and what all up to it have found and spent."""

    attack: str
    found: int
    passes: int
    """Rows of both kinds, over all images, each until it was first fooled."""
    spent: int
    """The same without any early end but the attack's own."""


def in_best_order(records: Sequence[Record], enough: float) -> list[Step]:
    """Attacks by most new images per pass, each on what is left, until `enough` are found.

    The last of them is cut where that is reached: no image gets more passes than are needed.
    """
    left, waiting = set(range(len(records[0].found) if records else 0)), list(records)
    steps, found, passes, spent = [], 0, 0, 0
    while waiting and left and found < enough:
        best = max(waiting, key=lambda r: (_gain(r, left), r.attack))
        waiting.remove(best)
        new = {i for i in left if best.found[i]}
        if not new:
            continue
        passes += _until(best, left, new, enough - found)
        spent += sum(best.total[i] for i in left)
        found, left = found + len(new), left - new
        steps.append(Step(attack=best.attack, found=found, passes=passes, spent=spent))
    return steps


def _gain(record: Record, left: set[int]) -> float:
    """New images per pass."""
    return sum(record.found[i] for i in left) / max(1, sum(record.cost[i] for i in left))


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
        steps = [
            in_best_order([r for r in of[seed] if r.library == library], SHARE * most)
            for seed, most in zip(seeds, every, strict=True)
        ]
        shares = [s[-1].found / most if s else 0.0 for s, most in zip(steps, every, strict=True)]
        passes = [s[-1].passes / n if s else 0.0 for s in steps]
        spent = [s[-1].spent / n if s else 0.0 for s in steps]
        reached = all(share >= SHARE for share in shares)
        order = " > ".join(f"{step.attack} {step.found}" for step in steps[0])
        lines.append(
            f"  {library:24s}{'reaches' if reached else 'ends at'} {median(shares):.3f} after "
            f"{median(passes):8.1f} passes an image ({_each(passes, '.1f')}), whole attacks "
            f"{median(spent):8.1f}; {order}"
        )
    return lines


def _union(records: Sequence[Record]) -> set[int]:
    return {i for record in records for i, found in enumerate(record.found) if found}


def _each(values: Sequence[float], form: str = "") -> str:
    return ", ".join(format(value, form) for value in values)
