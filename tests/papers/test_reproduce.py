"""Items from keys to pages: equal whatever interrupts, failures told, nothing done twice."""

import os
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fftune import storage
from fftune.errors import ConfigError, DataError, StudyError
from fftune.papers import reproduce as reproduce_module
from fftune.papers.artifacts import Built, Figure, Table
from fftune.papers.declarations import Setup
from fftune.papers.graph import schedule as graph
from fftune.papers.graph.schedule import wanted
from fftune.papers.pages import page as page_module
from fftune.papers.pages import pictures as pictures_module
from fftune.papers.pages.pictures import PictureFormat
from fftune.papers.reproduce import How, Reproduction, reproduce
from fftune.papers.tasks import Task, papers_root
from fftune.storage import locked
from tests.papers.paper_items import SIZES, TABLE

ITEMS = "tests/papers/paper_items.py"
KEYS = (f"{ITEMS}:TABLE", f"{ITEMS}:SIZES")
ROWS = "outcomes.parquet"
INLINE = How(backend="inline", device="cpu")


def quiet_reproduce(
    keys: tuple[str, ...],
    root: Path,
    how: How = INLINE,
    pictures: Sequence[PictureFormat] = (),
) -> Reproduction:
    """Without MLflow, which takes seconds to open."""
    kept = reproduce_module.log_to_mlflow
    reproduce_module.log_to_mlflow = lambda *_: None
    try:
        return reproduce(keys, Setup(), root=root, how=how, pictures=pictures)
    finally:
        reproduce_module.log_to_mlflow = kept


def tables(root: Path) -> Mapping[str, str]:
    """Tables of a storage folder as they were written."""
    found = sorted((papers_root(root) / "tiny").rglob("*.csv"))
    return {path.name: path.read_text() for path in found}


def numbers(one: Built) -> list[float]:
    (table,) = one.artifacts
    assert isinstance(table, Table)
    return [cell.ours.mean for row in table.rows for cell in row.cells if cell.ours]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    found = quiet_reproduce(KEYS, root)
    assert found.failed == []
    assert [len(numbers(one)) for one in found.built] == [9, 1]
    return root


@pytest.mark.slow
def test_a_second_call_does_nothing_again(undisturbed: Path, monkeypatch) -> None:
    before = tables(undisturbed)
    monkeypatch.setattr(reproduce_module, "run_inline", None)
    found = quiet_reproduce(KEYS, undisturbed)
    assert tables(undisturbed) == before != {}
    assert found.page.name == "index.html" and found.page.is_file()
    assert "accuracies of three nets" in found.summary()


def test_finished_tasks_leave_no_blocks_and_no_snapshots(undisturbed: Path) -> None:
    tasks = papers_root(undisturbed) / "tasks"
    assert not list(tasks.rglob("blocks")) and not list(tasks.rglob("states"))


