"""State of a search: the rows it still works on, and the best point found for each example.

A row is an example with one job: a restart, or a class to aim at. Decided examples leave the
batch; jobs are packed side by side while the batch has room.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from fftune.attacks.goals import is_toward
from fftune.attacks.iteration import BatchState, answer, some_rows, value_and_gradient, wide
from fftune.attacks.losses import AttackObjective, steps_for_all_classes
from fftune.attacks.query_counter import QueryCounter, clean_logits, index_batch
from fftune.config import AttackConfig, Goal, Loss, Protocol
from fftune.devices import policy
from fftune.errors import DataError
from fftune.keyed_noise import ExampleNoise, JobNoise, Noise
from fftune.threat import start

State = TypeVar("State")
Piece = TypeVar("Piece")
EARLY: tuple[Protocol, ...] = ("first_success", "last_success")
"""Protocols under which what has succeeded is searched no further, x itself tried first."""
_CHECKED: ContextVar[bool] = ContextVar("checked", default=False)


@contextmanager
def checked_before() -> Iterator[None]:
    """Take the range of pixels and labels for checked: looking at them waits for the device."""
    token = _CHECKED.set(True)
    try:
        yield
    finally:
        _CHECKED.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveBatch:
    """Rows under search: their net, inputs, objective and noise."""

    model: nn.Module
    x: Tensor
    aim: AttackObjective
    noise: ExampleNoise
    job: Tensor
    """(R,) int64, the job of each row, counted from 0."""
    jobs: tuple[int, ...] = (0,)
    """The jobs that occur, one after another."""

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: Tensor) -> "ActiveBatch":
        """Return some rows, in the order given; rows may repeat."""
        return ActiveBatch(
            model=index_batch(self.model, rows),
            x=self.x[rows],
            aim=self.aim.select(rows),
            noise=self.noise.select(rows),
            job=self.job[rows],
            jobs=self.jobs,
        )

    @property
    def net(self) -> nn.Module:
        """The net that a recorded step asks: the one inside a `QueryCounter`, which counts by
        `BatchState.counts` then.
        """
        return self.model.model if isinstance(self.model, QueryCounter) else self.model

    @property
    def lenient(self) -> bool:
        """True where a net without gradients counts as one whose gradients are zero."""
        return isinstance(self.model, QueryCounter)

    def ask(self, x_pert: Tensor) -> tuple[Tensor, Tensor]:
        """(R,) bool, goal reached, and (R,) loss at a point; takes no gradient."""
        return answer(self.model, self.aim, x_pert)

    def gradient(self, x_pert: Tensor, step: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """(R,) bool, goal reached, (R,) loss, and (R, C, H, W) gradient to climb at a point."""
        at = value_and_gradient(self.model, self.aim, x_pert, step, lenient=False)
        return at.won, at.loss, at.grad

    def start(self, config: AttackConfig, *branch: str | int) -> Tensor:
        """(R, C, H, W) starting points, keyed by the branch and each row's job and example id."""
        return start(self.x, config, self._keyed(branch))

    def uniform(self, shape: tuple[int, ...], *branch: str | int) -> Tensor:
        """(R, *shape) uniform in [0, 1), keyed by the branch and each row's job and example id."""
        return self._keyed(branch).uniform(shape).to(self.x)

    def _keyed(self, branch: tuple[str | int, ...]) -> JobNoise:
        return self.noise.of_jobs(*branch, jobs=self.jobs, job=self.job - self.jobs[0])

    def count(self, batch: BatchState) -> BatchState:
        """Hand over what the rows have cost, and begin to count anew."""
        if isinstance(self.model, QueryCounter):
            self.model.add(batch.counts)
        return replace(batch, counts=torch.zeros_like(batch.counts))

    def count_queries(self, spent: Tensor) -> None:
        """Hand over (R,) int64 passes without a gradient."""
        if isinstance(self.model, QueryCounter):
            none = torch.zeros_like(spent)
            self.model.add(torch.stack([spent, none, spent, none, none], 1))


