"""Commands that are disturbed, as small as they can be, and what each must leave in the end."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fftune.models.weights import read_plain

TAGS = ("fftune.kind", "fftune.study", "fftune.run", "fftune.risk")


@dataclass(frozen=True, slots=True)
class Command:
    """A command; the same one goes on after whatever ended it."""

    arguments: tuple[str, ...]
    """FOLDER stands for the folder that holds all it reads and writes."""
    content: Callable[[Path], Any]
    """What must be equal to an undisturbed run's."""
    after: str = ""
    """The command whose results it needs."""


def study(folder: Path) -> dict[str, Any]:
    """Each lambda's net, counts and rows; the front; finished runs of MLflow, each once."""
    place = folder / "store/studies/s"
    trials = {}
    for path in place.glob("trials/*/result.json"):
        result = json.loads(path.read_text())
        assert result["lam"] not in trials, "a lambda was trained twice"
        trials[result["lam"]] = (
            *(result[name] for name in ("model_hash", "validation", "test")),
            rows(path.with_name("outcomes.parquet")),
        )
    front = json.loads((place / "front.json").read_text())
    assert not front["failures"], f"a trial was spent: {front['failures']}"
    told = [(point["lam"], point["model_hash"]) for point in front["points"]]
    pages = [name for name in ("report.html", "search.html") if (place / name).stat().st_size]
    states = list((place / "states").rglob("*.pt"))
    return {"trials": trials, "front": told, "pages": pages, "left": states, "runs": runs(folder)}


def training(folder: Path) -> dict[str, Any]:
    """Both nets and the course of training, but for its time."""
    place = folder / "store/runs/t"
    history = pq.read_table(place / "history.parquet").to_pandas()
    nets = {
        path.parent.name: {k: v.tolist() for k, v in read_plain(str(path)).items()}
        for path in place.glob("*/weights.pt")
    }
    timed = ["seconds", "examples_per_second", "data_wait"]
    states = list(place.glob("states/*"))
    course = history.drop(columns=timed).to_dict("list")
    return {"nets": nets, "course": str(course), "left": states, "runs": runs(folder)}


def evaluation(folder: Path) -> dict[str, Any]:
    """Rows, and the runs of MLflow."""
    found = {path.name: rows(path) for path in folder.glob("store/rows/*.parquet")}
    told = sorted(path.name for path in folder.glob("store/rows/*.json"))
    assert found
    return {"rows": found, "told": told, "runs": runs(folder)}


def data(folder: Path) -> dict[str, Any]:
    """Betons and manifests, to the byte."""
    files = [path for path in folder.glob("data/*/*") if not path.name.startswith(".")]
    assert files
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def report(folder: Path) -> dict[str, Any]:
    """Pages, and the front in MLflow."""
    place = folder / "store/studies/s"
    pages = {name: (place / name).stat().st_size for name in ("report.html", "search.html")}
    return {"pages": pages, "runs": runs(folder)}


def rows(path: Path) -> dict[str, list[Any]]:
    """Columns of a file of outcomes."""
    columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    return columns


def runs(folder: Path) -> list[tuple[str, ...]]:
    """Finished runs of MLflow in whose place is no other, by their tags; none is left open."""
    with closing(sqlite3.connect(folder / "store/mlflow.db")) as database:
        found = database.execute(
            "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"
        ).fetchall()
        named = database.execute("SELECT run_uuid, key, value FROM tags ORDER BY key").fetchall()
        lams = database.execute("SELECT run_uuid, value FROM params WHERE key = 'lam'").fetchall()
    names: dict[str, list[str]] = {uuid: [] for uuid, _ in found}
    for uuid, key, value in named:
        if key == "fftune.replaced_by":
            names.pop(uuid, None)
        elif uuid in names and key in TAGS:
            names[uuid].append(f"{key}={value}")
    for uuid, value in lams:
        if uuid in names:
            names[uuid].append(f"lam={value}")
    left = [(uuid, status) for uuid, status in found if uuid in names]
    for uuid, status in left:
        assert status in ("FINISHED", "KILLED", "FAILED"), f"MLflow's {names[uuid]} is {status}"
    return sorted(tuple(sorted(names[uuid])) for uuid, status in left if status == "FINISHED")


NET = "--{0}model mlp --{0}width 16"
SMALL = "--base.optimizer.epochs 1 --battery.steps 1 --battery.examples 16"
SIZES = "--{0}data.train-size 60 --{0}data.validation-size 16"


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


COMMANDS = {
    "study": Command(
        _words(
            f"sweep thrm --name s --trials 2 --backend inline --resume {SMALL} "
            f"{SIZES.format('base.')} {NET.format('base.')}"
        ),
        study,
    ),
    "training": Command(
        _words(
            "train thrm --name t --optimizer.epochs 2 --save-seconds 0 --resume "
            f"{SIZES.format('')} {NET.format('')}"
        ),
        training,
    ),
    "evaluation": Command(
        _words(
            "evaluate FOLDER/store/runs/t/checkpoint --battery risks --battery.steps 1 "
            "--battery.block-size 8 --battery.examples 16"
        ),
        evaluation,
        after="training",
    ),
    "data": Command(_words("data write digits"), data),
    "report": Command(_words("report s"), report, after="study"),
}
SMALLEST = Command(
    tuple("1" if word == "2" else word for word in COMMANDS["study"].arguments), study
)
"""A study of one trial."""
