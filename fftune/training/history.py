"""Measurements of an epoch, and the history of a run on disk."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fftune.errors import StorageError, UserError
from fftune.storage import write_whole
from fftune.stored_file import reading


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """Measurements of one pass over the training data; nan: not measured."""

    epoch: int
    """Number of the epoch, counted from 1."""
    lr: float
    """Learning rate of its first step."""
    loss: float
    """Mean of the objective over the examples, in train mode, while the weights change."""
    accuracy: float
    """Accuracy over the same examples, clean; perturbed for `pgd_at` and `fast_at`."""
    seconds: float
    examples_per_second: float
    validation_accuracy: float = math.nan
    """Accuracy on the validation split, in eval mode; under attack if the objective says so."""
    data_wait: float = math.nan
    """Share of the seconds, in [0, 1], in which the next batch was waited for."""
    robust_accuracy: float = math.nan
    """Accuracy under PGD on the first training batch, if catastrophic overfitting is watched."""

    def note(self, epochs: int) -> str:
        """Format the measurements for progress; of a run of so many epochs."""
        note = f"epoch {self.epoch}/{epochs}, loss {self.loss:.4g}, accuracy {self.accuracy:.3f}"
        if math.isfinite(self.validation_accuracy):
            note += f", validation accuracy {self.validation_accuracy:.3f}"
        speed = f"{self.examples_per_second:,.0f} examples/s"
        return f"{note}, {speed}, {self.data_wait:.0%} of the time waiting for data"


def write_history(history: Sequence[EpochRecord], path: Path) -> None:
    """Write a Parquet file with one row for each epoch."""
    import pandas as pd

    columns = [f.name for f in fields(EpochRecord)]
    frame = pd.DataFrame([asdict(epoch) for epoch in history], columns=columns)
    write_whole(path, frame.to_parquet)


def read_history(path: Path, error: type[UserError] = StorageError) -> list[EpochRecord]:
    """Read what `write_history` has written.

    Raises:
        error: the file is missing or damaged.
    """
    import pandas as pd

    with reading(path, "history", error):
        records = pd.read_parquet(path).to_dict("records")
        return [
            EpochRecord(**{str(name): value for name, value in record.items()})
            for record in records
        ]
