"""Counts of forward and backward passes, for each example of a block."""

import torch
from torch import Tensor, nn

LARGE = 1e15
"""Finite value that replaces an infinite gradient: its squares can still be summed."""


class BatchIndexed(nn.Module):
    """A net whose answer depends on which examples are in its batch."""

    def select(self, rows: Tensor) -> "BatchIndexed":
        """The same net for some rows of the batch; rows may repeat."""
        raise NotImplementedError


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
        self.rows = torch.arange(len(logits_clean)) if rows is None else rows
        size = len(logits_clean) if examples is None else examples
        self.forwards, self.backwards, self.queries, self.flat, self.broken = torch.zeros(
            5, size, dtype=torch.int64
        )
        """(B,) int64 each: passes; gradients taken; passes without a gradient; gradients that
        give no direction, as every pixel is zero or not finite; gradients with a pixel that
        is not finite."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        _tally(self.forwards, self.rows)
        if x.requires_grad and not logits.requires_grad:
            logits = logits + 0 * x.flatten(1).sum(1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(lambda _: _tally(self.backwards, self.rows))
            x.register_hook(self._looked_at)
        else:
            _tally(self.queries, self.rows)
        return logits

    def select(self, rows: Tensor) -> "QueryCounter":
        """The same net and counts for some rows of the batch; rows may repeat."""
        part = QueryCounter(self.model, self.logits_clean[rows], self.rows[rows.cpu()], examples=0)
        part.forwards, part.backwards = self.forwards, self.backwards
        part.queries, part.flat, part.broken = self.queries, self.flat, self.broken
        return part

    def _looked_at(self, grad: Tensor) -> Tensor | None:
        """Count useless gradients; replace a pixel's nan by 0 and an infinity by `LARGE`."""
        size = grad.abs().flatten(1).amax(1)
        if size.isfinite().all():
            _tally(self.flat, self.rows[(size == 0).cpu()])
            return None
        finite = grad.isfinite()
        useful = (finite & (grad != 0)).flatten(1).any(1)
        _tally(self.flat, self.rows[~useful.cpu()])
        _tally(self.broken, self.rows[~finite.flatten(1).all(1).cpu()])
        return grad.nan_to_num(0.0, LARGE, -LARGE)


def index_batch(model: nn.Module, rows: Tensor) -> nn.Module:
    """Return `model` for some rows of the batch: itself, unless it is `BatchIndexed`."""
    return model.select(rows) if isinstance(model, BatchIndexed) else model


def clean_logits(model: nn.Module, x: Tensor) -> Tensor:
    """(B, K) logits at the unperturbed `x`: those a `QueryCounter` keeps, else computed."""
    if isinstance(model, QueryCounter):
        return model.logits_clean
    with torch.no_grad():
        logits: Tensor = model(x)
    return logits


def _tally(counts: Tensor, rows: Tensor) -> None:
    counts.index_add_(0, rows, torch.ones_like(rows))
