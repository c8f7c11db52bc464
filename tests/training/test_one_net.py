"""Training one net for all lambdas: what is drawn, what is crafted, and the step at lambda = 0."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fftune import recipes
from fftune.config import LambdaDraws, TrainConfig
from fftune.errors import ConfigError, ModelError
from fftune.keyed_noise import Noise
from fftune.models import load_model, make_model
from fftune.models.conditional import AtLambda, ConditionalNet
from fftune.models.specs import read_spec
from fftune.models.variants import checkpoint_at
from fftune.objectives import over_lambdas
from fftune.recipes import Basis
from fftune.training.checkpoint import at_lambda
from fftune.training.cost import perturbed_examples
from fftune.training.lambda_draws import drawn_lambdas
from fftune.training.phases import open_data
from fftune.training.step import OneNetStepper
from fftune.training.train import check, train


def config(objective: str = "thrm_all", **changes: object) -> TrainConfig:
    base = recipes.training(objective, Basis(scale="tiny"))
    few = {"optimizer": replace(base.optimizer, epochs=2)}
    few["attack"] = replace(base.attack, steps=2)
    return replace(base, **few | changes)


def drawn(size: int, **shares: float) -> Tensor:
    return drawn_lambdas(Noise(0), torch.arange(size), LambdaDraws(**shares), top=100.0)


def test_each_batch_has_its_zeros_its_tops_and_one_of_each_stretch() -> None:
    lam = drawn(50).sort().values

    assert (lam == 0).sum() == 10
    assert (lam == 100).sum() == 10
    places = torch.log1p(lam[10:40].double()) / math.log1p(100) * 30
    assert places.floor().int().tolist() == list(range(30))


def test_draws_are_of_the_seed_the_epoch_and_the_examples() -> None:
    ids = torch.arange(50)
    known = drawn_lambdas(Noise(0), ids, LambdaDraws(), top=100.0)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))

    assert torch.equal(drawn_lambdas(Noise(0), ids[order], LambdaDraws(), top=100.0), known[order])
    for noise in (Noise(1), Noise(0).fold("epoch", 2)):
        assert not torch.equal(drawn_lambdas(noise, ids, LambdaDraws(), top=100.0), known)


def test_no_single_row_is_alone_with_its_norm() -> None:
    assert (drawn(5) == 0).sum() == 0  # a fifth would be one row
    assert (drawn(8) == 0).sum() == 2


def test_the_loss_of_each_example_is_that_of_its_own_lambda() -> None:
    clean, pert = torch.randn(2, 3, 4, dtype=torch.float64)
    y, lam = torch.tensor([0, 1, 2]), torch.tensor([0.0, 2.0, 30.0], dtype=torch.float64)

    p, q = clean.log_softmax(1), pert.log_softmax(1)
    divergence = (p.exp() * (p - q)).sum(1)
    each = -p[range(3), y] + lam * divergence
    assert over_lambdas(clean, pert[1:], y, lam=lam).item() == pytest.approx(each.mean().item())


def test_at_lambda_zero_the_loss_is_the_cross_entropy_to_the_bit() -> None:
    logits, y = torch.randn(50, 10), torch.randint(10, (50,))

    none = logits.new_zeros(0, 10)
    assert torch.equal(
        over_lambdas(logits, none, y, lam=torch.zeros(50)), F.cross_entropy(logits, y)
    )


def weights(net: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in net.state_dict().items() if "num_batches" not in name}


@pytest.mark.parametrize("norms", [1, 2])
def test_a_training_of_zeros_alone_is_standard_training_to_the_bit(norms: int) -> None:
    """Its net at lambda = 0, through the clean BatchNorm, is the standard net."""
    zeros = LambdaDraws(zeros=0.99, tops=0.0, norms=norms)
    one, plain = train(config(draws=zeros)), train(config("standard"))

    assert (drawn(50, zeros=0.99, tops=0.0) == 0).all()
    found, expected = weights(at_lambda(one, 0.0).model), weights(plain.model)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_attackers_know_the_lambda_of_each_example(monkeypatch) -> None:
    asked, crafted = [], OneNetStepper._crafted

    def watched(self, model, ids, x, y, noise):
        asked.append((model.lam.clone(), ids.clone()))
        return crafted(self, model, ids, x, y, noise)

    monkeypatch.setattr(OneNetStepper, "_crafted", watched)
    trained = train(config())

    assert isinstance(trained.model, ConditionalNet)
    assert all((lam > 0).all() and len(lam) == len(ids) == 40 for lam, ids in asked)
    assert len(asked) == 4  # 2 epochs of 2 batches of 50, of which 10 are at lambda = 0
    assert perturbed_examples(trained.config) == 160


def test_the_gradient_is_that_of_the_mean_over_the_batch(monkeypatch) -> None:
    """By autograd on the whole, with lambdas and points as the step had them."""
    seen = {}

    def kept(self, *arguments):
        part = made(self, *arguments)
        seen["x"], seen["y"], seen["net"] = part.inputs, arguments[2], part.net
        return part

    made = OneNetStepper._part
    monkeypatch.setattr(OneNetStepper, "_part", kept)
    one = config(optimizer=replace(config().optimizer, epochs=1, batch_size=100, momentum=0.0))
    trained = train(one)
    begun = ConditionalNet(fresh_net(one), trained.model.conditioning).train()
    lam, y = seen["net"].lam, seen["y"]
    logits = AtLambda(begun, lam)(seen["x"])
    hard = lam[:100] > 0
    p, q = logits[:100].log_softmax(1), logits[100:].log_softmax(1)
    loss = -p[range(100), y]
    second = (p[hard].exp() * (p[hard] - q)).sum(1) * lam[:100][hard]
    ((loss.sum() + second.sum()) / 100).backward()
    lr, decay = trained.history[0].lr, one.optimizer.weight_decay
    for name, weight in begun.named_parameters():
        moved = weight - lr * (weight.grad + decay * weight)
        assert torch.allclose(dict(trained.model.named_parameters())[name], moved, atol=1e-6), name


def fresh_net(config: TrainConfig) -> torch.nn.Module:
    return make_model(config.model, open_data(config).inputs, seed=config.seed)


def test_a_run_is_resumed_to_the_bit(tmp_path: Path) -> None:
    whole = train(config())

    class StopError(Exception):
        pass

    def stop(epoch, _model) -> None:
        raise StopError

    with pytest.raises(StopError):
        train(config(), folder=tmp_path, on_epoch=stop, save_seconds=0)
    again = train(config(), folder=tmp_path)

    assert all(torch.equal(again.model.state_dict()[k], v) for k, v in weights(whole.model).items())


def test_a_checkpoint_at_a_lambda_is_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    trained = train(config(), folder=tmp_path / "runs/all")
    place = str(tmp_path / "runs/all")

    found = checkpoint_at(f"{place}@lam=20")
    assert found == tmp_path / "runs/all/checkpoint/lam=20"
    spec = read_spec(found)
    x = torch.rand(3, 1, 8, 8)
    assert (spec.lam, spec.conditioning, spec.label) == (20.0, None, "all-lam-20")
    expected = AtLambda(trained.model, torch.tensor(20.0))(x)
    assert torch.allclose(load_model(spec)(x), expected, atol=1e-4)
    assert checkpoint_at(f"{place}/checkpoint@lam=20") == found
    with pytest.raises(ModelError, match="followed by a number, got 'a'"):
        checkpoint_at(f"{place}@lam=a")
    with pytest.raises(ModelError, match=r"in \[0, 100\]"):
        checkpoint_at(f"{place}@lam=101")


def test_an_ordinary_net_has_no_lambdas(tmp_path: Path) -> None:
    train(config("standard"), folder=tmp_path / "runs/one")

    with pytest.raises(ModelError, match="no net for all lambdas"):
        checkpoint_at(f"{tmp_path}/runs/one@lam=20")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lam": 0.0}, "lam must be > 0 for objective 'thrm_all', the greatest of its lambdas"),
        ({"workers": 2}, "workers must be 1 for objective 'thrm_all'"),
        ({"model": "mlp"}, "objective needs a model with BatchNorm"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(config(**changes))


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"zeros": 1.0}, r"zeros must be in \[0, 1\)"),
        ({"zeros": 0.8, "tops": 0.3}, "tops must be at most 0.2, beside zeros"),
        ({"norms": 3}, "norms must be 1 or 2"),
    ],
)
def test_wrong_draws_are_one_line(shares, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LambdaDraws(**shares)
