"""The rows that a search still works on, and the best point it has found for each example.

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
from fftune.keyed_noise import Noise
from fftune.threat import start

WIDTH = 128
"""Rows that make a full batch on a CPU; wider ones are hardly faster an example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveBatch:
    """Rows under search: their net, inputs, aims and ids."""

    model: nn.Module
    x: Tensor
    aim: AttackObjective
    ids: Tensor
    job: Tensor
    """(R,) int64, counted from 0."""

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: Tensor) -> "ActiveBatch":
        """Some rows, in the order given; rows may repeat."""
        return ActiveBatch(
            model=index_batch(self.model, rows),
            x=self.x[rows],
            aim=self.aim.select(rows),
            ids=self.ids[rows.cpu()],
            job=self.job[rows],
        )

    def ask(self, x_pert: Tensor) -> tuple[Tensor, Tensor]:
        """(R,) bool and (R,): is the goal reached, and the loss. Takes no gradient."""
        with torch.no_grad():
            logits: Tensor = self.model(x_pert)
            return self.aim.is_success(logits), self.aim(logits)

    def gradient(self, x_pert: Tensor, step: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """(R,) bool, (R,) and (R, C, H, W): goal reached, the loss, and the gradient to climb."""
        x_pert = x_pert.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self.model(x_pert)
            loss = self.aim(logits)
            climbed = loss if self.aim.turns is None else self.aim.at(step)(logits)
            grad = slope(climbed.sum(), x_pert)
        return self.aim.is_success(logits.detach()), loss.detach(), grad

    def start(self, config: AttackConfig, noise: Noise) -> Tensor:
        """(R, C, H, W): where each row begins, keyed by its job and its example's id."""
        x_pert = torch.empty_like(self.x)
        for job in self.job.unique().tolist():
            at = self.job == job
            x_pert[at] = start(self.x[at], config, noise.fold(job), self.ids[at.cpu()])
        return x_pert

    def uniform(self, noise: Noise, shape: tuple[int, ...]) -> Tensor:
        """(R, *shape) in [0, 1), keyed likewise."""
        drawn = self.x.new_empty(len(self), *shape)
        for job in self.job.unique().tolist():
            at = self.job == job
            drawn[at] = noise.fold(job).uniform(self.ids[at.cpu()], shape).to(self.x)
        return drawn


@dataclass(slots=True, kw_only=True)
class BestSoFar:
    """The best point of each row: a success before a failure, then the larger score."""

    x: Tensor
    score: Tensor
    won: Tensor
    stop: bool
    """Whether an example leaves the search with its first success."""
    copies: int = 1
    """Rows an example: all first rows, then all second ones, and so on."""
    active: Tensor = field(init=False)
    """(A,) int64: the rows that are still searched."""

    def __post_init__(self) -> None:
        self.active = (~self.won).nonzero().flatten() if self.stop else _every(self.won)

    @classmethod
    def nothing(cls, x: Tensor, *, stop: bool, copies: int = 1) -> "BestSoFar":
        """Before the search: x itself, which is as good as nothing."""
        score = torch.full_like(x[:, 0, 0, 0], -torch.inf)
        return cls(x=x.clone(), score=score, won=score > 0, stop=stop, copies=copies)

    def offer(self, x_pert: Tensor, won: Tensor, score: Tensor) -> Tensor | None:
        """Take what is better for the active rows than what they have.

        Returns:
            (A,) bool: which of them the search goes on with; None stands for all.
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
        """Go on with these of the active rows, (A,) bool."""
        self.active = self.active[kept]

    def merge(self, pack: "BestSoFar", examples: Tensor) -> None:
        """Take the best of each example's rows in a finished pack."""
        for x, won, score in zip(
            *(part.chunk(pack.copies) for part in (pack.x, pack.won, pack.score)), strict=True
        ):
            self.active = examples
            self.offer(x, won, score)
        self.active = (~self.won).nonzero().flatten() if self.stop else _every(self.won)


def slope(value: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
    """The gradient of a value at x.

    Args:
        keep: the graph, for other values.

    Raises:
        ModelError: autograd knows of no way from x to the value.
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
    ids: Tensor,
) -> ActiveBatch:
    """A row an example.

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
    return ActiveBatch(model=model, x=x, aim=aim, ids=ids, job=torch.zeros_like(y))


def run_packed(
    rows: ActiveBatch,
    jobs: int,
    config: AttackConfig,
    search: Callable[[ActiveBatch, BestSoFar], None],
) -> Tensor:
    """The best point of each example over all its jobs, (B, C, H, W).

    An example that has succeeded takes no further restart, and under `strong` no further job at
    all; there, x itself is tried first. As many jobs as fill a batch are searched side by side.
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
    """How many classes an adversary aims at: `config.targets`, at most classes - 1."""
    if is_toward(rows.aim.goal) or rows.aim.logits_clean is None:
        return 0
    return min(config.targets, rows.aim.logits_clean.shape[1] - 1)


def label_schedule(rows: ActiveBatch, targets: int) -> ActiveBatch:
    """Each row aimed at the other class that its job has in the order of the clean logits."""
    if not targets:
        return rows
    clean = rows.aim.logits_clean
    assert clean is not None
    rivals = clean.scatter(1, rows.aim.label[:, None], -torch.inf).topk(targets, dim=1).indices
    target = rivals.gather(1, (rows.job % targets)[:, None]).squeeze(1)
    return replace(rows, aim=replace(rows.aim, target=target))


def _every(like: Tensor) -> Tensor:
    return torch.arange(len(like), device=like.device)
