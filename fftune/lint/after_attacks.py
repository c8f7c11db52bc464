"""Remarks on a net that only its attacks can show: answers that changed, gradients that failed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fftune.lint.finding import Remark, answers
from fftune.lint.questions import TWICE
from fftune.outcomes import NAN, SOME_NAN, ZERO, Outcomes

log = logging.getLogger(__name__)

STATUSES = {"nan-gradient": (NAN, SOME_NAN), "zero-gradient": (ZERO,)}
"""Beginnings of a row's status that a remark counts, by its code."""
UNSTEADY = ("by-chance", "batch-dependent")
"""Codes of remarks after which other answers are no news."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswersBefore:
    """A net's answers to a few images before it is attacked."""

    x: Tensor
    """(B, C, H, W)"""
    logits: Tensor
    """(B, K)"""

    @classmethod
    def of(cls, net: nn.Module, x: Tensor) -> "AnswersBefore":
        """Ask the net about (B, C, H, W) images, on its device."""
        return cls(x, answers(net, x))

    def again(self, net: nn.Module, remarks: Sequence[str]) -> tuple[str, ...]:
        """Ask once more; add a remark where the answers changed and none has said so before."""
        if any(line.partition(":")[0] in UNSTEADY for line in remarks):
            return tuple(remarks)
        logits = answers(net, self.x)
        away = float((logits - self.logits).abs().max())
        if away <= TWICE * float(self.logits.max() - self.logits.min()):
            return tuple(remarks)
        moved = int((logits.argmax(1) != self.logits.argmax(1)).sum())
        text = (
            f"the same {len(logits)} images asked before and after the attacks: logits differ by "
            f"{away:.2g}, {moved} answers move: it changes as it is asked, and figures with it"
        )
        log.warning("by-chance: %s", text)
        return (*remarks, str(Remark("by-chance", text)))


def remarked(outcomes: Outcomes, remarks: Sequence[str]) -> tuple[str, ...]:
    """Add a remark for each failure of gradients in undefended rows that no other names.

    New ones are logged.
    """
    known = {line.partition(":")[0] for line in remarks}
    frame = outcomes.where(defense="none").to_pandas()
    total, lines = frame["id"].nunique(), list(remarks)
    for code, statuses in STATUSES.items():
        count = frame.loc[frame["status"].str.startswith(statuses), "id"].nunique()
        if count and code not in known:
            text = f"{count} of {total} examples: attacks that follow it stand still there"
            lines.append(str(Remark(code, text)))
            log.warning("%s", lines[-1])
    return tuple(lines)
