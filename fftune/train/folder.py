"""Where a run lives: what it needs to go on, and what it leaves.

<folder>/states/          the last states, until the run has ended
<folder>/best/            the checkpoint that did best on the validation split
<folder>/checkpoint/      the last net
<folder>/history.parquet  a row an epoch
"""

from dataclasses import dataclass
from pathlib import Path

from fftune.errors import ModelError
from fftune.train.checkpoint import Checkpoint, read_checkpoint
from fftune.train.epoch import write_history
from fftune.train.states import States


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that one run writes."""

    path: Path
    elsewhere: Path | None = None
    """Where the states are, if they are to outlive this attempt."""

    @property
    def states(self) -> States:
        """What the run needs to go on."""
        return States(self.elsewhere or self.path / "states")

    @property
    def best(self) -> Path:
        """The checkpoint that did best on the validation split."""
        return self.path / "best"

    @property
    def checkpoint(self) -> Path:
        """The last net."""
        return self.path / "checkpoint"

    def finish(self, checkpoint: Checkpoint) -> None:
        """Keep what the run came to; states of its own are needed no more."""
        write_history(checkpoint.history, self.path / "history.parquet")
        checkpoint.save(self.checkpoint)
        if self.elsewhere is None:
            self.states.clear()

    def finished(self) -> Checkpoint | None:
        """What a run that has ended came to."""
        try:
            return read_checkpoint(self.checkpoint, self.path / "history.parquet")
        except ModelError:
            return None
