import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fftune.config import DataSpec, Resources, TrainConfig, from_json
from fftune.data import catalog, load
from fftune.errors import ConfigError, DivergedError, ModelError
from fftune.keyed_noise import Noise
from fftune.models import load_model, make_model, weights_hash
from fftune.models.specs import read_spec
from fftune.objectives import cross_entropy, objective_of
from fftune.training.history import read_history
from fftune.training.step import Stepper, loss_of
from fftune.training.tracked import train_tracked
from fftune.training.train import check, train
from tests.training.tinies import tiny


def weights(config: TrainConfig) -> str:
    return weights_hash(train(config).model)


@pytest.mark.some(1)
@pytest.mark.parametrize("objective", ["thrm", "trades"])
def test_lambda_zero_is_standard_training_to_the_bit(objective: str) -> None:
    standard = weights(tiny("standard"))
    assert weights(tiny(objective, lam=0.0)) == standard
    assert weights(tiny(objective, lam=1e-9)) != standard  # a joint forward


@pytest.mark.slow
def test_the_config_gives_the_weights() -> None:
    config = tiny("thrm", lam=5.0)
    assert weights(config) == weights(config)
    assert weights(config) != weights(replace(config, seed=1))
    assert weights(config) != weights(replace(config, objective="trades"))


def test_training_learns_and_counts_its_epochs() -> None:
    seen = []
    config = tiny(epochs=40)
    checkpoint = train(config, on_epoch=lambda epoch, _model: seen.append(epoch))
    assert seen == checkpoint.history
    assert [epoch.epoch for epoch in seen] == list(range(1, 41))
    assert seen[-1].accuracy == 1.0
    assert seen[-1].loss < 0.1 < seen[0].loss
    assert max(epoch.lr for epoch in seen) == pytest.approx(config.optimizer.lr, rel=0.01)
    assert not checkpoint.model.training


def test_training_leaves_the_generators_of_others_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny(epochs=1))
    assert torch.rand(3).equal(expected)


def test_no_epochs_leave_the_net_as_it_was_initialised() -> None:
    """P1's "naive": no weight moves, and BatchNorm keeps mean 0 and variance 1."""
    config = tiny(epochs=0)
    checkpoint = train(config)
    fresh = make_model("small_cnn", load(config.data, "train").inputs, seed=config.seed)
    assert weights_hash(checkpoint.model) == weights_hash(fresh)
    assert checkpoint.history == []


def test_adversarial_training_looks_at_the_perturbed_batch_only() -> None:
    """One step by hand: the loss on x_adv alone, so that BatchNorm never sees x."""
    config = tiny("pgd_at", epochs=1, lam=0.0)
    data = load(config.data, "train")
    model = make_model("small_cnn", data.inputs)
    ids, x, y = next(data.batches(50))
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    stepper = Stepper(
        config=config,
        model=model,
        wrapped=model,
        loss=loss_of(config),
        crafting=objective_of(config).crafting,
        processes=1,
        device="cpu",
    )
    stepper((ids, x, y), real=50, examples=50, noise=Noise(0))
    assert seen == [50] * 11  # ten steps of PGD, one training forward
    config = tiny("thrm", lam=1.0)
    joint = replace(
        stepper, config=config, loss=loss_of(config), crafting=objective_of(config).crafting
    )
    seen.clear()
    joint((ids, x, y), real=50, examples=50, noise=Noise(0))
    assert seen == [50] * 10 + [100]


