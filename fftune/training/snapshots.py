"""Snapshots of a run, from which it is resumed after a crash or a damaged file."""

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fftune.config import of_plain
from fftune.errors import ModelError, StorageError
from fftune.keyed_noise import GENERATOR
from fftune.models.weights import read_plain, write_plain
from fftune.names import is_plain
from fftune.storage import sha256, write_text
from fftune.stored_file import reading, require_plain_file

log = logging.getLogger(__name__)
KEPT = 2
"""Number of snapshots kept; the older one is used if the newer is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot on disk."""

    file: str
    sha256: str
    epoch: int
    step: int
    """Number of steps done of the epoch after `epoch`."""
    generator: int = 1
    """Noise generator that the run draws with, `keyed_noise.GENERATOR`; 0.1.0 wrote none."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """A folder with the last states of one run, and a list of them, `states.json`."""

    folder: Path

    def save(self, state: dict[str, Any], *, epoch: int, step: int) -> None:
        """Write a snapshot; it counts once the list names it, which is written last.

        Raises:
            StorageError: there is no room. What was kept before stays.
        """
        path = self.folder / f"{epoch}-{step}.pt"
        write_plain(state, path)
        saved = Snapshot(
            file=path.name, sha256=sha256(path), epoch=epoch, step=step, generator=GENERATOR
        )
        kept = [saved, *(old for old in self.saved() if old.file != saved.file)][:KEPT]
        text = json.dumps([asdict(one) for one in kept], indent=2) + "\n"
        write_text(self.folder / "states.json", text)
        for path in self.folder.iterdir():  # older states, and what a killed writer left
            if path.name not in {"states.json", *(one.file for one in kept)}:
                path.unlink()

    def newest(self) -> dict[str, Any] | None:
        """The newest state that is whole, or None. Nothing in a file is executed.

        Raises:
            ModelError: a state is of another noise generator: the run cannot go on as it began.
        """
        for saved in self.saved():
            path = self.folder / saved.file
            if saved.generator != GENERATOR:
                raise ModelError(
                    f"state {str(path)!r} was drawn with noise generator {saved.generator}, this "
                    f"fftune has {GENERATOR}: the run cannot go on; train it again under --name"
                )
            try:
                require_plain_file(path)
                if sha256(path) == saved.sha256:
                    state: dict[str, Any] = read_plain(str(path))
                    return state
                reason = "its checksum is another"
            except (OSError, ModelError, StorageError) as error:
                reason = str(error)
            log.warning("state %s cannot be used (%s); going back", str(path), reason)
        return None

    def saved(self) -> list[Snapshot]:
        """The list, newest first; empty where there is none."""
        path = self.folder / "states.json"
        if not path.exists():
            return []
        try:
            with reading(path, "states"):
                records = json.loads(path.read_text(encoding="utf-8"))
                found = [of_plain(Snapshot, record) for record in records]
                if not all(is_plain(one.file) for one in found):
                    raise StorageError("it names a file elsewhere")
                return found
        except StorageError as error:
            log.warning("states in %s cannot be listed: %s", str(self.folder), error)
            return []

    def clear(self) -> None:
        """Forget all states, once the run has ended."""
        if self.folder.is_dir():
            # First: it names none that is gone.
            (self.folder / "states.json").unlink(missing_ok=True)
            shutil.rmtree(self.folder)
