"""Files below a folder, or of a pattern, in an order of no importance; links make no circle."""

import glob
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from fftune.data.images import suffixes
from fftune.errors import DataError

GLIMPSE = 5000
"""Entries that are looked at to tell the form of a folder: a set may have millions."""


def expanded(path: Path) -> list[Path]:
    """The files that a path stands for: itself, all below a folder, or those of a pattern.

    A pattern is one of a shell, with `{000..012}` or `{a,b}` in the file's name.

    Raises:
        DataError: a folder cannot be listed.
    """
    if path.is_dir():
        return [path / name for name in files_below(path)]
    if os.path.lexists(path):
        return [path]
    names = [name for one in _braces(str(path)) for name in glob.glob(one) or [one]]
    return [Path(name) for name in dict.fromkeys(names) if os.path.exists(name)]


def files_below(folder: Path, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of all files below a folder; links are followed, but never in a circle."""
    above = above or (os.path.realpath(folder),)
    for entry in entries(folder):
        if not is_folder(entry):
            if entry.is_symlink() or entry.is_file():  # whoever opens a pipe waits for ever
                yield entry.name
        elif (real := os.path.realpath(entry.path)) not in above:
            for name in files_below(folder / entry.name, (*above, real)):
                yield f"{entry.name}/{name}"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Is an entry a folder, or a link to one?

    Raises:
        DataError: this user may not know.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        raise DataError(f"{entry.path!r} cannot be looked at: {error.strerror}") from None


def entries(path: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be listed: {error.strerror}") from None


def glimpse(path: Path) -> list[str]:
    """Names of files below a folder, the upper first, of at most `GLIMPSE` entries; no hidden."""
    found: list[str] = []
    waiting, seen = deque([""]), 0
    visited = set()
    while waiting and seen < GLIMPSE:
        below = waiting.popleft()
        real = os.path.realpath(path / below)
        if real in visited:
            continue
        visited.add(real)
        for entry in entries(path / below):
            seen += 1
            if entry.name[0] == "." or seen > GLIMPSE:
                continue
            name = f"{below}/{entry.name}" if below else entry.name
            (waiting if is_folder(entry) else found).append(name)
    return found


def has_images(names: Sequence[str]) -> bool:
    """Is there a file with an ending of an image?"""
    known = suffixes()
    return any(os.path.splitext(name)[1].lower() in known for name in names)


def left_out(root: Path, others: Sequence[Path]) -> str:
    """Words on files that are not read, with an example; empty if there are none."""
    if not others or not root.is_dir():
        return ""
    first = min(os.path.relpath(path, root) for path in others)
    are = "file is" if len(others) == 1 else "files are"
    return f"{len(others):,} other {are} left out ({first!r})"


def _braces(text: str) -> list[str]:
    """`x-{00..12}` and `x-{a,b}` as the texts that they stand for."""
    found = re.search(r"\{([^{}]*)\}", text)
    if not found:
        return [text]
    within = found[1]
    if numbers := re.fullmatch(r"(\d+)\.\.(\d+)", within):
        first, last = int(numbers[1]), int(numbers[2])
        if last - first > 10**6:
            raise DataError(f"{text!r} stands for too many files")
        words = [str(i).zfill(len(numbers[1])) for i in range(first, last + 1)]
    else:
        words = within.split(",")
    head, tail = text[: found.start()], text[found.end() :]
    return [one for word in words for one in _braces(head + word + tail)]
