"""Findings and remarks on a net, and the query that checks share."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fftune.data import Dataset
from fftune.errors import ModelError
from fftune.keyed_noise import Noise
from fftune.models.equivalence import first_line

FIRST = 32
"""Examples in one batch where accuracies are compared."""
SEEN, FEWEST, MOST = 512 * 3 * 32 * 32, 64, 2048
"""Values in all images on which accuracies are compared, and bounds of the number of images.
Small images cost little, and nets are so accurate on them that a fault changes few."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A warning that belongs beside a net's numbers."""

    code: str
    text: str
    """The figures and the advice, in one line."""

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one check."""

    code: str
    sound: bool
    figures: str | Callable[[], str]
    """Text, or what makes it: an exact test takes its time to import."""
    advice: str

    @property
    def remark(self) -> Remark:
        """The finding as a remark, for one that is not sound."""
        return Remark(self.code, f"{self.told}: {self.advice}")

    @property
    def told(self) -> str:
        """The figures as text."""
        return self.figures if isinstance(self.figures, str) else self.figures()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """A net in eval mode and the examples that it is checked on."""

    net: nn.Module
    dataset: Dataset
    device: str
    noise: Noise
    known: list[Tensor] = field(default_factory=list)
    """(FIRST, K) logits of the batches of `many` examples that were computed so far."""

    @property
    def classes(self) -> int:
        """Number of classes of the data set."""
        return len(self.dataset.source.classes)

    @property
    def many(self) -> int:
        """Number of images to compare accuracies on: 512 of CIFAR's size, 2,006 of MNIST's."""
        wanted = SEEN // max(1, self.dataset.pixels[0].numel())
        return min(max(wanted, FEWEST), MOST, len(self.dataset))

    def some(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, images and labels of `count` examples, drawn from the whole data set."""
        rows = self.noise.permutation(len(self.dataset))[:count]
        ids, x, y = next(self.dataset.batches(len(rows), order=rows))
        return ids, x.to(self.device), y.to(self.device)

    def part(self, at: int) -> Tensor:
        """(FIRST, K) logits of batch `at` of the `many` examples; the last may be smaller."""
        while len(self.known) <= at:
            x = self.some(self.many)[1].split(FIRST)[len(self.known)]
            self.known.append(answers(self.net, x))
        return self.known[at]


def answers(net: nn.Module, x: Tensor) -> Tensor:
    """(N, K) logits of a net, without gradients.

    Raises:
        ModelError: whatever the user's code raises, in one line.
    """
    try:
        with torch.no_grad():
            logits: Tensor = net(x.clone())  # some nets change what they are given
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the user's code raises
        raise ModelError(f"net fails on a batch of {len(x)}: {first_line(error)}") from error
    return logits