def test_parts_of_a_batch_add_up_to_its_gradient() -> None:
    """With a net without BatchNorm; `examples` and padding are weighed as they should."""
    config = tiny("standard", epochs=1)
    data = load(config.data, "train")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    batch = next(data.batches(50))

    def gradient(accumulate: int, real: int, examples: int) -> torch.Tensor:
        optimizer = replace(config.optimizer, accumulate=accumulate)
        stepper = Stepper(
            config=replace(config, optimizer=optimizer),
            model=model,
            wrapped=model,
            loss=loss_of(config),
            crafting=objective_of(config).crafting,
            processes=1,
            device="cpu",
        )
        model.zero_grad()
        stepper(batch, real=real, examples=examples, noise=Noise(0))
        grad = model[1].weight.grad
        assert grad is not None
        return grad.clone()

    torch.testing.assert_close(gradient(7, 50, 50), gradient(1, 50, 50))
    model.zero_grad()
    _, x, y = batch
    (cross_entropy(model(x[:20]), y[:20]) * 20 / 30).backward()
    torch.testing.assert_close(gradient(1, 20, 30), model[1].weight.grad)
    assert not gradient(1, 0, 50).any()  # nothing but padding


def test_a_loss_that_is_no_number_names_epoch_step_and_lambda() -> None:
    config = tiny("thrm", lam=3.0)
    config = replace(config, optimizer=replace(config.optimizer, lr=1e30))
    where = r"loss is (nan|inf) in epoch 1, step 2 \(lam 3, lr 1e\+30\); the last finite one was \d"
    with pytest.raises(DivergedError, match=where):
        train(config)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    config = tiny()
    config = replace(config, optimizer=replace(config.optimizer, batch_size=101))
    for function in (train, check):
        with pytest.raises(ConfigError, match="optimizer.batch_size must be <= train_size 100"):
            function(config)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("five", "model .* tells 5 classes apart, the data set has 10"),
        ("colour", r"does not take images of 1 x 8 x 8: .*expected input.* to have 3 channels"),
    ],
)
def test_a_net_that_does_not_fit_the_data_is_refused(net: str, message: str) -> None:
    config = tiny(model=f"{Path(__file__).with_name('user_net.py')}:{net}")
    for function in (train, check):
        with pytest.raises(ModelError, match=message):
            function(config)


def test_cuda_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("CUDA is there")
    with pytest.raises(ConfigError, match="device must be one that torch sees"):
        train(tiny(device="cuda"))


def test_bf16_trains_to_nearly_the_same_loss() -> None:
    full, half = (train(tiny(epochs=10, precision=p)).history[-1].loss for p in ("fp32", "bf16"))
    assert full != half
    assert half == pytest.approx(full, rel=0.05)


def test_the_best_net_on_the_validation_split_is_kept(tmp_path) -> None:
    checkpoint = train(tiny(epochs=5, validate_every=2), folder=tmp_path)
    looked = {e.epoch: e.validation_accuracy for e in checkpoint.history}
    assert [e for e, value in looked.items() if not math.isnan(value)] == [2, 4, 5]
    best = load_model(read_spec(tmp_path / "best"))
    data = load(checkpoint.config.data, "validation")
    _, x, y = next(data.batches(500))
    accuracy = float((best(x).argmax(1) == y).float().mean())
    assert accuracy == pytest.approx(max(looked[e] for e in (2, 4, 5)))


def test_checkpoint_round_trip(tmp_path) -> None:
    checkpoint = train(tiny("thrm", lam=2.0), folder=tmp_path)
    spec = read_spec(tmp_path / "checkpoint")
    assert weights_hash(load_model(spec)) == spec.hash == weights_hash(checkpoint.model)
    text = (tmp_path / "checkpoint/config.json").read_text()
    assert from_json(TrainConfig, text) == checkpoint.config
    kept = read_history(tmp_path / "history.parquet")
    assert [(e.epoch, e.loss) for e in kept] == [(e.epoch, e.loss) for e in checkpoint.history]
    assert not (tmp_path / "states").exists()
    again = train(tiny("thrm", lam=2.0), folder=tmp_path)  # ended: given back, not trained again
    assert weights_hash(again.model) == spec.hash
    assert again.data_hash == checkpoint.data_hash


def test_a_run_of_other_settings_is_neither_given_back_nor_overwritten(tmp_path) -> None:
    first = train(tiny(), folder=tmp_path)
    other = r"holds a run with other settings \(seed was 0, now 1\)$"
    with pytest.raises(ModelError, match=other):
        train(tiny(seed=1), folder=tmp_path)
    assert read_spec(tmp_path / "checkpoint").hash == weights_hash(first.model)


