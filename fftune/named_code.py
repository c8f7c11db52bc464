"""Permission to run files of Python's: a command runs those alone that its user has named.

What is stored names code as `FILE.py:NAME`: a study its kind, its objective or its sampler, a
checkpoint its net and its data, a zoo its factories. One from elsewhere could name any file. So a
command runs a file only if its words name it, or code that it runs does, by settings that a recipe
returns or by a call. `fftune.user_code` asks before it runs any. Python is the user's own, and runs
whatever it names.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from os.path import realpath
from pathlib import Path
from typing import Any, TypeVar

_END = re.compile(r"\.py(?=[:,]|$)")
_named: frozenset[str] | None = None
T = TypeVar("T")


def within(words: Sequence[str], work: Callable[[], None]) -> None:
    """Do the work of a command, which may run the files that its words name, and no others."""
    before = _named
    restrict(frozenset(realpath(path) for word in words for path in _paths(word)))
    try:
        work()
    finally:
        restrict(before)


def permitted() -> frozenset[str] | None:
    """Whole paths of the files that may be run; None: any."""
    return _named


def restrict(files: frozenset[str] | None) -> None:
    """Let only these files be run from now on, as in a worker of a command; None: any."""
    global _named
    _named = files


def allow(made: T) -> T:
    """Let those files be run, too, that settings name which code of the user's has made."""
    if _named is not None:
        found = {realpath(path) for text in _texts(made) for path in _paths(text)}
        restrict(_named | found)
    return made


def may_run(file: Path) -> bool:
    """Tell if somebody has named a file who may."""
    return _named is None or realpath(file) in _named


def _paths(word: str) -> Iterator[str]:
    """Paths of files that a word may hold: `--net=a.py:f`, `objective=a.py:f,b.py:g`, `a.pt`."""
    for end in (len(word), *(match.end() for match in _END.finditer(word))):
        yield from (word[start:end] for start in (0, *_starts(word[:end])))


def _starts(word: str) -> Iterator[int]:
    return (place + 1 for place, character in enumerate(word) if character in "=,:")


def _texts(made: Any) -> Iterator[str]:
    """The texts in settings, and in the names of kinds of study."""
    if isinstance(made, str):
        yield made
    elif dataclasses.is_dataclass(made):
        yield from _texts(getattr(made, "kind", ""))
        for field in dataclasses.fields(made):
            yield from _texts(getattr(made, field.name, ""))
    elif isinstance(made, Mapping):
        yield from _texts(list(made.values()))
    elif isinstance(made, tuple | list):
        for one in made:
            yield from _texts(one)
