"""Whole studies in one process."""

import json
from dataclasses import replace
from math import nan
from pathlib import Path

import mlflow
import optuna
import pandas as pd
import pytest
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from fftune.config import StoppingConfig, SweepConfig, TrainConfig, from_json
from fftune.errors import ConfigError, DivergedError, FftuneError, StudyError
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts
from fftune.sweeping.cost import cost, describe_hours
from fftune.sweeping.early_stopping import ParetoHalving
from fftune.sweeping.front import Front
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.sweep import sweep
from fftune.sweeping.training_trial import train_alone, train_and_evaluate
from fftune.sweeping.trial_runner import TrialRunner
from fftune.training.checkpoint import read_checkpoint

CALL = TrialRunner.__call__
MEASURE = "fftune.sweeping.training_trial.train_and_evaluate"


def run(config: SweepConfig, root: Path, **options: object) -> Front:
    return sweep(config, root=root, backend="inline", **options)


def search_of(root: Path) -> optuna.Study:
    journal = JournalFileBackend(str(root / "studies/quick/optuna.journal"))
    return optuna.load_study(study_name="quick", storage=JournalStorage(journal))


def test_a_study_leaves_what_design_says(quick: SweepConfig, root: Path) -> None:
    front = run(quick, root)

    study = root / "studies/quick"
    assert [p.lam for p in front.results[::2]] == [0, 100]
    assert Front.read(study / "front.json") == front
    assert from_json(SweepConfig, (study / "config.json").read_text()) == quick
    for p in front.results:
        trial = study / "trials" / str(p.trial)
        assert {path.name for path in trial.iterdir()} == {
            *("config.json", "checkpoint", "history.parquet", "outcomes.parquet", "result.json"),
            *("average", "best"),
        }
        config = from_json(TrainConfig, (trial / "config.json").read_text())
        assert config == replace(quick.base, lam=p.lam)
        history = pd.read_parquet(trial / "history.parquet")
        assert history["epoch"].tolist() == [1, 2]
        assert history["loss"].notna().all()
        outcomes = Outcomes.read(trial / "outcomes.parquet")
        assert RiskCounts.of(outcomes, attack="pgd-2", split="test") == p.test
        assert RiskCounts.of(outcomes, attack="pgd-2", split="validation") == p.validation


@pytest.mark.slow
def test_the_search_is_told_validation_risks(quick: SweepConfig, root: Path) -> None:
    front = run(quick, root)
    told = {t.number: tuple(t.values) for t in search_of(root).trials}
    assert told == {
        p.trial: (p.validation.natural_risk.value, p.validation.hypocritical_risk.value)
        for p in front.results
    }


@pytest.mark.slow
def test_mlflow_holds_a_run_a_trial(quick: SweepConfig, root: Path) -> None:
    front = run(quick, root)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (experiment,) = (e for e in client.search_experiments() if e.name == quick.experiment)
    runs = client.search_runs([experiment.experiment_id])
    by_trial = {int(r.data.tags["fftune.trial"]): r for r in runs}
    for p in front.results:
        found = by_trial.pop(p.trial)
        assert found.info.status == "FINISHED"
        assert float(found.data.params["lam"]) == p.lam
        assert found.data.params["attack.threat.eps"] == "0.15"
        assert found.data.metrics["hypocritical_risk"] == p.test.hypocritical_risk.value
        assert found.data.metrics["validation/natural_risk"] == p.validation.natural_risk.value
        losses = client.get_metric_history(found.info.run_id, "train/loss")
        assert [m.step for m in losses] == [1, 2]
    assert by_trial == {}


def test_grid_trains_the_lambdas_it_is_given(quick: SweepConfig, root: Path) -> None:
    config = replace(quick, strategy="grid", lam=(5.0, 0.0, 20.0))
    assert [p.lam for p in run(config, root).results] == [0, 5, 20]
    assert [t.params["lam"] for t in search_of(root).trials] == [5, 0, 20]


@pytest.mark.slow
def test_a_failed_trial_is_failed_and_the_sweep_goes_on(quick, root, monkeypatch) -> None:
    fail_at(monkeypatch, {1})
    front = run(quick, root)
    assert [p.trial for p in front.results] == [0, 2]
    assert [(f.trial, f.lam, f.reason) for f in front.failures] == [(1, 100, "trial 1 broke")]
    assert [t.state.name for t in search_of(root).trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert [p.trial for p in run(quick, root).results] == [0, 2]  # and it stays that way


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (0.0, "the trained net's gradients are zero everywhere: pgd-2 cannot be scored"),
        (nan, "the trained net returned logits that are not finite"),
    ],
)
def test_a_net_that_nothing_can_score_fails_its_trial(
    quick, root, monkeypatch, weight, reason
) -> None:
    """Its settings did that, and would again: others go on, and a resumed study has its front."""

    def train(run) -> int:
        crafted = train_alone(run)
        if run.trial == 1:
            history = run.folder / "history.parquet"
            checkpoint = read_checkpoint(run.folder / "checkpoint", history)
            for parameter in checkpoint.model.parameters():
                parameter.data.fill_(weight)
            checkpoint.save(run.folder / "checkpoint")
        return crafted

    monkeypatch.setattr("fftune.sweeping.training_trial.train_alone", train)
    front = run(quick, root)
    assert [(f.trial, f.reason) for f in front.failures] == [(1, reason)]
    assert [p.trial for p in front.results] == [0, 2]
    assert run(quick, root, resume=True) == front


