"""Manifest of a data set that somebody signs: the digest and the label of each example.

An example goes by its file's name in the set, or by its id where only pixels are kept. Its digest
is the SHA-256 of its file as it is stored, so that nothing depends on a decoder; of pixels it is
that of `HxWxC`, a line's end, and the bytes row by row.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch

from fftune.config.serialization import from_json
from fftune.config.validation import require
from fftune.data.official_split import OfficialSplit, Parts
from fftune.errors import DataError
from fftune.names import composed
from fftune.progress import Progress

SCHEMA = 1
SHOWN = 3
"""Differences that are told one by one."""
Kind = Literal["file", "pixels"]
Entry = tuple[str, str, int]
"""Name or id, SHA-256 as 64 hex digits, number of the class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPart:
    """Examples of one official part, in their order."""

    name: str
    digests: Kind
    """Bytes that the digests are of."""
    classes: tuple[str, ...]
    """Names of the classes in the order of their numbers."""
    levels: int
    """Largest value of a pixel, which stands for 1."""
    examples: tuple[Entry, ...]

    def __post_init__(self) -> None:
        known = range(len(self.classes))
        for name, _, y in self.examples:
            require("examples", y in known, f"of {len(known)} classes", (name, y))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedManifest:
    """Contents of a data set, as they are signed."""

    schema: int = SCHEMA
    name: str
    """Name of the set, which may be another elsewhere."""
    parts: tuple[SignedPart, ...]

    @property
    def json(self) -> str:
        """Canonical JSON: equal contents have equal bytes."""
        plain = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return plain.replace('],["', '],\n["') + "\n"  # a line an example, for `diff`

    @classmethod
    def of_json(cls, text: str) -> "SignedManifest":
        """Build it from what `json` gave.

        Raises:
            ConfigError: the text is something else.
            DataError: a later release has written it.
        """
        manifest = from_json(cls, text)
        if manifest.schema != SCHEMA:
            raise DataError(f"schema {manifest.schema}, and this release reads {SCHEMA}")
        return manifest

    @property
    def count(self) -> int:
        """Number of examples in all parts."""
        return sum(len(part.examples) for part in self.parts)


def manifest_of(parts: Parts, names: Sequence[str]) -> SignedManifest:
    """Digest every example of the parts of these names.

    Raises:
        DataError: there is no such part, or an image cannot be read.
    """
    known: dict[str, OfficialSplit] = {name: parts[name] for name in parts if name in names}
    for name in names:
        if name not in known:
            raise DataError(f"there is no {name} part, only {', '.join(parts)}")
    digested = tuple(_signed(known[name], name) for name in names)
    first = next(iter(known.values()), None)
    return SignedManifest(name=first.source.name if first else "", parts=digested)


def _signed(part: OfficialSplit, name: str) -> SignedPart:
    with Progress(f"{part.source.name} {name}", unit="images", total=len(part)) as progress:
        found = []
        for i in range(len(part)):
            found.append(_digest(part, i))
            progress.update(i + 1)
    names = [stored for stored, _ in found]
    # Pixels, or two files of one name, as in two folders of Parquet: they go by their ids.
    named = None not in names and len(set(names)) == len(names)
    ids = part.ids_of(torch.arange(len(part))).tolist()
    return SignedPart(
        name=name,
        digests="file" if found and None not in names else "pixels",
        classes=part.source.classes,
        levels=part.source.levels,
        examples=tuple(
            (str(stored if named else i), digest, y)
            for (stored, digest), i, y in zip(found, ids, part.y.tolist(), strict=True)
        ),
    )


def _digest(part: OfficialSplit, i: int) -> tuple[str | None, str]:
    """Name of an example's file, if it has one, and its digest."""
    stored = part.images.stored(i)
    if stored is None:
        pixels = np.ascontiguousarray(part.images.read(i).pixels)
        shape = "x".join(map(str, pixels.shape))
        return None, hashlib.sha256(f"{shape}\n".encode() + pixels.tobytes()).hexdigest()
    name = composed(stored.name)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"image {part.images.where(i)!r}: its name is not UTF-8") from None
    return name, hashlib.sha256(stored.content).hexdigest()


def differences(signed: SignedManifest, now: SignedManifest) -> str:
    """First differences between what was signed and what is there; empty if there are none.

    Raises:
        DataError: they cannot be compared, as one has digests of files and the other of pixels.
    """
    here = {part.name: part for part in now.parts}
    found = (line for part in signed.parts for line in _differences(part, here.get(part.name)))
    first = list(islice(found, SHOWN))
    more = sum(1 for _ in found)
    return "; ".join([*first, *([f"and {more:,} more"] if more else [])])


def _differences(was: SignedPart, now: SignedPart | None) -> Iterator[str]:
    if now is None:
        yield f"there is no {was.name} part"
        return
    if (was.classes, was.levels) != (now.classes, now.levels):
        yield f"{was.name} has other classes or levels of grey"
        return
    if was.digests != now.digests:
        raise DataError(
            f"the {was.name} part was signed by its {was.digests}, and is found as {now.digests}: "
            "name the files that were signed"
        )
    old = {name: (digest, y) for name, digest, y in was.examples}
    new = {name: (digest, y) for name, digest, y in now.examples}
    for name, (digest, y) in old.items():
        if name not in new:
            yield f"missing {name!r}"
        elif digest != new[name][0]:
            yield f"changed image {name!r}"
        if name in new and y != new[name][1]:
            labels = f"{was.classes[new[name][1]]!r}, signed as {was.classes[y]!r}"
            yield f"changed label of {name!r}: {labels}"
    yield from (f"added {name!r}" for name in new if name not in old)
    if old == new and was.examples != now.examples:
        yield f"{was.name} has its examples in another order"