@pytest.mark.parametrize(
    "damaged", ["checkpoint/weights.pt", "checkpoint/training.json", "history.parquet"]
)
def test_a_damaged_checkpoint_is_made_again_with_a_warning(tmp_path, caplog, damaged) -> None:
    hash_ = weights_hash(train(tiny(), folder=tmp_path).model)
    path = tmp_path / damaged
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        epochs = []
        train(tiny(), folder=tmp_path, on_epoch=lambda epoch, _model: epochs.append(epoch.epoch))
    (line,) = (r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
    assert path.parent.name in line
    assert line.endswith("; going back to the last state, or to the beginning")
    assert epochs == [1, 2, 3]
    assert read_spec(tmp_path / "checkpoint").hash == hash_
    assert weights_hash(load_model(read_spec(tmp_path / "checkpoint"))) == hash_


def test_a_damaged_checkpoint_is_made_again_from_the_last_state(tmp_path, caplog) -> None:
    states = tmp_path / "states"
    first = train(tiny(), folder=tmp_path / "a", states=states)
    path = tmp_path / "a/checkpoint/weights.pt"
    path.write_bytes(path.read_bytes()[:-100])
    epochs = []
    again = train(
        tiny(),
        folder=tmp_path / "a",
        states=states,
        on_epoch=lambda epoch, _model: epochs.append(epoch),
    )
    assert epochs == []
    assert "going back to the last state" in caplog.text
    assert weights_hash(again.model) == weights_hash(first.model)
    assert load_model(read_spec(tmp_path / "a/checkpoint"))


def test_settings_that_cannot_be_read_are_not_overwritten(tmp_path) -> None:
    train(tiny(), folder=tmp_path)
    (tmp_path / "checkpoint/config.json").write_text("{")
    with pytest.raises(ModelError, match=r"settings '.*config.json' is damaged: not JSON"):
        train(tiny(), folder=tmp_path)


def test_a_checkpoint_may_move_but_not_be_partial(tmp_path) -> None:
    train(tiny()).save(tmp_path / "checkpoint")
    (tmp_path / "checkpoint").rename(tmp_path / "moved")
    assert load_model(read_spec(tmp_path / "moved"))
    (tmp_path / "moved/model.json").unlink()
    with pytest.raises(ModelError, match="no complete checkpoint"):
        read_spec(tmp_path / "moved")


def test_a_training_opens_its_data_once(tmp_path, monkeypatch) -> None:
    """Settings are checked, epochs delivered and validated from what was opened first."""
    opened = []
    open_parts = catalog.open_parts

    def counted(name, *args, **settings):
        opened.append(name)
        return open_parts(name, *args, **settings)

    monkeypatch.setattr(catalog, "open_parts", counted)
    config = tiny("thrm", epochs=1, validate_every=1, lam=1.0)
    train_tracked(config, name="once", root=tmp_path, resources=Resources(), resume=False)
    assert opened == ["digits"]


def test_an_objective_and_a_data_set_of_the_users(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "import torch.nn.functional as F\n"
        "def digits():\n"
        "    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8)\n"
        "    return {'train': (images[:100], [0, 1] * 50), 'test': (images[100:], [0, 1] * 10)}\n"
        "def own(logits, logits_pert, y, *, lam):\n"
        "    return F.cross_entropy(logits, y) + lam * F.cross_entropy(logits_pert, y)\n"
    )
    config = tiny("standard", epochs=1)
    data = DataSpec(name=f"{file}:digits")
    config = replace(config, objective=f"{file}:own", lam=0.5, data=data)
    checkpoint = train(config, folder=tmp_path / "run")
    assert checkpoint.inputs.shape == (1, 8, 8) and checkpoint.inputs.classes == 2
    plain = train(replace(config, objective="standard"))
    assert weights_hash(plain.model) != weights_hash(checkpoint.model)
    assert weights_hash(train(config).model) == weights_hash(checkpoint.model)
    assert load_model(read_spec(tmp_path / "run" / "checkpoint"))
