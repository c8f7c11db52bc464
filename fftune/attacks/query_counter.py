"""Counts of forward and backward passes, for each example of a block."""

from typing import Any

import torch
from torch import Tensor, nn

from fftune.capture import captured
from fftune.progress import pulse

KINDS = ("forwards", "backwards", "queries", "flat", "broken")
"""Counts of each example: passes; gradients taken; passes without a gradient; gradients that give
no direction, as every pixel is zero or not finite; gradients with a pixel that is not finite."""
LARGE = 1e15
"""Finite value that replaces an infinite gradient: its squares can still be summed."""


class BatchIndexed(nn.Module):
    """A net whose answer depends on which examples are in its batch."""

    recordable = False
    """False: a recording would go on answering for the examples, and the call, of its time."""

    def select(self, rows: Tensor) -> "BatchIndexed":
        """The same net for some rows of the batch; rows may repeat."""
        raise NotImplementedError

    def answers(self, x: Tensor) -> list[Tensor]:
        """(B, K) logits of each random draw whose losses a search averages; most nets have one."""
        return [self(x)]


class QueryCounter(BatchIndexed):
    """A net that counts the passes of each example of a block, and keeps its clean logits.

    Searches pack, repeat and drop rows; `index_batch` keeps the counts with their examples. A
    frozen net that detaches its input counts as one whose gradients are all zero.
    """

    def __init__(
        self,
        model: nn.Module,
        logits_clean: Tensor,
        rows: Tensor | None = None,
        *,
        examples: int | None = None,
    ) -> None:
        """Count for `examples` of a block, of which `rows` (default all) are in the batch."""
        super().__init__()
        self.model = model
        self.logits_clean = logits_clean
        device = logits_clean.device
        every = torch.arange(len(logits_clean), device=device)
        self.rows = every if rows is None else rows.to(device)
        size = len(logits_clean) if examples is None else examples
        self.counts = torch.zeros(len(KINDS), size, dtype=torch.int64, device=device)
        """(5, B) int64, of `KINDS`, on the device of the logits: reading would wait for it."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        if x.device.type == "cpu":  # elsewhere passes are recorded, and blocks are soon done
            pulse()
        self._tally("forwards")
        if x.requires_grad and not logits.requires_grad:
            logits = logits + 0 * x.flatten(1).sum(1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(lambda _: self._tally("backwards"))
            x.register_hook(self._looked_at)
        else:
            self._tally("queries")
        return logits

    def select(self, rows: Tensor) -> "QueryCounter":
        """The same net and counts for some rows of the batch; rows may repeat."""
        part = QueryCounter(self.model, self.logits_clean[rows], self.rows[rows], examples=0)
        part.counts = self.counts
        return part

    def add(self, counts: Tensor) -> None:
        """Add (R, 5) int64 counts of the rows of the batch."""
        self.counts.index_add_(1, self.rows, counts.T)

    def __getattr__(self, name: str) -> Any:
        """(B,) int64, one of `KINDS`."""
        if name in KINDS:
            return self.counts[KINDS.index(name)]
        return super().__getattr__(name)

    def _looked_at(self, grad: Tensor) -> Tensor:
        """Count useless gradients; replace a pixel's nan by 0 and an infinity by `LARGE`."""
        flat, broken = gradient_faults(grad)
        self._tally("flat", flat)
        self._tally("broken", broken)
        return grad.nan_to_num(0.0, LARGE, -LARGE)

    def _tally(self, kind: str, which: Tensor | None = None) -> None:
        ones = torch.ones_like(self.rows) if which is None else which.long()
        self.counts[KINDS.index(kind)].index_add_(0, self.rows, ones)


def gradient_faults(grad: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) bool each: no pixel gives a direction; some pixel is not finite."""
    finite = grad.isfinite()
    useful = (finite & (grad != 0)).flatten(1).any(1)
    return ~useful, ~finite.flatten(1).all(1)


def index_batch(model: nn.Module, rows: Tensor) -> nn.Module:
    """Return `model` for some rows of the batch: itself, unless it is `BatchIndexed`."""
    return model.select(rows) if isinstance(model, BatchIndexed) else model


def answers(model: nn.Module, x: Tensor) -> list[Tensor]:
    """(B, K) logits at x: those of each draw of a net that averages losses over several."""
    return model.answers(x) if isinstance(model, BatchIndexed) else [model(x)]


def clean_logits(model: nn.Module, x: Tensor) -> Tensor:
    """(B, K) logits at the unperturbed `x`: those a `QueryCounter` keeps, else computed."""
    return model.logits_clean if isinstance(model, QueryCounter) else _logits(model, x)


@captured
def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(x)
    return logits
