"""Inventory of the data sets that are known, or stored in `FFTUNE_DATA`."""

from dataclasses import dataclass

from fftune.data.catalog import found_beside, open_parts
from fftune.errors import DataError
from fftune.registry import DATASETS


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A data set by name: its parts, where they were found."""

    name: str
    classes: int = 0
    counts: dict[str, int]
    """Examples by part (`train`, `test`, `whole`); empty if the set was not found."""
    official: dict[str, int]
    """Examples that the published set has, by part; empty for sets of the user's."""
    storage: str = ""
    """The kind of files that hold the images, as in `betonimages`."""
    damage: str = ""
    """Reason why a stored set cannot be opened, or empty."""


def inventory() -> list[Entry]:
    """List the known sets, then those that lie under other names in `FFTUNE_DATA`."""
    return [_entry(name) for name in [*DATASETS, *found_beside()]]


def _entry(name: str) -> Entry:
    known = name in DATASETS
    official = dict(DATASETS[name].official) if known else {}
    try:
        parts = open_parts(name)
        opened = {part: parts[part] for part in parts}
    except DataError as error:
        missing = known and "is not in" in str(error)
        return Entry(name=name, counts={}, official=official, damage="" if missing else str(error))
    first = next(iter(opened.values()))
    return Entry(
        name=name,
        classes=len(first.source.classes),
        counts={part: len(opened[part]) for part in opened},
        official=official,
        storage=type(first.images).__name__.lower(),
    )
