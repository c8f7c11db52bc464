"""The lines of a study, by a clock of the tests' own."""

import logging
from collections.abc import Iterator

import pytest

from fftune.config import SweepConfig
from fftune.progress import Lines, show_on
from fftune.risk import RiskCounts
from fftune.sweeping.front import Failure, SeedResult, Stopped
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_progress import TrialProgress


def result(trial: int, lam: float, wrong: int, concealed: int) -> SeedResult:
    counts = RiskCounts(total=100, wrong=wrong, concealed=concealed)
    return SeedResult(
        trial=trial,
        lam=lam,
        settings={"lam": lam},
        seed=0,
        model_hash="",
        validation=counts,
        test=RiskCounts(),
        train_seconds=9.0,
        evaluate_seconds=1.0,
    )


@pytest.fixture
def now() -> Iterator[list[float]]:
    seconds = [0.0]
    before = show_on(Lines(lambda: seconds[0]))
    yield seconds
    show_on(before)


def test_a_line_a_trial_with_the_time_left_and_the_best_front_at_the_end(
    tmp_path, now, caplog
) -> None:
    """(0.2, 0.5) alone dominates 0.8 x 0.5; with (0.4, 0.25), 0.6 x 0.25 more."""
    caplog.set_level(logging.INFO)
    study = StudyDir(tmp_path, SweepConfig(name="s", trials=4, strategy="random"))
    with TrialProgress(study) as progress:
        now[0] = 10
        progress.finished([result(0, 6, 20, 10)])
        now[0] = 20
        progress.failed(
            Failure(trial=1, settings={"attack.threat.eps": 8 / 255}, reason="loss is nan")
        )
        progress.waiting()
        now[0] = 36
        progress.stopped(
            Stopped(trial=2, settings={"lam": 9, "objective": "thrm"}, epoch=3, epochs_saved=37)
        )
        now[0] = 100
        progress.finished([result(3, 12, 40, 10)])
    assert caplog.messages == [
        "s: 0 of 4 trials",
        "s trial 1/4 lam 6: natural risk 20.0 %, hypocritical risk 50.0 % on validation, 10.0 s, "
        "30 s left",
        "s trial 2/4 attack.threat.eps 0.0313725 (8/255): failed: loss is nan, 20 s left",
        "s trial 3/4 lam 9, objective thrm: stopped after epoch 3, 37 epochs saved, 12 s left",
        "s trial 4/4 lam 12: natural risk 40.0 %, hypocritical risk 25.0 % on validation, 10.0 s",
        "s: 4 of 4 trials in 1 min 40 s; best hypervolume 0.5500",
    ]


def test_a_study_that_goes_on_knows_its_earlier_trials(tmp_path, now, caplog) -> None:
    caplog.set_level(logging.INFO)
    study = StudyDir(tmp_path, SweepConfig(name="s", trials=3, strategy="random"))
    study.finish([result(0, 6, 20, 10)])
    with TrialProgress(study) as progress:
        now[0] = 10
        progress.finished([result(1, 9, 50, 50)])
    assert caplog.messages[0] == "s: 1 of 3 trials"
    assert caplog.messages[1].endswith("10.0 s, 10 s left")
    assert caplog.messages[2] == "s: 2 of 3 trials in 10 s; best hypervolume 0.4000"
