"""Nets side by side against the same nets trained one by one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fftune import devices
from fftune.capture import use
from fftune.capture.tape import Tape
from fftune.config import BatteryConfig, ThreatModel, TrainConfig
from fftune.errors import ConfigError, DivergedError, ModelError
from fftune.evaluation.evaluate import evaluate
from fftune.models import weights_hash
from fftune.risk import RiskCounts
from fftune.training.checkpoint import Checkpoint, read_checkpoint
from fftune.training.fused import Outcome, _check, train_fused
from fftune.training.fused_trainer import place_of
from fftune.training.run_dir import RunDir
from fftune.training.step import Stepper
from fftune.training.train import train
from tests.training.tinies import tiny

LAMS = (1.0, 20.0)
NETS = Path(__file__).with_name("user_net.py")


def config_of(objective: str = "thrm", *, epochs: int = 2, norm: str = "linf", **settings):
    """Epochs of 48 + 48 + 4 examples: the last batch is smaller."""
    config = tiny(objective, epochs=epochs, **{"lam": 1.0, **settings})
    if norm == "l2":
        config = replace(config, attack=replace(config.attack, threat=ThreatModel(norm="l2")))
    return replace(
        config,
        optimizer=replace(config.optimizer, batch_size=48),
        attack=replace(config.attack, steps=3),
    )


def with_lams(config: TrainConfig, lams: tuple[float, ...] = LAMS) -> list[TrainConfig]:
    return [replace(config, lam=lam) for lam in lams]


def nets(outcomes: list[Outcome]) -> Iterator[Checkpoint]:
    for outcome in outcomes:
        assert isinstance(outcome, Checkpoint)
        yield outcome


def assert_alike(one: Checkpoint, other: Checkpoint, within: float) -> None:
    """Weights, statistics and history, but for times; settings and data to the letter."""
    assert (one.config, one.inputs, one.data_hash) == (other.config, other.inputs, other.data_hash)
    states = one.model.state_dict(), other.model.state_dict()
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=0, atol=within)
    for ours, theirs in zip(one.history, other.history, strict=True):
        assert (ours.epoch, ours.lr, ours.accuracy) == (theirs.epoch, theirs.lr, theirs.accuracy)
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
        assert ours.validation_accuracy == pytest.approx(theirs.validation_accuracy, nan_ok=True)


def counted(checkpoint: Checkpoint) -> RiskCounts:
    battery = BatteryConfig(name="risks", steps=5, examples=200)
    config = checkpoint.config
    outcomes = evaluate(checkpoint.model, config.data, battery, threat=config.attack.threat)
    return RiskCounts.of(outcomes, attack="pgd-5", split="test")


# TRADES' search starts where its gradient nearly vanishes, and follows its direction alone: there
# rounding is of the gradient's own size. At a small rate that does not grow from step to step.
@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("objective", "lr", "settings"),
    [
        ("thrm", 0.05, {"validate_every": 2}),
        ("trades", 1e-3, {}),
        pytest.param(
            "trades", 1e-2, {"norm": "l2", "model": f"{NETS}:viewed"}, marks=pytest.mark.slow
        ),
    ],
)
def test_nets_side_by_side_are_the_nets_alone(objective, lr, settings) -> None:
    """Three epochs in float32, and of the last the same counts of both risks."""
    config = config_of(objective, epochs=3, **settings)
    config = replace(config, optimizer=replace(config.optimizer, lr=lr))
    configs = with_lams(config, (1.0, 5.0, 20.0))
    for fused, config in zip(nets(train_fused(configs)), configs, strict=True):
        alone = train(config)
        assert_alike(fused, alone, 1e-4)
    assert counted(fused) == counted(alone)


@pytest.mark.slow
def test_a_batch_in_parts_is_cut_as_alone() -> None:
    config = config_of("thrm")
    config = replace(config, optimizer=replace(config.optimizer, accumulate=5))
    for fused, one in zip(nets(train_fused(with_lams(config))), with_lams(config), strict=True):
        assert_alike(fused, train(one), 1e-4)


def test_a_search_that_cuts_and_fills_up_its_batches_keeps_rows_with_their_nets(
    monkeypatch,
) -> None:
    """As on a card, where it may have 128 rows, which three do not divide."""
    configs = with_lams(config_of("thrm"), (1.0, 5.0, 20.0))
    expected = [train(config) for config in configs]
    cuda = replace(devices.CUDA, width=128, buckets=(32, 64, 100, 128))
    monkeypatch.setitem(devices._POLICIES, "cpu", cuda)
    for fused, alone in zip(nets(train_fused(configs)), expected, strict=True):
        assert_alike(fused, alone, 1e-4)


def test_recorded_steps_are_steps_to_the_bit() -> None:
    configs, tape = with_lams(config_of("thrm", epochs=3)), Tape()
    plain = [weights_hash(one.model) for one in nets(train_fused(configs))]
    with use(tape):
        recorded = [weights_hash(one.model) for one in nets(train_fused(configs))]
    assert recorded == plain
    assert tape.replays > 8


def message(config: TrainConfig) -> str:
    with pytest.raises(DivergedError) as caught:
        train(config)
    return str(caught.value)


@pytest.mark.some(1)
@pytest.mark.parametrize("ill", [0, 1, 2])
def test_a_net_that_diverges_fails_alone(tmp_path, ill: int) -> None:
    lams = (*LAMS[:ill], 1e30, *LAMS[ill:])
    configs = with_lams(config_of("thrm"), lams)
    outcomes = train_fused(configs, folder=tmp_path)
    again = train_fused(configs, folder=tmp_path)
    for index, (outcome, config) in enumerate(zip(outcomes, configs, strict=True)):
        if index == ill:
            assert isinstance(outcome, DivergedError)
            assert str(outcome) == str(again[index]) == message(config)
            assert not place_of(tmp_path, config).complete
        else:
            assert isinstance(outcome, Checkpoint)
            assert_alike(outcome, train(config), 1e-4)


def test_where_all_diverge_training_ends() -> None:
    configs = with_lams(config_of("thrm"), (1e30, 2e30))
    outcomes = train_fused(configs)
    assert [str(outcome) for outcome in outcomes] == [message(config) for config in configs]


def test_a_run_leaves_what_trainings_leave(tmp_path) -> None:
    configs = with_lams(config_of("thrm", validate_every=1))
    outcomes = list(nets(train_fused(configs, folder=tmp_path, save_seconds=0)))
    assert not RunDir(tmp_path).states.folder.exists()
    for outcome, config in zip(outcomes, configs, strict=True):
        train(config, folder=tmp_path / "alone")
        place, alone = place_of(tmp_path, config), RunDir(tmp_path / "alone")
        left = {path.relative_to(place.path) for path in place.path.rglob("*")}
        assert left == {path.relative_to(alone.path) for path in alone.path.rglob("*")}
        for name in ("average", "best"):
            ours, theirs = (
                read_checkpoint(one.path / name, one.path / "history.parquet")
                for one in (place, alone)
            )
            assert_alike(ours, theirs, 1e-4)
            assert weights_hash(ours.model) != weights_hash(outcome.model) or name == "best"
        found = train(config, folder=place.path)  # an ordinary run that has ended
        assert weights_hash(found.model) == weights_hash(outcome.model)
        assert_alike(found, outcome, 0)
        (tmp_path / "alone").rename(tmp_path / f"alone-{config.lam}")


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.some(1)
@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_run_that_was_killed_goes_on_as_it_was(tmp_path, monkeypatch, step: int) -> None:
    configs = with_lams(config_of("thrm"), (1.0, 1e30, 5.0))
    expected = train_fused(configs)
    original, count = Stepper.__call__, iter(range(10**6))

    def call(self, *args, **settings):
        if next(count) == step:
            raise KilledError
        return original(self, *args, **settings)

    monkeypatch.setattr(Stepper, "__call__", call)
    with pytest.raises(KilledError):
        train_fused(configs, folder=tmp_path, save_seconds=0)
    other = with_lams(config_of("thrm"), (1.0, 6.0, 5.0))
    with pytest.raises(ModelError, match="of a run with other lambdas"):
        train_fused(other, folder=tmp_path)
    done = next(count)
    outcomes = train_fused(configs, folder=tmp_path)
    assert next(count) == done + 1 + 6 - step  # no step is taken twice
    for outcome, known in zip(outcomes, expected, strict=True):
        if isinstance(known, Checkpoint):
            assert isinstance(outcome, Checkpoint)
            assert weights_hash(outcome.model) == weights_hash(known.model)
            assert [e.loss for e in outcome.history] == [e.loss for e in known.history]
        else:
            assert str(outcome) == str(known)


def test_a_run_that_was_killed_while_it_wrote_its_nets_writes_the_rest(
    tmp_path, monkeypatch
) -> None:
    configs = with_lams(config_of("thrm"))
    expected = [weights_hash(one.model) for one in nets(train_fused(configs))]
    original = RunDir.finish

    def finish(self, checkpoint: Checkpoint) -> None:
        if checkpoint.config.lam == LAMS[1]:
            raise KilledError
        original(self, checkpoint)

    monkeypatch.setattr(RunDir, "finish", finish)
    with pytest.raises(KilledError):
        train_fused(configs, folder=tmp_path, save_seconds=0)
    monkeypatch.undo()
    outcomes = train_fused(configs, folder=tmp_path)
    assert [weights_hash(one.model) for one in nets(outcomes)] == expected


def test_a_damaged_net_of_an_ended_run_is_trained_again(tmp_path, caplog) -> None:
    configs = with_lams(config_of("thrm"))
    expected = [weights_hash(one.model) for one in nets(train_fused(configs, folder=tmp_path))]
    (place_of(tmp_path, configs[1]).checkpoint / "weights.pt").write_bytes(b"")
    outcomes = train_fused(configs, folder=tmp_path)
    assert [weights_hash(one.model) for one in nets(outcomes)] == expected
    assert "going back" in caplog.text


ATTACK = config_of().attack
REFUSED = [
    ([config_of(lam=1.0), config_of(lam=2.0, seed=1)], "fuse must be of configs equal but for lam"),
    ([config_of(lam=1.0), config_of(lam=1.0)], "fuse must be of configs equal but for lam"),
    (with_lams(config_of(), (0.0, 1.0)), "lam must be > 0 in fused trainings"),
    (with_lams(config_of("pgd_at", lam=0.0), (1.0, 2.0)), "objective must be one with a lambda"),
    (with_lams(config_of(workers=2)), "workers must be 1 in fused trainings, got 2"),
    (
        with_lams(config_of(attack=replace(ATTACK, restarts=2))),
        "attack must be pgd or its kin.* got 'pgd', 2 x last_iterate",
    ),
    (
        with_lams(config_of(attack=replace(ATTACK, protocol="first_success"))),
        "attack must be pgd or its kin.* got 'pgd', 1 x first_success",
    ),
    (with_lams(config_of(attack=replace(ATTACK, search="apgd"))), "attack must be pgd or its kin"),
    (with_lams(config_of(model=f"{NETS}:dropping")), "fuse must be 1 for model .* dropout"),
]


@pytest.mark.parametrize(("configs", "words"), REFUSED)
def test_trainings_that_cannot_go_side_by_side_are_refused(configs, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        train_fused(configs)


def test_pgd_and_its_special_cases_can_go_side_by_side() -> None:
    for search in ("pgd", "fgsm", "pgd_hedged"):
        _check(with_lams(config_of(attack=replace(ATTACK, search=search))))
