from dataclasses import replace

import pytest
import torch

from fftune import recipes
from fftune.config import Objective, TrainConfig, from_json
from fftune.errors import ConfigError, DivergedError, ModelError
from fftune.models import load_model, weights_hash
from fftune.train import train
from fftune.train.checkpoint import read_spec

TINY = recipes.thrm("tiny").base
SHORT = replace(TINY, optimizer=replace(TINY.optimizer, epochs=3))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(config: TrainConfig) -> str:
    return weights_hash(train(config).model)


@pytest.mark.parametrize("objective", ["thrm", "trades"])
def test_lambda_zero_is_standard_training_to_the_bit(objective: Objective) -> None:
    standard = weights(replace(SHORT, objective="standard"))
    assert weights(replace(SHORT, objective=objective, lam=0.0)) == standard
    assert weights(replace(SHORT, objective=objective, lam=1e-9)) != standard  # a joint forward


def test_the_config_gives_the_weights() -> None:
    config = replace(SHORT, lam=5.0)
    assert weights(config) == weights(config)
    assert weights(config) != weights(replace(config, seed=1))
    assert weights(config) != weights(replace(config, objective="trades"))


def test_training_learns_and_counts_its_epochs() -> None:
    seen = []
    checkpoint = train(replace(TINY, objective="standard"), on_epoch=seen.append)
    assert seen == checkpoint.history
    assert [epoch.epoch for epoch in seen] == list(range(1, 41))
    assert seen[-1].accuracy == 1.0
    assert seen[-1].loss < 0.1 < seen[0].loss
    assert max(epoch.lr for epoch in seen) == pytest.approx(TINY.optimizer.lr, rel=0.01)
    assert not checkpoint.model.training


def test_a_loss_that_is_no_number_names_epoch_and_lambda() -> None:
    config = replace(SHORT, lam=3.0, optimizer=replace(SHORT.optimizer, lr=1e30))
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) in epoch \d+ \(lam 3, lr "):
        train(config)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    config = replace(SHORT, optimizer=replace(SHORT.optimizer, batch_size=101))
    with pytest.raises(
        ConfigError, match="optimizer.batch_size must be <= train_size 100, got 101"
    ):
        train(config)


def test_checkpoint_round_trip(tmp_path) -> None:
    checkpoint = train(replace(SHORT, lam=2.0))
    spec = checkpoint.save(tmp_path / "checkpoint")
    assert read_spec(tmp_path / "checkpoint") == spec
    assert weights_hash(load_model(spec)) == spec.hash
    text = (tmp_path / "checkpoint/config.json").read_text()
    assert from_json(TrainConfig, text) == checkpoint.config


def test_a_checkpoint_may_move_but_not_be_partial(tmp_path) -> None:
    train(SHORT).save(tmp_path / "checkpoint")
    (tmp_path / "checkpoint").rename(tmp_path / "moved")
    assert load_model(read_spec(tmp_path / "moved"))
    (tmp_path / "moved/model.json").unlink()
    with pytest.raises(ModelError, match="no complete checkpoint"):
        read_spec(tmp_path / "moved")
