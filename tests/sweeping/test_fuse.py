"""Sweeps whose lambdas are trained side by side, against sweeps that train them one by one."""

import json
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import torch

from fftune.config import Dimension, StoppingConfig, SweepConfig, from_json, to_json
from fftune.errors import ConfigError, StorageError
from fftune.models import load_model, weights_hash
from fftune.models.specs import read_spec
from fftune.sweeping.front import Front
from fftune.sweeping.fuse_groups import group_of, groups_of
from fftune.sweeping.sweep import sweep
from fftune.sweeping.trial_memory import largest_group
from fftune.training import fused
from fftune.training.fused_trainer import place_of

TRAIN = fused.train_fused
GROUP = "fftune.sweeping.fused_trial.train_fused"
NETS = Path(__file__).parents[1] / "training/user_net.py"


def run(config: SweepConfig, root: Path, **options: object) -> Front:
    return sweep(config, root=root, backend="inline", **options)


@pytest.fixture
def grid(quick: SweepConfig) -> SweepConfig:
    return replace(quick, strategy="grid", lam=(5.0, 0.0, 1.0, 20.0), fuse=2)


@pytest.fixture
def calls(monkeypatch) -> list[list[float]]:
    """Lambdas of each fused training."""
    found: list[list[float]] = []

    def call(configs, **arguments):
        found.append([config.lam for config in configs])
        return TRAIN(configs, **arguments)

    monkeypatch.setattr(GROUP, call)
    return found


def test_lambdas_go_in_groups_and_zero_alone(grid: SweepConfig) -> None:
    def lams(config: SweepConfig) -> list[list[float]]:
        return [[one.lam for one in group] for group in groups_of(config, 3)]

    assert lams(grid) == [[5, 1], [20]]
    assert lams(replace(grid, fuse=9)) == [[5, 1, 20]]
    for group in groups_of(grid, 3):
        for one in group:
            assert one.seed == 3
            assert group_of(grid, one) == group
    zero = replace(grid.base, lam=0.0)
    assert group_of(grid, zero) == [zero]
    assert largest_group(grid) == (5, 1)
    assert largest_group(replace(grid, fuse=1)) == largest_group(replace(grid, lam=(0, 5))) == ()


@pytest.mark.slow
def test_each_trial_has_its_net_as_if_it_were_trained_alone(grid, root, calls) -> None:
    front = run(grid, root)

    assert calls == [[5, 1]]
    assert [p.lam for p in front.results] == [0, 1, 5, 20]
    group = groups_of(grid, grid.base.seed)[0]
    expected = {one.config.lam: one for one in TRAIN(group)}
    assert [p.crafted for p in front.results] == [0, 200, 200, 200]
    for p in front.results:
        trial = root / "studies/quick/trials" / str(p.trial)
        assert {path.name for path in trial.iterdir()} == {
            *("config.json", "checkpoint", "history.parquet", "outcomes.parquet", "result.json"),
            *("average", "best"),
        }
        if p.lam in expected:
            assert p.model_hash == weights_hash(expected[p.lam].model)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (experiment,) = (e for e in client.search_experiments() if e.name == grid.experiment)
    for found in client.search_runs([experiment.experiment_id]):
        losses = client.get_metric_history(found.info.run_id, "train/loss")
        assert [m.step for m in losses] == [1, 2]


@pytest.mark.slow
def test_a_fused_sweep_is_the_sweep_but_for_rounding(grid, root, tmp_path) -> None:
    front, alone = run(grid, root), run(replace(grid, fuse=1), tmp_path / "alone")

    for ours, theirs in zip(front.results, alone.results, strict=True):
        assert (ours.trial, ours.settings, ours.crafted) == (
            *(theirs.trial, theirs.settings, theirs.crafted),
        )
        assert (ours.validation, ours.test) == (theirs.validation, theirs.test)
        places = [
            at / "studies/quick/trials" / str(ours.trial) for at in (root, tmp_path / "alone")
        ]
        left = [{str(p.relative_to(at)) for p in at.rglob("*")} for at in places]
        assert left[0] == left[1]
        states = [load_model(read_spec(at / "checkpoint")).state_dict() for at in places]
        for name, value in states[0].items():
            torch.testing.assert_close(value, states[1][name], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_lambda_that_diverges_fails_its_own_trial(grid, root, calls) -> None:
    front = run(replace(grid, lam=(5.0, 1e30, 20.0), fuse=3), root)
    assert calls == [[5, 1e30, 20]]
    assert [p.lam for p in front.results] == [5, 20]
    (failure,) = front.failures
    assert failure.trial == 1
    assert failure.reason.startswith("loss is nan in epoch 1, step 2 (lam 1e+30, ")


@pytest.mark.slow
def test_a_group_is_trained_once_whoever_dies_after_it(
    grid, root, calls, monkeypatch, caplog
) -> None:
    def full(*_arguments: object, **_settings: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("fftune.sweeping.training_trial.evaluate", full)
    with pytest.raises(StorageError, match="the disk is full"):
        run(grid, root)
    monkeypatch.undo()
    monkeypatch.setattr(GROUP, lambda *_arguments, **_settings: pytest.fail("trained again"))
    part = place_of(next(root.rglob("shared/fused-*")), groups_of(grid, grid.base.seed)[0][1])
    (part.checkpoint / "weights.pt").write_bytes(b"")
    assert len(run(grid, root, resume=True).results) == 4
    assert calls == [[5, 1]]
    assert "its net is trained alone" in caplog.text  # what was damaged meanwhile


@pytest.mark.slow
def test_seeds_are_groups_of_their_own(grid, root, calls) -> None:
    front = run(replace(grid, lam=(5.0, 1.0), seeds=2), root)
    assert calls == [[5, 1], [5, 1]]
    assert len({p.model_hash for p in front.results}) == 4


REFUSED = {
    "in 1 ... 128, got 0": {"fuse": 0},
    "1 without --strategy grid, got 2": {"strategy": "auto"},
    "1 where more than lam is searched, got 2": {
        "space": (
            Dimension(path="lam", choices=(0.0, 1.0)),
            Dimension(path="width", choices=(8, 16)),
        )
    },
    "1 with stopping.rungs, got 2": {"stopping": StoppingConfig(rungs=(1,))},
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_fused_is_one_line(grid: SweepConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^fuse must be {words}$"):
        replace(grid, **REFUSED[words])


def test_workers_are_not_fused(grid: SweepConfig) -> None:
    with pytest.raises(ConfigError, match=r"^fuse must be 1 where base.workers > 1, got 2$"):
        replace(grid, base=replace(grid.base, workers=2))


def test_a_net_whose_copies_would_mix_is_refused_before_a_trial_starts(grid, root) -> None:
    base = replace(grid.base, model=f"{NETS}:dropping")
    with pytest.raises(ConfigError, match=r"fuse must be 1 for model .*dropout"):
        run(replace(grid, base=base), root)
    assert not list(root.rglob("trials"))


def test_studies_of_before_are_of_single_trainings(quick: SweepConfig) -> None:
    stored = json.loads(to_json(quick))
    del stored["fuse"]
    assert from_json(SweepConfig, json.dumps(stored | {"schema_version": 6})) == quick