@dataclass(slots=True, kw_only=True)
class BestSoFar:
    """Best point of each row: a success before a failure, then the larger score."""

    x: Tensor
    score: Tensor
    won: Tensor
    stop: bool
    """True: an example leaves the search with its first success."""
    copies: int = 1
    """Number of rows of each example: all first rows, then all second ones, and so on."""
    active: Tensor = field(init=False)
    """(A,) int64, the rows that are still searched."""

    def __post_init__(self) -> None:
        self.active = (~self.won).nonzero().flatten() if self.stop else _every(self.won)

    @classmethod
    def nothing(cls, x: Tensor, *, stop: bool, copies: int = 1) -> "BestSoFar":
        """Start a search: x itself, with a score below every other."""
        score = torch.full_like(x[:, 0, 0, 0], -torch.inf)
        return cls(x=x.clone(), score=score, won=score > 0, stop=stop, copies=copies)

    def offer(self, x_pert: Tensor, won: Tensor, score: Tensor) -> Tensor | None:
        """Keep the offered points that are better than what the active rows have.

        Returns:
            (A,) bool, the active rows that the search goes on with; None: all of them.
        """
        at = self.active
        better = torch.where(won == self.won[at], score > self.score[at], won)
        self.x[at] = torch.where(wide(better), x_pert, self.x[at])
        self.score[at] = torch.where(better, score, self.score[at])
        self.won[at] = self.won[at] | won
        if not (self.stop and bool(won.any())):
            return None
        kept = ~self._decided()
        self.active = at[kept]
        return kept

    def write(self, batch: BatchState) -> None:
        """Write down what a batch has found, whose first rows are the active ones."""
        at, count = self.active, len(self.active)
        self.x[at], self.score[at] = batch.x[:count], batch.score[:count]
        self.won[at] = batch.won[:count]

    def remaining(self, batch: BatchState) -> Tensor:
        """(A,) bool, the active rows whose search goes on."""
        going = batch.searched[: len(self.active)]
        return going & ~self._decided() if self.stop else going

    def _decided(self) -> Tensor:
        """(A,) bool, the active rows of examples one of whose rows has succeeded."""
        decided = self.won.view(self.copies, -1).any(0).repeat(self.copies)
        return decided[self.active]

    def keep(self, kept: Tensor) -> None:
        """Go on with some of the active rows, by mask or position."""
        self.active = self.active[kept]

    def merge(self, pack: "BestSoFar", examples: Tensor, *, first: bool = False) -> None:
        """Keep the best of each example's rows in a finished pack, or the first that succeeded."""
        for x, won, score in zip(
            *(values.chunk(pack.copies) for values in (pack.x, pack.won, pack.score)), strict=True
        ):
            self.active = examples
            self.offer(x, won & ~self.won[examples] if first else won, score)
        self.active = (~self.won).nonzero().flatten() if self.stop else _every(self.won)


def run_pieces(
    rows: ActiveBatch,
    found: BestSoFar,
    state: State,
    pieces: Iterable[Piece],
    advance: Callable[[ActiveBatch, State, BatchState, Piece], tuple[State, BatchState]],
    *,
    leaving: bool = True,
) -> None:
    """Advance a batch piece by piece; between two, what is decided is written down and leaves.

    Args:
        state: tensors of R rows, in any structure that torch knows.
        pieces: what `advance` is told, one after another.
        leaving: look between two pieces; False where no row is ever decided before the end.
    """
    device = policy(rows.x.device.type)
    batch = BatchState.begin(rows.x)
    size, every = device.bucket(len(rows)), torch.arange(len(rows), device=rows.x.device)
    if size > len(rows):
        chosen, count = filled(every, size), len(rows)
        rows, (state, batch) = rows.select(chosen), some_rows((state, batch), chosen)
        batch.searched[count:] = False
    for piece in pieces:
        state, batch = advance(rows, state, batch, piece)
        if not leaving or bool(batch.searched[: len(found.active)].all()):
            continue
        found.write(batch)
        batch = rows.count(batch)
        left = found.remaining(batch)
        going = left.nonzero().flatten()
        if not len(going):
            found.keep(going)
            return
        size = device.bucket(len(going))
        if size >= len(rows):
            batch.searched[: len(left)] = left
            continue
        chosen = filled(going, size)
        rows, (state, batch) = rows.select(chosen), some_rows((state, batch), chosen)
        batch.searched[len(going) :] = False
        found.keep(going)
    found.write(batch)
    rows.count(batch)


def filled(rows: Tensor, size: int) -> Tensor:
    """Indices of rows, filled up with the first of them to a batch of this size."""
    return torch.cat([rows, rows[:1].expand(max(size - len(rows), 0))])


