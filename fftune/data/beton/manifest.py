"""Manifest of a beton (FFCV file): a JSON file beside it with its contents and origin.

FFCV reads a damaged beton without a word. So no beton is read before its checksum has been
compared with its manifest's, once for every state of the file.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fftune.config import ThreatModel, WriteConfig, read_settings, to_json
from fftune.data.dataset import Source
from fftune.errors import DataError, StorageError
from fftune.storage import in_home, sha256, write_text
from fftune.stored_file import damaged, read_json

VERIFIED = "~/.cache/fftune/verified"
SCHEMA, READABLE = 2, (1, 2)
"""Version of the manifest. Sets of 1 have no clean part beside a substandard one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Record of how substandard data was made of its parent."""

    kind: str
    parent: str
    """The parent's content hash."""
    seed: int
    constants: str
    settings: str
    """JSON of all that the making depends on."""
    net: str | None = None
    """Hash of the weights against which a poison was crafted."""

    @property
    def threat(self) -> ThreatModel:
        """Ball of a poison.

        Raises:
            DataError: the record does not say it.
        """
        try:
            ball = json.loads(self.settings)["threat"]
            return ThreatModel(norm=ball["norm"], eps=ball["eps"])
        except (ValueError, LookupError, TypeError, RecursionError):
            raise DataError("its manifest does not say how it was made") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRecord:
    """A part that the trainer will draw from this one with the same seed."""

    size: int
    seed: int
    ids: str
    """16 hex digits of its ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Description of a beton (FFCV file): source, counts, hashes and settings."""

    source: Source
    part: str
    """Official part: `train`, `test`, or `whole` if there is no division. In
    `clean.beton` it is the parent's part, from which a substandard one was made."""
    origin: str
    """Source of the images: the set's name and its folder."""
    count: int
    per_class: tuple[int, ...]
    shape: tuple[int, int, int] | None
    """(C, H, W), or none where images differ in size."""
    converted: int
    """Grey images that became colour."""
    skipped: tuple[str, ...]
    """Images that could not be decoded."""
    content: str
    """Hash of ids, pixels and labels before encoding: equal on every machine."""
    bytes: int
    sha256: str
    """SHA-256 of the file."""
    beton_version: int
    ffcv: str | None
    """The release installed where it was written, if any; fftune writes the format itself."""
    fftune: str
    write: WriteConfig
    splits: dict[str, SplitRecord]
    """Examples of each role: `train`, `select`, `report`."""
    made: Made | None = None
    """Record of making it substandard; None: the data are unchanged."""
    schema: int = field(default=1, metadata={"since": 2})
    """1 where nothing is said of it."""


def manifest_path(beton: Path) -> Path:
    """Path of the manifest: `train.json` for `train.beton`."""
    return beton.with_suffix(".json")


def read_manifest(beton: Path) -> Manifest:
    """Read the manifest beside a beton.

    Raises:
        DataError: nothing is, it is no manifest, or it is one of another release.
    """
    path = manifest_path(beton)
    if not path.exists():
        missing = f"beton {str(beton)!r} has no manifest {path.name!r}"
        raise DataError(f"{missing}; `fftune data write` makes both")
    manifest = read_settings(Manifest, path, "manifest", DataError)
    if manifest.schema not in READABLE:
        known = " and ".join(map(str, READABLE))
        found = f"has schema {manifest.schema}, this release reads {known}"
        raise DataError(f"manifest {str(path)!r} {found}")
    return manifest


def write_manifest(beton: Path, manifest: Manifest) -> None:
    """Whole or not at all."""
    write_text(manifest_path(beton), to_json(manifest))


def verified(beton: Path, *, again: bool = False) -> Manifest:
    """The manifest of a beton whose bytes are those that were written.

    A file that was verified before is known by its size, time and inode; `again` reads it anyway.

    Raises:
        DataError: a byte differs, or the file or its manifest cannot be read.
    """
    manifest = read_manifest(beton)
    try:
        state = beton.stat()
        if not beton.is_file():
            raise DataError(f"beton {str(beton)!r} is not a file")
        if state.st_size != manifest.bytes:
            other = f"it has {state.st_size:,} bytes, {manifest.bytes:,} were written"
            raise DataError(damaged("beton", beton, other))
        seen = [manifest.sha256, state.st_size, state.st_mtime_ns, state.st_ino]
        if again or _remembered(beton) != seen:
            if sha256(beton) != manifest.sha256:
                raise DataError(damaged("beton", beton, "its checksum is another one"))
            with suppress(StorageError):  # it is then read again the next time
                write_text(_memory(beton), json.dumps(seen))
    except OSError as error:
        raise DataError(f"beton {str(beton)!r}: {error.strerror}") from None
    return manifest


def _memory(beton: Path) -> Path:
    name = hashlib.sha256(os.fsencode(beton.resolve())).hexdigest()[:32]
    return in_home(VERIFIED) / f"{name}.json"


def _remembered(beton: Path) -> object:
    try:
        return read_json(_memory(beton), "memory of checksums")
    except StorageError:  # the file is read again
        return None
