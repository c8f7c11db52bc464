"""One command, disturbed once, and whether it kept its promises."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.faults.commands import COMMANDS, Command
from tests.faults.forks import Ended, Forks
from tests.faults.shim import Call, Fault

LINES = 15
"""A command that fails says no more than this, its log included."""

HOT = {"store/mlflow.db-journal"}
"""What SQLite leaves where the disk refuses even to take a change back: the next one does it."""


class BrokenError(AssertionError):
    """What a disturbed command did not keep."""


@dataclass(frozen=True, slots=True)
class Case:
    """How a disturbed command ended."""

    struck: Call | None
    """The call that failed; None where the command made none such."""
    code: int
    line: str
    """Last line of its log."""


class Ground:
    """Undisturbed runs, and the folders that each command starts from.

    Args:
        tables: a database of MLflow without runs, where there is one: making it takes seconds.
    """

    def __init__(self, forks: Forks, folder: Path, tables: Path | None = None) -> None:
        self.forks, self._folder, self._tables = forks, folder, tables
        self._ready: set[str] = set()
        self._expected: dict[tuple[str, ...], Any] = {}
        self._recorded: dict[tuple[str, ...], Ended] = {}
        empty = self._start("")
        empty.mkdir()

    def _start(self, after: str) -> Path:
        return self._folder / f"after-{after}"

    def ready(self, command: Command) -> Path:
        """The folder that a command starts from: MLflow's tables are there."""
        if "" not in self._ready:
            tables = self._start("") / "store/mlflow.db"
            warm = self._folder / "warm"
            (warm / "store").mkdir(parents=True)
            if self._tables:
                shutil.copy(self._tables, warm / "store/mlflow.db")
            for one in ("training", "study", "evaluation", "data", "report"):
                self.forks.warm(COMMANDS[one].arguments, warm)
            tables.parent.mkdir()
            _emptied(warm / "store/mlflow.db", tables)
            self._ready.add("")
        if command.after not in self._ready:
            before = COMMANDS[command.after]
            folder = self._start(command.after)
            shutil.copytree(self.ready(before), folder)
            self._succeed(before, folder)
            self._ready.add(command.after)
        return self._start(command.after)

    def count(self, name: str, outage: str) -> int:
        """Number of calls of an undisturbed command that could meet an outage."""
        command = COMMANDS[name]
        with self.fresh(command) as folder:
            counting = Fault(action=outage, at=0)
            ended = self.forks.run(command.arguments, folder, counting, record=True)
            return ended.calls[-1].number

    def recorded(self, command: Command) -> Ended:
        """All calls of the undisturbed command."""
        if command.arguments not in self._recorded:
            with self.fresh(command) as folder:
                ended = self._succeed(command, folder, record=True)
                self._expected[command.arguments] = command.content(folder)
                self._recorded[command.arguments] = ended
        return self._recorded[command.arguments]

    @contextmanager
    def fresh(self, command: Command) -> Iterator[Path]:
        """A folder in which a command has not run yet."""
        ready = self.ready(command)
        folder = Path(mkdtemp(dir=self._folder)) / "f"
        shutil.copytree(ready, folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder.parent)

    def _succeed(self, command: Command, folder: Path, *, record: bool = False) -> Ended:
        ended = self.forks.run(command.arguments, folder, record=record)
        if ended.code:
            raise BrokenError(f"ended with {ended.code}:\n{ended.err}")
        return ended

    def disturb(self, command: Command, fault: Fault) -> Case:
        """Run a command with a fault, then again without.

        Raises:
            BrokenError: it ended otherwise than in one line, left something, or the second run
                did not end as the undisturbed one.
        """
        self.recorded(command)
        with self.fresh(command) as folder:
            ended = self.forks.run(command.arguments, folder, fault)
            struck = ended.calls[0] if ended.calls else None
            _require_one_line(ended, struck)
            left = set(leftovers(folder)) - HOT
            if ended.code not in (0, -9) and left and struck and struck.call != "unlink":
                raise BrokenError(f"left {sorted(left)}")
            if ended.code or self._misses(command, folder):
                self._succeed(command, folder)
            if wrong := self._misses(command, folder):
                raise BrokenError(f"after going on: {wrong}")
            if ever := leftovers(folder):
                raise BrokenError(f"left for ever {ever}")
        return Case(struck, ended.code, ended.err.strip().rpartition("\n")[2])

    def _misses(self, command: Command, folder: Path) -> str:
        """What is not as the undisturbed run left it; empty if all is."""
        expected = self._expected[command.arguments]
        try:
            found = command.content(folder)
        except Exception as error:  # noqa: BLE001 - half a file fails in many ways
            return f"{type(error).__name__}: {error}"
        differ = [name for name in expected if found.get(name) != expected[name]]
        if "runs" in differ:
            return f"runs: {found['runs']} instead of {expected['runs']}"
        return ", ".join(differ) or ", ".join(found.keys() - expected.keys())


def _require_one_line(ended: Ended, struck: Call | None) -> None:
    """A command that could not go on says so in one line, with exit code 2."""
    died = struck is not None and ended.code == -9
    if ended.code in (0, 2) or died:
        lines = ended.err.strip().split("\n")
        noise = [line for line in lines if line.startswith(("Traceback", "  File", "[SQL"))]
        if noise or len(lines) > LINES:
            raise BrokenError(f"said:\n{ended.err}")
        if ended.code != 2 or lines[-1].startswith("fftune: "):
            return
    raise BrokenError(f"ended with {ended.code}:\n{ended.err}")


def leftovers(folder: Path) -> list[str]:
    """Files that only a writer at work may have."""
    found = [p for pattern in (".*.part", "*.rename", "*-journal") for p in folder.rglob(pattern)]
    return sorted(str(path.relative_to(folder)) for path in found)


def _emptied(used: Path, tables: Path) -> None:
    """Copy a database of MLflow with its tables, without what a command wrote into them."""
    shutil.copy(used, tables)
    with closing(sqlite3.connect(tables)) as database, database:
        for table in ("tags", "params", "metrics", "latest_metrics", "runs", "experiment_tags"):
            database.execute(f"DELETE FROM {table}")
        database.execute("DELETE FROM experiments WHERE experiment_id != 0")
