"""What a net is asked with, and how an answer to one question about it is told."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fftune.data import Dataset
from fftune.errors import ModelError
from fftune.keyed_noise import Noise
from fftune.models.equivalence import first_line

FIRST = 32
"""Examples that are asked at once where accuracies are compared."""
SEEN, FEWEST, MOST = 512 * 3 * 32 * 32, 64, 2048
"""Numbers in all images on which accuracies are compared, and bounds for how many images that is:
small images cost little and are told apart so well that a fault moves few of them."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What a reader of a net's numbers must know."""

    code: str
    text: str
    """One line: the figure, and what to do."""

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question."""

    code: str
    sound: bool
    figures: str
    advice: str

    @property
    def remark(self) -> Remark:
        """Where it is not sound."""
        return Remark(self.code, f"{self.figures}: {self.advice}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """A net in eval mode, and of whom it is asked."""

    net: nn.Module
    dataset: Dataset
    device: str
    noise: Noise
    known: list[Tensor] = field(default_factory=list)
    """(FIRST, K) logits of the first parts of the many."""

    @property
    def classes(self) -> int:
        """How many the data set has."""
        return len(self.dataset.source.classes)

    @property
    def many(self) -> int:
        """On how many images accuracies are compared: 512 of CIFAR's size, 2,006 of MNIST's."""
        wanted = SEEN // max(1, self.dataset.pixels[0].numel())
        return min(max(wanted, FEWEST), MOST, len(self.dataset))

    def some(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, images and labels of so many examples, drawn from the whole data set."""
        rows = self.noise.permutation(len(self.dataset))[:count]
        ids, x, y = next(self.dataset.batches(len(rows), order=rows))
        return ids, x.to(self.device), y.to(self.device)

    def part(self, at: int) -> Tensor:
        """(FIRST, K) logits of the many's part `at`; the last may be smaller."""
        while len(self.known) <= at:
            x = self.some(self.many)[1].split(FIRST)[len(self.known)]
            self.known.append(answers(self.net, x))
        return self.known[at]


def answers(net: nn.Module, x: Tensor) -> Tensor:
    """(N, K) logits.

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