def test_what_fails_is_told_and_the_rest_is_built(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    keys = (*KEYS, f"{ITEMS}:FAILING", f"{ITEMS}:UNBUILT", f"{ITEMS}:NOTHING")
    found = quiet_reproduce(keys, tmp_path)
    assert [bool(one.error) for one in found.built] == [False, False, False, True, True]
    assert numbers(found.built[2]) == []  # a table with a failed cell
    told = "\n".join(found.failed)
    assert len(found.failed) == 3
    assert "broken of cifar10 mlp standard seed 0 (of no use)" in told
    assert "unbuilt (no such figure)" in told and "defines no 'NOTHING'" in told


class TornPlot:
    """A figure that cannot be drawn on a page."""

    def to_html(self, **_: object) -> str:
        raise ValueError("no such colour")


@pytest.mark.slow
def test_a_page_that_cannot_be_drawn_is_its_items_own_failure(
    undisturbed: Path, tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    shown = Figure(name="torn", title="torn", plot=TornPlot())
    torn = replace(TABLE, build=lambda _: [shown])
    monkeypatch.setattr(graph, "PAPERS", {"torn": torn, "sizes": SIZES})
    found = quiet_reproduce(("torn", "sizes"), tmp_path)
    assert [one.error for one in found.built] == ["no such colour", ""]
    assert found.failed == ["table (no such colour)"]
    assert "It could not be built: no such colour" in (found.page.parent / "table.html").read_text()


def test_pictures_that_nothing_draws_stop_no_page(undisturbed: Path, monkeypatch) -> None:
    def undrawable(built: Built, _: Path, formats: Sequence[str]) -> list[str]:
        if formats:
            raise ConfigError(f"pictures could not be drawn of {built.key}: no browser")
        return []

    monkeypatch.setattr(page_module, "save_pictures", undrawable)
    monkeypatch.setattr(reproduce_module, "require_kaleido", lambda: None)
    found = quiet_reproduce(KEYS, undisturbed, pictures=["png"])
    assert [one.error for one in found.built] == ["", ""]
    assert found.failed == ["pictures could not be drawn of table: no browser"]  # once


def test_pictures_without_kaleido_are_refused_before_anything(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pictures_module, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="need the package kaleido"):
        quiet_reproduce(KEYS, tmp_path, pictures=["pdf"])
    assert not papers_root(tmp_path).exists()


@pytest.mark.slow
def test_published_nets_without_weights_are_refused_or_told(
    tmp_path: Path, monkeypatch, caplog
) -> None:
    """Their rows say where the weights go, with the published cells beside."""
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    monkeypatch.setattr(reproduce_module, "log_to_mlflow", lambda *_: None)
    full = Setup(scale="full")
    with pytest.raises(DataError, match=r"weights of 17 published nets .* P2\.T5 need them; --zoo"):
        reproduce(("P2.T5",), full, root=tmp_path, how=INLINE)
    assert not papers_root(tmp_path).exists()
    found = reproduce(("P2.T5",), full, root=tmp_path, how=INLINE, partial=True)
    assert found.failed == []
    assert "weights of 17 published nets" in caplog.text and "rows are empty" in caplog.text
    (table,) = found.built[0].artifacts
    cells = [cell for row in table.rows for cell in row.cells]
    assert len(table.rows) == 51 and all(cell.ours is None for cell in cells)
    assert all(cell.reason.startswith("there are no weights in ") for cell in cells)
    assert all(cell.published for cell in cells)


@pytest.mark.parametrize(
    "content", [b"", b'{"parameters": [1', b'{"parameters": [1]}'], ids=["empty", "cut", "other"]
)
@pytest.mark.parametrize(("kind", "name"), [("analysis", "result.json"), ("rows", ROWS)])
def test_a_damaged_result_is_named_with_what_mends_it(
    undisturbed: Path, tmp_path: Path, kind: str, name: str, content: bytes
) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    tasks = [task for one in wanted(KEYS, Setup()) for task in one.asked]
    task = next(task for task in tasks if task.kind == kind)
    (task.folder(tmp_path) / name).write_bytes(content)
    (told,) = quiet_reproduce(KEYS, tmp_path).failed
    folder = str(task.folder(tmp_path))
    assert f"{folder}/{name}" in told and f"delete {folder!r}" in told and "\n" not in told
    shutil.rmtree(folder)
    assert quiet_reproduce(KEYS, tmp_path).failed == []
    assert tables(tmp_path) == tables(undisturbed)


def test_one_driver_at_a_time(undisturbed: Path) -> None:
    with locked(papers_root(undisturbed), "it"), pytest.raises(StudyError, match="another driver"):
        quiet_reproduce(KEYS, undisturbed)


class DeathError(BaseException):
    """End of a process as SIGKILL brings it: nothing catches it, and nothing is cleaned up."""


def dies_at(commits: int, root: Path) -> bool:
    """Reproduce, and die when the n-th file is about to be committed; tell if that happened."""
    left = commits

    def replace(source: str, target: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            patch.setattr(storage.os, "unlink", lambda _: None)  # its half-written file stays
            raise DeathError
        rename(source, target)

    rename = os.replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage.os, "replace", replace)
        try:
            quiet_reproduce(KEYS, root)
        except DeathError:
            return True
    return False


@pytest.mark.slow
def test_tables_are_equal_after_any_number_of_deaths(undisturbed: Path, tmp_path: Path) -> None:
    """Whichever file a driver was about to commit when it died, the next goes on from there."""
    draw = random.Random(0)
    deaths = [dies_at(draw.randrange(1, 9), tmp_path) for _ in range(12)]
    assert sum(deaths) >= 8
    quiet_reproduce(KEYS, tmp_path)
    assert tables(tmp_path) == tables(undisturbed)
    left = [path.name for path in (papers_root(tmp_path) / "tasks").rglob(".*")]
    assert [name for name in left if not name.endswith(".lock")] == []


@pytest.mark.slow
def test_a_half_written_task_begins_anew(undisturbed: Path, tmp_path: Path) -> None:
    """Leftovers of a task of each kind, whatever they hold, do no harm."""
    tasks: dict[str, Task] = {}
    for one in wanted(KEYS, Setup()):
        tasks |= {task.kind: task for task in one.tasks}
    assert set(tasks) == {"net", "data", "rows", "analysis"}
    for task in tasks.values():
        folder = task.folder(tmp_path)
        (folder / "digits-mislabeling").mkdir(parents=True)
        (folder / ".outcomes.parquet.x1y2").write_bytes(b"half")
        for name in ("outcomes.parquet", "result.json", "digits-mislabeling/train.beton"):
            (folder / name).write_bytes(b"half")
    quiet_reproduce(KEYS, tmp_path)
    assert tables(tmp_path) == tables(undisturbed)


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_tasks_on_ray_leave_the_same(undisturbed: Path, tmp_path: Path) -> None:
    found = quiet_reproduce((*KEYS, f"{ITEMS}:DYING"), tmp_path, How(backend="ray", device="cpu"))
    assert found.failed == []  # a worker that dies once is replaced
    own = {name: text for name, text in tables(tmp_path).items() if "dying" not in name.lower()}
    assert own == tables(undisturbed)
    for path in papers_root(undisturbed).rglob("outcomes.parquet"):
        other = tmp_path / path.relative_to(undisturbed)
        assert other.read_bytes() == path.read_bytes()
