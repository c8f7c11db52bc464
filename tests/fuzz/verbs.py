"""Whole commands over a folder that has a file of each kind, and which of the files they read."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fftune import registry, stored_file
from fftune.cli.options import as_named
from fftune.config.study import kind_record
from fftune.training.step import Stepper
from tests.faults import commands as faults
from tests.fuzz.kinds import CHECKPOINT, make
from tests.fuzz.said import Said

ITEMS = Path(__file__).parents[1] / "papers/paper_items.py"
FEW = "--examples 4 --battery.steps 1"
PHOTO = "nets.py:photo"
NETS = """from torch import nn
def photo():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
"""
HEDGE = (
    f"sweep hedge --checkpoint {CHECKPOINT} --backend inline --examples 8 --name h "
    "--base.attack.steps 1 --resume"
)
UNSENT = [
    ["begin", "0", {"fftune.kind": "trial"}, {"lam": "1"}],
    ["metrics", {"natural_risk": 0.5}, 1],
    ["end", "FINISHED"],
]


@dataclass(frozen=True)
class Command:
    """A command, whose words are relative to the folder that it is run in."""

    line: str
    slow: bool = True
    """It takes seconds, or needs what takes seconds to make."""
    first: str = ""
    """The command after which it goes on; by default itself."""
    fails: bool = False
    """It may end with 1, as a check of the net's fails, or an item."""


COMMANDS: Mapping[str, Command] = {
    "evaluate a checkpoint": Command(f"evaluate {CHECKPOINT} {FEW}", slow=False),
    "evaluate an average": Command(f"evaluate {CHECKPOINT}@average {FEW}"),
    "report a study": Command("report done", slow=False),
    "a table": Command("report --table attacks done", slow=False),
    "a gallery": Command(f"report --gallery {CHECKPOINT}", slow=False),
    "verify": Command("data verify data/pngs/whole.beton", slow=False),
    "list": Command("data list"),
    "report a hedge": Command("report hedged"),
    "evaluate a study": Command(f"evaluate done {FEW}"),
    "evaluate a net": Command(f"evaluate --model net.py:net --data digits {FEW}"),
    "evaluate a folder": Command(f"evaluate --model nets.py:photo --data folder:folder {FEW}"),
    "evaluate annotated": Command(f"evaluate --model nets.py:photo --data folder:annotated {FEW}"),
    "evaluate Parquet": Command(
        f"evaluate --model nets.py:photo --data folder:images.parquet {FEW}"
    ),
    "transfer": Command(f"evaluate --model net.py:net --data digits {FEW} --transfer {CHECKPOINT}"),
    "doctor": Command(f"doctor {CHECKPOINT} --examples 4", fails=True),
    "gate": Command(f"gate {CHECKPOINT} {CHECKPOINT} {FEW} --measure accuracy --margin .999"),
    "train": Command(" ".join(faults.COMMANDS["training"].arguments)),
    "train again": Command(
        " ".join(faults.COMMANDS["training"].arguments).replace("--name t", "--name u")
    ),
    "sweep": Command(
        " ".join(faults.COMMANDS["study"].arguments), first=" ".join(faults.SMALLEST.arguments)
    ),
    "hedge": Command(f"{HEDGE} --trials 2", first=f"{HEDGE} --trials 1"),
    "report a new study": Command("report s"),
    "reproduce": Command(f"reproduce {ITEMS}:SIZES --backend inline", fails=True),
}


def run(command: Command) -> Said:
    """Run a command here, in the folder that it is meant for."""
    verb, *words = command.line.split()
    kind_record.cache_clear()  # as another process
    registry._LOADED.clear()
    return Said(lambda: as_named(import_module(f"fftune.cli.{verb}").main, words))


@contextmanager
def inside(root: Path) -> Iterator[None]:
    """Be in a folder, whose storage and data commands then use."""
    places = {"FFTUNE_STORAGE": "store", "FFTUNE_DATA": "data", "HOME": "home", "TMPDIR": "tmp"}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FFTUNE_DB", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        for variable, place in places.items():
            patch.setenv(variable, str(root / place))
        patch.chdir(root)
        yield


def make_whole(root: Path, *, slow: bool) -> None:
    """Fill a folder with what commands read; the slow ones need more."""
    make(root)
    for name in ("home", "tmp"):
        (root / name).mkdir()
    (root / "nets.py").write_text(NETS)
    shutil.copytree(root / "annotated/train/a", root / "annotated/train/b")
    unsent = root / "store/mlflow-unsent/1-1.jsonl"
    unsent.parent.mkdir()
    unsent.write_text("".join(json.dumps(call) + "\n" for call in UNSENT))
    failed = {}
    with inside(root):
        if slow:
            _interrupt(COMMANDS["train"])
        for name, command in COMMANDS.items():
            if name == "train" or (command.slow and not slow):
                continue
            ended = run(replace(command, line=command.first or command.line))
            if ended.code and not (command.fails and not ended.lines):
                failed[name] = ended.lines
            if not unsent.exists():
                unsent.write_text("".join(json.dumps(call) + "\n" for call in UNSENT))
    assert not failed, failed


def _interrupt(command: Command) -> None:
    """Run a training to the second epoch, so that its states are left."""
    original, steps = Stepper.__call__, iter(range(10**6))

    def stops(self: Stepper, *arguments: Any, **named: Any) -> Any:
        if next(steps) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "__call__", stops)
        assert run(command).code == 130
    assert list(Path("store/runs/t/states").glob("*.pt"))


_OPENED: list[str] | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _OPENED is not None and event in ("open", "sqlite3.connect"):
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in "wax"
        if isinstance(arguments[0], str | bytes | os.PathLike) and not writes:
            _OPENED.append(os.fsdecode(arguments[0]))


sys.addaudithook(_hook)


def read_by(work: Callable[[], object], root: Path) -> list[str]:
    """Files below a folder that work opens: by Python, by SQLite, or through the door of files.

    Libraries open some without Python; those are named by `stored_file.reading`.
    """
    global _OPENED
    require = stored_file.require_plain_file
    there = {path for path in root.rglob("*") if path.is_file()}

    def noted(path: Path) -> None:
        if _OPENED is not None:
            _OPENED.append(os.fspath(path))
        require(path)

    _OPENED = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stored_file, "require_plain_file", noted)
            work()
        names = (path.partition("?")[0].removeprefix("file:") for path in _OPENED)
        found = there & {Path(os.path.abspath(name)) for name in names}
    finally:
        _OPENED = None
    return sorted(str(path.relative_to(root)) for path in found)


def damageable(files: Sequence[str]) -> list[str]:
    """Those that somebody keeps: no locks, nothing in folders for what is temporary."""
    return [
        name
        for name in files
        if not name.startswith(("home/", "tmp/")) and not name.endswith(".lock")
    ]
