"""Real processes: drivers that begin at once, and SIGKILL beside every step of a study."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from fftune import recipes
from fftune.config import Study
from fftune.report.publish import publish
from fftune.sweeping import inline
from fftune.sweeping.front import Front
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.sweep import sweep
from fftune.tracking.runs import REPLACED, TrackedRun

PROCESSES = multiprocessing.get_context("fork")  # what is imported here need not be imported there
SHARES = [0.1, 0.5, 0.9]


@pytest.fixture(scope="module")
def coins() -> Study:
    return recipes.find(str(Path(__file__).with_name("coin_kind.py")))("tiny")


def at_once(*works: Callable[[], object]) -> list[int | None]:
    """Exit codes of processes that begin their work together."""
    together = PROCESSES.Barrier(len(works))

    def child(work: Callable[[], object]) -> None:
        together.wait()
        work()

    started = [PROCESSES.Process(target=child, args=(work,)) for work in works]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def runs_of(root: Path, experiment: str) -> list[tuple[str, str]]:
    """Name and status of each run in whose place is no other."""
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [(r.info.run_name, r.info.status) for r in found if REPLACED not in r.data.tags]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_drivers_begin_in_one_new_storage(coins: Study, tmp_path: Path) -> None:
    """Twice: the second time in one new database of Optuna's, too."""
    for at, url in enumerate(("", f"sqlite:///{tmp_path / 'optuna.db'}")):
        root = tmp_path / str(at)
        root.mkdir()
        studies = [replace(coins, name=f"{name}{at}") for name in "abc"]

        def begin(study: Study, root: Path = root, url: str = url) -> None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            os.environ["FFTUNE_DB"] = url
            sweep(study, root=root, backend="inline")

        assert at_once(*(lambda s=study: begin(s) for study in studies)) == [0, 0, 0]
        for study in studies:
            front = Front.read(root / "studies" / study.name / "front.json")
            assert sorted(r.settings["share"] for r in front.results) == SHARES
        assert [status for _, status in runs_of(root, coins.experiment)] == ["FINISHED"] * 9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_report_three_times_at_once(coins: Study, root: Path) -> None:
    sweep(coins, root=root, backend="inline")
    assert at_once(*[lambda: publish(["coins"], root)] * 3) == [0, 0, 0]
    fronts = [run for run in runs_of(root, coins.experiment) if "front" in run[0]]
    assert [status for _, status in fronts] == ["FINISHED"] * len(fronts)
    assert len(fronts) == len({name for name, _ in fronts})


POINTS = [
    *((StudyDir, "finish", at) for at in (1, 3)),
    *((TrackedRun, "end", at) for at in (1, 3)),
    *((inline, "tell", at) for at in (1, 3)),
    (Front, "write", 1),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_sigkill_beside_every_step_loses_and_repeats_nothing(
    coins: Study, root: Path, when: str
) -> None:
    died = 0
    for at, (owner, name, call) in enumerate(POINTS):
        study = replace(coins, name=f"coins{at}", experiment=f"e{at}")

        def dying(study=study, owner=owner, name=name, call=call) -> None:
            function, calls = getattr(owner, name), []

            def kill(*arguments, **named):
                calls.append(name)
                if len(calls) == call and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                found = function(*arguments, **named)
                if len(calls) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            setattr(owner, name, kill)
            sweep(study, root=root, backend="inline")

        died += at_once(dying) == [-signal.SIGKILL]
        front = sweep(study, root=root, backend="inline", resume=True)
        assert sorted(r.settings["share"] for r in front.results) == SHARES
        ends = [status for _, status in runs_of(root, study.experiment)]
        assert ends.count("FINISHED") == 3 and set(ends) <= {"FINISHED", "KILLED"}
    print(died, "of", len(POINTS), "drivers were killed")
    assert died == len(POINTS)
