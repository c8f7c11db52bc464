"""The folder of a training run: its snapshots and its results.

<folder>/states/          the last snapshots, until the run has ended
<folder>/best/            the net that did best on the validation split
<folder>/average/         a moving average of the weights
<folder>/checkpoint/      the last net, written after the others
<folder>/history.parquet  a row an epoch
"""

from dataclasses import dataclass
from pathlib import Path

from fftune.config import TrainConfig, differences, read_settings
from fftune.errors import ModelError
from fftune.training.checkpoint import Checkpoint, read_checkpoint
from fftune.training.history import write_history
from fftune.training.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class RunDir:
    """A folder that one run writes."""

    path: Path
    elsewhere: Path | None = None
    """Folder of the snapshots, if they are to outlive this attempt."""

    @property
    def states(self) -> Snapshots:
        """Snapshots of the run, from which it is resumed."""
        return Snapshots(self.elsewhere or self.path / "states")

    @property
    def best(self) -> Path:
        """The checkpoint that did best on the validation split."""
        return self.path / "best"

    @property
    def average(self) -> Path:
        """The checkpoint of the average of the weights."""
        return self.path / "average"

    @property
    def checkpoint(self) -> Path:
        """The last net."""
        return self.path / "checkpoint"

    def finish(self, checkpoint: Checkpoint) -> None:
        """Write history and checkpoint, and delete the run's own snapshots."""
        write_history(checkpoint.history, self.path / "history.parquet")
        checkpoint.save(self.checkpoint)
        self.tidy()

    def tidy(self) -> None:
        """Delete the snapshots of a run that has ended, if they are its own."""
        if self.elsewhere is None:
            self.states.clear()

    def finished(self) -> Checkpoint | None:
        """The checkpoint of a run that has ended, or None.

        Raises:
            ModelError: it has ended, but its checkpoint is damaged.
        """
        if not self.complete:
            return None
        return read_checkpoint(self.checkpoint, self.path / "history.parquet")

    def require_settings(self, config: TrainConfig) -> None:
        """Refuse a folder in which a run with other settings has ended.

        Raises:
            ModelError: a run with other settings has ended here.
        """
        if not self.complete:
            return
        old = read_settings(TrainConfig, self.checkpoint / "config.json", error=ModelError)
        if old != config:
            what = f"a run with other settings ({differences(old, config)})"
            raise ModelError(f"folder {str(self.path)!r} holds {what}")

    @property
    def complete(self) -> bool:
        """Mark of a run that has ended."""
        return (self.checkpoint / "model.json").exists()
