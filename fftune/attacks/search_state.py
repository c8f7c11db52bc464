"""State of a search: the rows it still works on, and the best point found for each example.

A row is an example with one job: a restart, or a class to aim at. Decided examples leave the
batch; jobs are packed side by side while the batch has room.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fftune.attacks.goals import is_toward
from fftune.attacks.losses import AttackObjective
from fftune.attacks.query_counter import clean_logits, index_batch
from fftune.config import AttackConfig, Goal, Loss
from fftune.errors import DataError, ModelError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start

WIDTH = 128
"""Number of rows of a full batch on a CPU; wider ones are hardly faster for each example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveBatch:
    """Rows under search: their net, inputs, objective and noise."""

    model: nn.Module
    x: Tensor
    aim: AttackObjective
    noise: ExampleNoise
    job: Tensor
    """(R,) int64, the job of each row, counted from 0."""

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
        )

    def ask(self, x_pert: Tensor) -> tuple[Tensor, Tensor]:
        """(R,) bool, goal reached, and (R,) loss at a point; takes no gradient."""
        with torch.no_grad():
            logits: Tensor = self.model(x_pert)
            return self.aim.is_success(logits), self.aim(logits)

    def gradient(self, x_pert: Tensor, step: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """(R,) bool, goal reached, (R,) loss, and (R, C, H, W) gradient to climb at a point."""
        x_pert = x_pert.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self.model(x_pert)
            loss = self.aim(logits)
            climbed = loss if self.aim.turns is None else self.aim.at(step)(logits)
            grad = slope(climbed.sum(), x_pert)
        return self.aim.is_success(logits.detach()), loss.detach(), grad

    def start(self, config: AttackConfig, *branch: str | int) -> Tensor:
        """(R, C, H, W) starting points, keyed by the branch and each row's job and example id."""
        x_pert = torch.empty_like(self.x)
        for job in self.job.unique().tolist():
            at = self.job == job
            x_pert[at] = start(self.x[at], config, self.noise.fold(*branch, job).select(at))
        return x_pert

    def uniform(self, shape: tuple[int, ...], *branch: str | int) -> Tensor:
        """(R, *shape) uniform in [0, 1), keyed by the branch and each row's job and example id."""
        drawn = self.x.new_empty(len(self), *shape)
        for job in self.job.unique().tolist():
            at = self.job == job
            drawn[at] = self.noise.fold(*branch, job).select(at).uniform(shape).to(self.x)
        return drawn


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
        tie = won == self.won[at]
        better = torch.where(tie, score > self.score[at], won)
        taken = at[better]
        self.x[taken], self.score[taken] = x_pert[better], score[better]
        self.won[taken] = won[better]
        if not (self.stop and bool(won.any())):
            return None
        decided = self.won.view(self.copies, -1).any(0).repeat(self.copies)
        kept = ~decided[at]
        self.active = at[kept]
        return kept

    def keep(self, kept: Tensor) -> None:
        """Drop the active rows that are False in `kept`, (A,) bool."""
        self.active = self.active[kept]

    def merge(self, pack: "BestSoFar", examples: Tensor) -> None:
        """Keep the best of each example's rows in a finished pack."""
        for x, won, score in zip(
            *(values.chunk(pack.copies) for values in (pack.x, pack.won, pack.score)), strict=True
        ):
            self.active = examples
            self.offer(x, won, score)
        self.active = (~self.won).nonzero().flatten() if self.stop else _every(self.won)


def slope(value: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
    """Gradient of a value at x.

    Args:
        keep: keep autograd's graph, for other values.

    Raises:
        ModelError: the value does not depend on x by differentiable operations.
    """
    grad = None
    if value.requires_grad:
        (grad,) = torch.autograd.grad(value, x, allow_unused=True, retain_graph=keep)
    if grad is None:
        raise ModelError("net has no input gradients that a search could follow")
    return grad


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
    if len(x) and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        low, high = float(x.min()), float(x.max())
        raise DataError(f"inputs must lie in [0, 1], got {low:g} to {high:g}")
    asks = config.protocol == "strong" or config.targets or goal in ("stability", "label_free")
    clean = clean_logits(model, x) if asks else None
    turns = None if y.dim() == 1 else y
    y = y if turns is None else y[:, 0]
    if len(y) and (int(y.min()) < 0 or (clean is not None and int(y.max()) >= clean.shape[1])):
        raise DataError(f"labels must be classes of the net, got {int(y.min())} to {int(y.max())}")
    aim = AttackObjective(goal=goal, loss=loss, y=y, logits_clean=clean, turns=turns)
    job = torch.zeros_like(y)
    return ActiveBatch(model=model, x=x, aim=aim, noise=ExampleNoise(noise, ids), job=job)


def run_packed(
    rows: ActiveBatch,
    jobs: int,
    config: AttackConfig,
    search: Callable[[ActiveBatch, BestSoFar], None],
) -> Tensor:
    """(B, C, H, W), the best point of each example over all its jobs.

    An example that has succeeded takes no further restart, and under `strong` no further job at
    all; there, x itself is tried first. Jobs are searched side by side, as many as fill a batch.
    """
    strong = config.protocol == "strong"
    found = BestSoFar.nothing(rows.x, stop=strong or config.restarts > 1)
    if strong and len(rows):
        assert rows.aim.logits_clean is not None
        clean = rows.aim.logits_clean
        found.offer(rows.x, rows.aim.is_success(clean), rows.aim(clean))
    done = 0
    while done < jobs and len(found.active):
        examples = found.active
        copies = min(jobs - done, max(1, WIDTH // len(examples)))
        job = done + torch.arange(copies, device=rows.x.device)
        part = replace(
            rows.select(examples.repeat(copies)), job=job.repeat_interleave(len(examples))
        )
        pack = BestSoFar.nothing(part.x, stop=strong, copies=copies)
        search(part, pack)
        found.merge(pack, examples)
        done += copies
    return found.x


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
