"""What an epoch came to, and the history of a run on disk."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fftune.storage import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What one pass over the training data came to; nan is what was not measured."""

    epoch: int
    """Counted from 1."""
    lr: float
    """Of its first step."""
    loss: float
    """The objective's mean over the examples, in train mode, as the weights moved."""
    accuracy: float
    """Likewise, on the clean batches; on the perturbed ones for `pgd_at` and `fast_at`."""
    seconds: float
    examples_per_second: float
    validation_accuracy: float = math.nan
    """On the validation split, in eval mode: under attack where training was adversarial."""
    robust_accuracy: float = math.nan
    """Under PGD on the first training batch, where catastrophic overfitting is watched for."""


def write_history(history: Sequence[EpochRecord], path: Path) -> None:
    """A Parquet file with a row an epoch."""
    import pandas as pd

    columns = [f.name for f in fields(EpochRecord)]
    frame = pd.DataFrame([asdict(epoch) for epoch in history], columns=columns)
    write_whole(path, frame.to_parquet)


def read_history(path: Path) -> list[EpochRecord]:
    """What `write_history` wrote."""
    import pandas as pd

    records = pd.read_parquet(path).to_dict("records")
    return [
        EpochRecord(**{str(name): value for name, value in record.items()}) for record in records
    ]
