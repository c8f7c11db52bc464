"""SIGKILL at any moment costs time and nothing else."""

import json
import random
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import mlflow
import psutil
import pytest
from optuna.trial import TrialState

from fftune.config import SweepConfig
from fftune.sweeping import training_trial as trial
from fftune.sweeping.front import Front
from fftune.sweeping.optuna_study import open_search
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.sweep import sweep
from tests.forked import PROCESSES


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("moments", "trials", "epochs"),
    [
        pytest.param(3, 3, 2, id="3", marks=pytest.mark.slow),
        pytest.param(20, 6, 12, id="20", marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_the_front_is_the_same(
    quick: SweepConfig, root: Path, tmp_path: Path, monkeypatch, moments, trials, epochs
) -> None:
    """Drivers die at seeded moments of their own CPU time, which a busy machine does not move.

    They keep a state after every step, the undisturbed one keeps none.
    """
    optimizer = replace(quick.base.optimizer, epochs=epochs)
    config = replace(quick, trials=trials, base=replace(quick.base, optimizer=optimizer))
    calm = tmp_path / "calm"
    calm.mkdir()
    shutil.copy(root / "mlflow.db", calm)
    # The first trial imports things, which is not repeated: it does not count.
    sweep(replace(config, trials=1), root=calm, backend="inline")
    began = time.process_time()
    undisturbed = sweep(config, root=calm, backend="inline", resume=True)
    took = (time.process_time() - began) * trials / (trials - 1)
    began = time.process_time()
    sweep(config, root=calm, backend="inline", resume=True)
    opening = time.process_time() - began  # what each driver needs before it gets anywhere

    eager = partial(trial.train_anywhere, save_seconds=0.0)
    monkeypatch.setattr(trial, "train_anywhere", eager)
    draw, seen, died = random.Random(moments), {}, 0
    for _ in range(moments):
        died += kill_after(config, root, opening + draw.uniform(0, 2) * took / moments)
        now = stamps(root)
        assert seen.items() <= now.items()  # no finished trial was touched again
        seen = now
    assert died > 0
    print(died, "of", moments, "drivers had to be killed;", len(seen), "trials were finished")
    front = sweep(config, root=root, backend="inline", resume=True)

    assert found(front) == found(undisturbed)
    assert [m.lam for m in front.members] == [m.lam for m in undisturbed.members]
    assert_each_trial_counts_once(config, root)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_just_before_a_result_is_on_disk(quick, root: Path, monkeypatch, seeds) -> None:
    """MLflow does not call finished what will be done again."""

    class Death(BaseException):
        """Nobody handles it."""

    def die(*_) -> None:
        raise Death

    config = replace(quick, trials=1, seeds=seeds)
    with monkeypatch.context() as patched:
        patched.setattr(StudyDir, "finish", die)
        with pytest.raises(Death):
            sweep(config, root=root, backend="inline")
    sweep(config, root=root, backend="inline", resume=True)
    assert_each_trial_counts_once(config, root)


def kill_after(config: SweepConfig, root: Path, seconds: float) -> bool:
    """Let a driver go on with the study for so much CPU time; whether it had to be killed."""
    driver = PROCESSES.Process(
        target=sweep, args=(config,), kwargs={"root": root, "backend": "inline", "resume": True}
    )
    driver.start()
    process = psutil.Process(driver.pid)
    while driver.is_alive() and sum(process.cpu_times()[:2]) < seconds:
        time.sleep(0.005)
    driver.kill()
    driver.join()
    assert driver.exitcode in (0, -9)
    return driver.exitcode == -9


def stamps(root: Path) -> dict[Path, int]:
    """When each finished trial was finished."""
    results = root.glob("studies/quick/trials/*/result.json")
    return {path: path.stat().st_mtime_ns for path in results}


def found(front: Front) -> dict[float, tuple]:
    """By lambda, the net and its counts; a trial's number may be another after a crash."""
    return {p.lam: (p.model_hash, p.validation, p.test) for p in front.results}


def assert_each_trial_counts_once(config: SweepConfig, root: Path) -> None:
    """In Optuna, in MLflow and on disk."""
    study = StudyDir(root / "studies/quick", config)
    complete = open_search(study).get_trials(states=(TrialState.COMPLETE,))
    lams = sorted(json.loads(path.read_text())["lam"] for path in stamps(root))
    assert len(lams) == len(set(lams)) == config.trials
    assert sorted(t.params["lam"] for t in complete) == lams
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(config.experiment).experiment_id])
    finished = [float(r.data.params["lam"]) for r in runs if r.info.status == "FINISHED"]
    assert sorted(finished) == sorted(lams * config.seeds)
    assert {r.info.status for r in runs} <= {"FINISHED", "KILLED", "FAILED"}
