"""What is known of a net once it has been attacked, which the lint could not see before."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fftune.data import Dataset
from fftune.evaluation.block import NAN, SOME_NAN, ZERO, ModelUnderTest
from fftune.lint.finding import Remark, answers
from fftune.lint.questions import FEW, TWICE
from fftune.outcomes import Outcomes

log = logging.getLogger(__name__)

STATUSES = {"nan-gradient": (NAN, SOME_NAN), "zero-gradient": (ZERO,)}
"""Which beginnings of a row's status speak of what."""
UNSTEADY = ("by-chance", "batch-dependent")
"""Remarks after which nobody wonders at other answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """A net's answers to a few images before it is attacked."""

    x: Tensor
    logits: Tensor

    @classmethod
    def of(cls, subject: ModelUnderTest, dataset: Dataset) -> "Before":
        """The first images of a data set."""
        x = next(dataset.batches(FEW))[1].to(subject.device)
        return cls(x, answers(subject.net, x))

    def again(self, subject: ModelUnderTest, remarks: Sequence[str]) -> tuple[str, ...]:
        """The remarks, and one where the net answers otherwise now and none has said so before."""
        if any(line.partition(":")[0] in UNSTEADY for line in remarks):
            return tuple(remarks)
        logits = answers(subject.net, self.x)
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
    """These remarks, and one for each failure of gradients in undefended rows that none names.

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
