"""Ways in which a file that somebody keeps comes to be another: cut, emptied, replaced, hidden."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOBODY = 65534
WRONG: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        10**23,
        1e308,
        float("nan"),
        "",
        "x",
        "../..",
        "a\nb\0c",
        "\udcff",
        "λ" * 400,
    ),
    *([], [[]], {}, {"a": None}, [None, "x", 3]),
)
"""Values of any JSON type, for a field that has another."""


def cut(path: Path, at: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * at)])


def emptied(path: Path, at: float) -> None:
    path.write_bytes(b"")


def nul_tail(path: Path, at: float) -> None:
    """What some file systems leave of a file that was written when the machine went down."""
    content = path.read_bytes()
    kept = int(len(content) * at)
    path.write_bytes(content[:kept] + b"\0" * (len(content) - kept))


def null(path: Path, at: float) -> None:
    path.write_bytes(b"null")


def other_text(path: Path, at: float) -> None:
    texts = ["[]", "{}", "3", '"x"', "not JSON", "[" * 200_000, '{"a":' * 50_000, "9" * 5000, "{]"]
    path.write_text(texts[int(at * len(texts)) % len(texts)])


def binary(path: Path, at: float) -> None:
    path.write_bytes(bytes((i * 37 + int(at * 251)) % 256 for i in range(5000)))


def other_bytes(path: Path, at: float) -> None:
    """A disk's error in the middle."""
    content = bytearray(path.read_bytes())
    for i in range(min(64, len(content))):
        content[(int(len(content) * at) + i) % len(content)] ^= 0xFF
    path.write_bytes(content)


def folder(path: Path, at: float) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path, at: float) -> None:
    path.unlink()
    path.symlink_to(path)


def dangling(path: Path, at: float) -> None:
    path.unlink()
    path.symlink_to(path.parent / "gone")


def pipe(path: Path, at: float) -> None:
    path.unlink()
    os.mkfifo(path)


def gone(path: Path, at: float) -> None:
    path.unlink()


def forbidden(path: Path, at: float) -> None:
    path.chmod(0)


DAMAGES: Mapping[str, Callable[[Path, float], None]] = {
    one.__name__: one
    for one in (
        *(cut, emptied, nul_tail, null, other_text, binary, other_bytes),
        *(folder, loop, dangling, pipe, gone, forbidden),
    )
}


def with_other_leaf(path: Path, at: float, value: Any) -> None:
    """Replace one value somewhere in a JSON file by another; `at` in [0, 1] says which."""
    data = json.loads(path.read_bytes())
    places = list(_places(data))
    if not places:
        return
    holder, key = places[min(int(at * len(places)), len(places) - 1)]
    holder[key] = value
    path.write_text(json.dumps(data))


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value)


@contextlib.contextmanager
def as_nobody(really: bool) -> Iterator[None]:
    """Root reads all; what others are forbidden is seen as another user."""
    if not really or os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


State = Mapping[str, tuple[int, int, int]]
"""Kind, size and time of change of every file, by its path."""


@dataclass
class Copy:
    """A copy of a folder that anybody may read; what is damaged in it is mended from the whole."""

    whole: Path
    root: Path
    live: tuple[str, ...] = ()
    """Files that stay as they become."""

    def __post_init__(self) -> None:
        shutil.copytree(self.whole, self.root)
        self.sound = self.state()
        self.names = frozenset(self.sound)

    def state(self) -> State:
        found: dict[str, tuple[int, int, int]] = {}
        for path, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                at = os.lstat(place := os.path.join(path, name))
                changed = 0 if name in folders else at.st_mtime_ns
                size = 0 if name in folders else at.st_size
                found[os.path.relpath(place, self.root)] = at.st_mode, size, changed
        return found

    def mend(self) -> None:
        """Make it whole again."""
        now = self.state()
        for name in [name for name in now if self._is_other(name, now)]:
            path = self.root / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for name in sorted(self.names):  # folders before what is in them
            path = self.root / name
            if not os.path.lexists(path):
                whole = self.whole / name
                shutil.copytree(whole, path) if whole.is_dir() else shutil.copy2(whole, path)
        self.sound = {name: at for name, at in self.state().items() if name in self.names}

    def _is_other(self, name: str, now: State) -> bool:
        return name not in self.live and now[name] != self.sound.get(name)