def test_divergence_names_epoch_and_lambda(quick: SweepConfig, root: Path) -> None:
    wild = replace(quick.base, optimizer=replace(quick.base.optimizer, lr=1e30))
    config = replace(quick, base=wild, strategy="grid", lam=(7.0,))
    with pytest.raises(FftuneError, match=r"all trials failed; the first: loss is .* \(lam 7, "):
        run(config, root)
    failure = json.loads((root / "studies/quick/trials/0/failure.json").read_text())
    assert failure["lam"] == 7
    assert "in epoch 1" in failure["reason"]


def test_resume_repeats_no_finished_trial(quick: SweepConfig, root: Path, monkeypatch) -> None:
    ran = stop_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        run(quick, root)
    with pytest.raises(StudyError, match=r"'quick' is unfinished \(1 of 3 trials\); --resume"):
        run(quick, root)
    stop_at(monkeypatch, -1, ran)

    front = run(quick, root, resume=True)

    assert ran == [(0, 0), (1, 100), (2, 100), (3, pytest.approx(9.05, abs=0.01))]
    assert [p.trial for p in front.results] == [0, 3, 2]
    states = [t.state.name for t in search_of(root).trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    runs = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}").search_runs(["1"])
    assert (
        sorted(r.info.status for r in runs if r.data.tags["fftune.trial"] != "1")
        == ["FINISHED"] * 3
    )


@pytest.mark.slow
def test_a_result_on_disk_is_told_not_repeated(quick, root: Path, monkeypatch) -> None:
    """Killed between the last file and the telling: the result counts."""
    ran: list[tuple[int, float]] = []
    stop_at(monkeypatch, 1, ran, after=True)
    with pytest.raises(KeyboardInterrupt):
        run(quick, root)
    stop_at(monkeypatch, -1, ran)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (last,) = client.search_runs(["1"], "tags.`fftune.trial` = '1'")
    client.update_run(last.info.run_id, "RUNNING")  # as if it had died before closing the run
    front = run(quick, root, resume=True)
    assert [number for number, _ in ran] == [0, 1, 2]
    assert len(front.results) == 3
    assert {r.info.status for r in client.search_runs(["1"])} == {"FINISHED"}


def test_a_finished_study_is_not_run_again(quick: SweepConfig, root: Path, monkeypatch) -> None:
    front = run(quick, root)
    ran = stop_at(monkeypatch, -1)
    assert run(quick, root) == front
    assert run(quick, root, resume=True) == front
    assert ran == []


@pytest.mark.slow
def test_more_trials_extend_a_study(quick: SweepConfig, root: Path) -> None:
    run(replace(quick, trials=2), root)
    assert len(run(quick, root, resume=True).results) == 3


@pytest.mark.slow
def test_other_settings_are_refused_and_nothing_is_lost(quick, root: Path) -> None:
    front = run(quick, root)
    other = replace(quick, base=replace(quick.base, seed=1))
    for resume in (False, True):
        with pytest.raises(StudyError, match=r"other settings \(base.seed was 0, now 1\)"):
            run(other, root, resume=resume)
    assert run(quick, root) == front


def test_two_drivers_on_one_study_are_refused(quick: SweepConfig, root: Path) -> None:
    (root / "studies/quick").mkdir(parents=True)
    with (
        FileLock(root / "studies/quick/lock"),
        pytest.raises(StudyError, match="is being written by another driver"),
    ):
        run(quick, root)


def test_settings_that_do_not_fit_the_data_leave_no_study(quick, root: Path) -> None:
    bad = replace(quick.base, optimizer=replace(quick.base.optimizer, batch_size=500))
    with pytest.raises(ConfigError, match="batch_size"):
        run(replace(quick, base=bad), root)
    assert not (root / "studies").exists()


def test_cost_by_hand(quick: SweepConfig) -> None:
    """Three trials of 2 epochs on 100 examples; 1,697 judged by two attacks of 2 steps."""
    quick = replace(quick, battery=replace(quick.battery, examples=None))
    judged = 2 * 1697
    plain, robust = 2 * 100 * 1, 2 * 100 * (10 + 2)
    found = cost(quick)
    assert (found.trials, found.epochs) == (3, 6)
    assert found.forwards == plain + 2 * robust + 3 * judged * (2 + 2)
    assert found.backwards == plain + 2 * robust + 3 * judged * 2
    trades = cost(replace(quick, base=replace(quick.base, objective="trades")))
    assert trades.forwards == found.forwards + 2 * 2 * 100  # the clean reference of the KL


