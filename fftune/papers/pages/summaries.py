"""Summaries of the items in a folder, which their index shows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fftune.config import of_plain
from fftune.errors import StorageError
from fftune.registry import PAPERS
from fftune.stored_file import read_object, reading

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Part of a summary that the index reads."""

    name: str
    title: str
    scale: Literal["tiny", "small", "full", "every"]
    error: str
    missing: int
    verdicts: dict[str, int]
    directions: dict[str, int]
    files: list[str]


def summaries(folder: Path) -> dict[str, dict[str, Any]]:
    """Summaries of all items in a folder, in the order of the papers."""
    found = {}
    for path in folder.glob("*.json"):
        try:
            summary = read_object(path, "summary")
            with reading(path, "summary"):
                of_plain(Summary, summary)
        except StorageError:
            log.warning("%s is damaged: its item is not on the index until it is built again", path)
            continue
        if summary["name"] == path.stem and path.with_suffix(".html").exists():
            found[path.stem] = summary
    order = list(PAPERS)
    return dict(sorted(found.items(), key=lambda one: _place(one[0], order)))


def _place(key: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(key) if key in order else len(order), key)
