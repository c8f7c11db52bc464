from dataclasses import replace

import pytest
import torch
from torch import nn

from fftune.config import InputSpec, ModelSpec
from fftune.errors import ConfigError, ModelError
from fftune.models import eval_mode, load_model, make_model, save_weights, weights_hash

INPUTS = InputSpec(shape=(1, 8, 8), classes=10, mean=(0.3,), std=(0.4,))


def test_small_cnn_is_what_its_docstring_says() -> None:
    model = make_model("small_cnn", INPUTS)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size, m.stride[0]) for m in convolutions] == [
        (16, (3, 3), 1),
        (32, (3, 3), 2),
        (32, (3, 3), 2),
    ]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 3
    head = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in head] == [(128, 10)]
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_normalisation_is_inside() -> None:
    model = make_model("small_cnn", INPUTS).eval()
    x, layers = torch.rand(2, 1, 8, 8), next(iter(model.children()))
    torch.testing.assert_close(layers[0](x), (x - 0.3) / 0.4)


def test_the_seed_gives_the_weights_and_disturbs_nobody() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    hashes = [weights_hash(make_model("small_cnn", INPUTS, seed=seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    assert hashes[0] == hashes[1] != hashes[2]


def test_weights_are_he_normal() -> None:
    """Deviation sqrt(2 / fan_out): within five standard errors of 9,216 weights."""
    model = make_model("small_cnn", replace(INPUTS, shape=(1, 8, 8)))
    weight = [m for m in model.modules() if isinstance(m, nn.Conv2d)][2].weight
    expected = (2 / (32 * 9)) ** 0.5
    assert abs(weight.std() - expected) < 5 * expected / (2 * weight.numel()) ** 0.5


def test_modes_come_back_each_as_it_was() -> None:
    model = make_model("small_cnn", INPUTS).train()
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    norm.eval()
    with pytest.raises(RuntimeError), eval_mode(model):
        assert not any(m.training for m in model.modules())
        raise RuntimeError
    assert model.training
    assert not norm.training
    assert sum(not m.training for m in model.modules()) == 1


@pytest.fixture
def spec(tmp_path) -> ModelSpec:
    model, path = make_model("small_cnn", INPUTS), tmp_path / "weights.pt"
    save_weights(model, path)
    return ModelSpec(
        factory="fftune:small_cnn", inputs=INPUTS, weights=str(path), hash=weights_hash(model)
    )


def test_a_spec_gives_the_net_in_eval_mode(spec: ModelSpec) -> None:
    model = load_model(spec)
    assert weights_hash(model) == spec.hash
    assert not model.training


def test_damage_is_refused(spec: ModelSpec, tmp_path) -> None:
    with pytest.raises(ModelError, match=r"have hash \w+, expected 0000"):
        load_model(replace(spec, hash="0000"))
    with pytest.raises(ModelError, match="do not fit the net: "):
        load_model(replace(spec, inputs=replace(INPUTS, classes=3)))
    path = tmp_path / "weights.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="cannot be used"):
        load_model(spec)
    path.unlink()
    with pytest.raises(ModelError, match="cannot be used"):
        load_model(spec)


def test_pickled_code_is_not_run(spec: ModelSpec, tmp_path) -> None:
    torch.save({"layers": len}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"more than tensors \(len\)"):
        load_model(spec)


def test_what_does_not_exist_or_fit() -> None:
    with pytest.raises(ConfigError, match="did you mean 'small_cnn'"):
        make_model("smal_cnn", INPUTS)
    with pytest.raises(ConfigError, match="sides that 4 divides"):
        make_model("small_cnn", replace(INPUTS, shape=(1, 9, 8)))
