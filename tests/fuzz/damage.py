"""Ways in which a file that somebody keeps comes to be another: cut, emptied, replaced, hidden."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
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


def contents(root: Path) -> dict[str, bytes | None]:
    """Every file below a folder; None for what is no file that can be read."""
    found: dict[str, bytes | None] = {}
    for path in sorted(root.rglob("*")):
        regular = path.is_file() and not path.is_symlink()
        if not path.is_dir():
            found[str(path.relative_to(root))] = path.read_bytes() if regular else None
    return found


def copied(source: Path, target: Path) -> Path:
    """A copy that anybody may read, to damage."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target
