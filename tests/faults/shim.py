"""Build of `shim.c`, and what it is told."""

import errno
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("shim.c")
ACTIONS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "death": -1}


def compiler() -> str | None:
    """The C compiler of this machine, if there is one; `make setup` installs g++ with it."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def build(folder: Path) -> Path:
    """The library to preload."""
    library = folder / "faults.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE"]
    made = [compiler() or "cc", *flags, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(made, check=True)
    return library


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One call that fails, of all or of those of a name and a kind of file."""

    action: str
    """ENOSPC, EIO or death; or one of `outages`, at the k-th call that meets it."""
    at: int
    """Number of the call, from 1."""
    call: str = ""
    kind: str = ""
    """Of its file, as the shim writes it, `*` for any text."""
    stays: bool = False
    """From then on whatever needs room fails too, as on a disk that is full."""

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the shim recorded it."""

    number: int
    call: str
    kind: str
    library: str
    outcome: str
    stack: tuple[str, ...]
    """Python's frames, innermost first, as `file:line function`."""

    @property
    def site(self) -> tuple[str, ...]:
        """What tells two places apart: the call, the library, and the frames of fftune."""
        ours = [frame for frame in self.stack if frame.startswith("fftune/")]
        return (self.call, self.library, *ours)


def calls(log: Path) -> list[Call]:
    """The records in a log."""
    found = []
    for block in log.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        head, *frames = block.strip("\n").split("\n")
        if head.count("\t") == 4:
            number, call, kind, library, outcome = head.split("\t")
            found.append(
                Call(int(number), call, kind, library, outcome, tuple(map(_frame, frames)))
            )
    return found


def _frame(line: str) -> str:
    """`File "/a/fftune/b.py", line 3 in c` as `fftune/b.py:3 c`."""
    path, _, rest = line.strip().removeprefix('File "').partition('", line ')
    number, _, name = rest.partition(" in ")
    for package in ("/fftune/fftune/", "/site-packages/"):
        path = path.rpartition(package)[2] if package in path else path
    if "/fftune/" in path and "site-packages" not in line:
        path = "fftune/" + path.rpartition("/fftune/")[2]
    return f"{path}:{number} {name}"