@pytest.mark.slow
def test_hours_of_a_study_pack_its_trials(quick: SweepConfig) -> None:
    """A trial of standard training, and two of many times its passes, on one to three cards."""
    base = replace(
        quick.base, model="resnet18", optimizer=replace(quick.base.optimizer, epochs=10**8)
    )
    config = replace(quick, base=base)
    one, two, three = (
        float(describe_hours(config, "h200", cards).split(" h")[0].split()[-1].replace(",", ""))
        for cards in (1, 2, 3)
    )
    assert three < two < one
    assert one - two == pytest.approx(three, rel=0.03)  # 2 long + short, long + short, long


@pytest.mark.slow
def test_seeds_repeat_a_point_and_the_search_is_told_their_mean(quick, root: Path) -> None:
    config = replace(quick, strategy="grid", lam=(0.0,), seeds=2)
    front = run(config, root)

    assert [(p.trial, p.seed) for p in front.results] == [(0, 0), (0, 1)]
    assert len({p.model_hash for p in front.results}) == 2
    seeds = root / "studies/quick/trials/0/seeds"
    for seed in (0, 1):
        trained = from_json(TrainConfig, (seeds / str(seed) / "config.json").read_text())
        assert trained == replace(quick.base, seed=seed)
    (trial,) = front.members
    for split in ("validation", "test"):
        each = [p.counts(split).hypocritical_risk.value for p in front.results]
        found = trial.estimate(split, "hypocritical_risk")
        assert found.mean == pytest.approx(sum(each) / 2)
        assert found.sd == pytest.approx(abs(each[0] - each[1]) / 2**0.5)
        assert found.low <= min(each) and max(each) <= found.high
    assert tuple(search_of(root).trials[0].values) == trial.risks("validation")
    assert Front.read(root / "studies/quick/front.json") == front
    assert run(config, root) == front


def test_a_trial_that_fails_twice_is_tried_a_third_time(quick, root: Path, monkeypatch) -> None:
    original, calls = train_and_evaluate, []

    def measure(run):
        calls.append(run.trial)
        if len(calls) < 3:
            raise RuntimeError("out of luck")
        return original(run)

    monkeypatch.setattr(MEASURE, measure)
    front = run(replace(quick, strategy="grid", lam=(0.0,)), root)
    assert calls == [0, 0, 0]
    assert len(front.results) == 1 and front.failures == ()


def test_only_deaths_under_the_same_driver_count(quick: SweepConfig, tmp_path: Path) -> None:
    study = StudyDir(tmp_path, quick)
    assert study.begin_attempt("k", "driver 1") == []
    assert study.begin_attempt("k", "driver 2") == []  # driver 1 may itself have been killed
    assert study.begin_attempt("k", "driver 2") == ["its worker died"]
    assert study.fail_attempt("k", "broke") == ["its worker died", "broke"]
    study.end_attempt("k")
    assert study.begin_attempt("k", "driver 2") == ["its worker died", "broke"]
    study.end_attempt("k")
    assert study.begin_attempt("k", "driver 3") == []  # what broke it may be mended


@pytest.mark.slow
def test_a_trial_left_behind_is_stopped_and_is_no_score(quick, root: Path, monkeypatch) -> None:
    monkeypatch.setattr(ParetoHalving, "goes_on", lambda _self, trial, _rung, _mark: trial != 1)
    config = replace(quick, stopping=StoppingConfig(rungs=(1,), examples=50, steps=1))
    front = run(config, root)

    (stop,) = front.stopped
    assert (stop.trial, stop.lam, stop.epoch, stop.epochs_saved) == (1, 100, 1, 1)
    assert [p.trial for p in front.results] == [0, 2] and front.failures == ()
    assert front.epochs_saved == 1
    states = [(t.state.name, t.values) for t in search_of(root).trials]
    assert states[1] == ("PRUNED", None)
    assert [state for state, _ in states] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert not (root / "studies/quick/trials/1/result.json").exists()
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (last,) = client.search_runs(["1"], "tags.`fftune.trial` = '1'")
    assert last.info.status == "KILLED"
    assert run(config, root) == front


def fail_at(monkeypatch, numbers: set[int]) -> None:
    original = train_and_evaluate

    def measure(run):
        if run.trial in numbers:
            raise DivergedError(f"trial {run.trial} broke")
        return original(run)

    monkeypatch.setattr(MEASURE, measure)


def stop_at(monkeypatch, stop: int, ran: list | None = None, *, after: bool = False) -> list:
    """Count the trials that run; interrupt one before it starts, or after its last file."""
    ran = [] if ran is None else ran

    def call(self, number, settings, *report):
        ran.append((number, settings["lam"]))
        if number == stop and not after:
            raise KeyboardInterrupt
        points = CALL(self, number, settings, *report)
        if number == stop:
            raise KeyboardInterrupt
        return points

    monkeypatch.setattr(TrialRunner, "__call__", call)
    return ran
