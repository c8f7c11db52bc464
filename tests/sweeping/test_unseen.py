"""What a worker on Ray tells its driver, where no trial is spent; no Ray is started here."""

import errno
import json
import re
from math import isnan
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import tune

from fftune.config import Resources
from fftune.errors import (
    ClusterError,
    DivergedError,
    FftuneError,
    OutOfMemoryError,
    StorageError,
    unpacked,
)
from fftune.ray_cluster import Driver
from fftune.sweeping import ray_tune as on_ray
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_runner import TrialRunner
from fftune.tracking.store import Tracking

LINE = r"^storage '.*/quick' is not visible on node \d.*; name a folder that all nodes share$"


@pytest.fixture
def runner(quick, tmp_path: Path):
    """As the driver sends it; what it does is not done."""
    tracking = Tracking(uri="", experiment_id="0", unsent=tmp_path)
    study = StudyDir(tmp_path / "studies/quick", quick)
    return TrialRunner(study=study, tracking=tracking, resources=Resources())


@pytest.fixture
def reported(runner, monkeypatch) -> list[dict]:
    """What the worker of trial 0 reports, without a folder of its study."""
    reports: list[dict] = []
    monkeypatch.setattr(tune, "report", reports.append)
    on_ray._trial({"number": 0, "settings": {"lam": 1.0}}, runner, Driver.here())
    return reports


def test_its_worker_says_so_and_makes_no_folder(runner, reported) -> None:
    (report,) = reported
    assert all(isnan(report[risk]) for risk in runner.study.config.risks)
    with pytest.raises(StorageError, match=LINE):
        raise unpacked(**json.loads(report[on_ray.ENDED]))
    assert not runner.study.path.exists()


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (DivergedError("loss is nan"), None, ""),
        (OSError(errno.ENOSPC, "x", "/x"), StorageError, "'/x': the disk is full"),
        (MemoryError(), OutOfMemoryError, "out of memory"),
        (KeyError("odd"), FftuneError, "KeyError: 'odd'"),
    ],
)
def test_what_a_trial_meets_is_told_apart(runner, monkeypatch, error, kind, told) -> None:
    """Its settings did it, and it has failed; or its surroundings, and the study ends."""
    reports: list[dict] = []

    def met(*_arguments, **_named):
        raise error

    context = SimpleNamespace(
        get_trial_resources=lambda: SimpleNamespace(required_resources={"CPU": 1.0})
    )
    monkeypatch.setattr(tune, "report", reports.append)
    monkeypatch.setattr(tune, "get_context", lambda: context)
    monkeypatch.setattr(TrialRunner, "__call__", met)
    runner.study.path.mkdir(parents=True)
    (runner.study.path / "config.json").touch()
    on_ray._trial({"number": 3, "settings": {"lam": 1.0}}, runner, Driver.here())
    (report,) = reports
    assert all(isnan(report[risk]) for risk in runner.study.config.risks)
    if kind is None:
        assert on_ray.ENDED not in report
        return
    reporter = on_ray._Reporter(runner, None, None)
    with pytest.raises(kind, match=re.escape(told)) as ended:
        reporter.on_trial_result(0, [], None, report)
    assert type(ended.value) is kind and reporter.ended is ended.value
    assert "\n" not in str(ended.value)


def test_workers_that_die_end_the_study_and_spend_no_trial(runner) -> None:
    runner.study.path.mkdir(parents=True)
    reporter = on_ray._Reporter(runner, None, SimpleNamespace(stopped={}))
    trial = SimpleNamespace(trial_id="a", config={"number": 0, "settings": {"lam": 1.0}})
    with pytest.raises(ClusterError, match="^the workers of trial 0 died 3 times; .*--resume$"):
        reporter.on_trial_error(0, [trial], trial)
    with pytest.raises(StorageError, match="^trial 0 left no result"):
        reporter.on_trial_complete(0, [trial], trial)
    assert runner.study.ended == 0


def test_the_study_ends_and_the_trial_is_left_to_resume(runner, reported, monkeypatch) -> None:
    """Nothing of it is recorded as failed: the node would fail all that it is given."""

    class Tuner:
        def __init__(self, *_arguments, run_config, **_settings) -> None:
            (self.reporter,) = run_config.callbacks

        def fit(self) -> None:
            trial = SimpleNamespace(trial_id="a", config={"number": 0, "settings": {"lam": 1.0}})
            try:
                self.reporter.on_trial_result(0, [trial], trial, reported[0])
            except StorageError as error:
                raise tune.TuneError("Traceback ...") from error

    monkeypatch.setattr(on_ray, "at_once", lambda *_settings: 1)
    monkeypatch.setattr(on_ray, "_search_alg", lambda *_settings: None)
    monkeypatch.setattr(tune, "Tuner", Tuner)
    runner.study.path.mkdir(parents=True)
    with pytest.raises(StorageError, match=LINE):
        on_ray.run_on_ray(runner, None, None, Resources())
    assert runner.study.ended == 0