def begin(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    config: AttackConfig,
    goal: Goal,
    loss: Loss,
    noise: Noise,
    ids: Tensor,
) -> ActiveBatch:
    """Make one row of each example.

    Raises:
        DataError: pixels lie outside [0, 1], or labels outside the classes.
        ConfigError: the goal has no such loss.
    """
    if not _CHECKED.get():
        _check_pixels(x)
    asks = config.protocol in EARLY or config.targets or goal in ("stability", "label_free")
    clean = clean_logits(model, x) if asks else None
    turns = None if y.dim() == 1 else y
    y = y if turns is None else y[:, 0]
    if not _CHECKED.get():
        _check_labels(y, clean)
    aim = AttackObjective(
        goal=goal,
        loss=loss,
        y=y,
        logits_clean=clean,
        turns=turns,
        every=steps_for_all_classes(turns),
    )
    job = torch.zeros_like(y)
    keyed = ExampleNoise(noise, ids.to(x.device))
    return ActiveBatch(model=model, x=x, aim=aim, noise=keyed, job=job)


def _check_pixels(x: Tensor) -> None:
    if len(x) and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        low, high = float(x.min()), float(x.max())
        raise DataError(f"inputs must lie in [0, 1], got {low:g} to {high:g}")


def _check_labels(y: Tensor, clean: Tensor | None) -> None:
    if len(y) and (int(y.min()) < 0 or (clean is not None and int(y.max()) >= clean.shape[1])):
        raise DataError(f"labels must be classes of the net, got {int(y.min())} to {int(y.max())}")


def run_packed(
    rows: ActiveBatch,
    jobs: int,
    config: AttackConfig,
    search: Callable[[ActiveBatch, BestSoFar], None],
    *,
    nearest: bool = True,
) -> Tensor:
    """(B, C, H, W), the best point of each example over all its jobs.

    An example that has succeeded takes no further job, but for other classes where it is `nearest`;
    under protocols `EARLY`, x itself is tried first. As many jobs as fill a batch go side by side.

    Args:
        nearest: aim at every class, whatever has succeeded, as the nearest success is sought.
    """
    early, last = config.protocol in EARLY, config.protocol == "last_success"
    stop = early or config.restarts > 1 or (jobs > 1 and not nearest)
    found = BestSoFar.nothing(rows.x, stop=stop)
    if early and len(rows):
        assert rows.aim.logits_clean is not None
        clean = rows.aim.logits_clean
        found.offer(rows.x, rows.aim.is_success(clean), rows.aim(clean))
    device, values, done = policy(rows.x.device.type), rows.x[0:1].numel(), 0
    while done < jobs and len(found.active):
        left = found.active
        copies = min(jobs - done, max(1, device.full(values) // len(left)))
        for examples in left.split(device.most(values, len(left))):
            part = _side_by_side(rows, examples, range(done, done + copies))
            pack = BestSoFar.nothing(part.x, stop=early and not last, copies=copies)
            search(part, pack)
            found.merge(pack, examples, first=last or not (early or nearest))
        done += copies
    return found.x


def _side_by_side(rows: ActiveBatch, examples: Tensor, jobs: range) -> ActiveBatch:
    """One row of each example for each job: all first jobs, then all second ones, and so on."""
    job = torch.arange(jobs.start, jobs.stop, device=rows.x.device)
    return replace(
        rows.select(examples.repeat(len(jobs))),
        job=job[:, None].expand(-1, len(examples)).flatten(),
        jobs=tuple(jobs),
    )


def target_count(rows: ActiveBatch, config: AttackConfig) -> int:
    """Number of classes that an adversary aims at: `config.targets`, at most classes - 1."""
    if is_toward(rows.aim.goal) or rows.aim.logits_clean is None:
        return 0
    return min(config.targets, rows.aim.logits_clean.shape[1] - 1)


def label_schedule(rows: ActiveBatch, targets: int) -> ActiveBatch:
    """Aim each row at the class that its job has in the order of the clean logits, `y` left out."""
    if not targets:
        return rows
    clean = rows.aim.logits_clean
    assert clean is not None
    rivals = clean.scatter(1, rows.aim.label[:, None], -torch.inf).topk(targets, dim=1).indices
    target = rivals.gather(1, (rows.job % targets)[:, None]).squeeze(1)
    return replace(rows, aim=replace(rows.aim, target=target))


def _every(like: Tensor) -> Tensor:
    return torch.arange(len(like), device=like.device)
