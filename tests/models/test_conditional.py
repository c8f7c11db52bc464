"""One net for all lambdas: rows on their own, lambda = 0, and the ordinary net at one lambda."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fftune.config import Conditioning, InputSpec, ModelSpec
from fftune.errors import ConfigError, ModelError
from fftune.models import load_model, make_model, save_weights, weights_hash
from fftune.models.conditional import AtLambda, ConditionalNet, encoded, net_at
from fftune.models.loading import load_conditional

INPUTS = InputSpec(shape=(3, 8, 8), classes=4, mean=(0.5,) * 3, std=(0.2,) * 3)
LAMS = (0.0, 0.5, 7.0, 0.0, 40.0, 100.0)
NETS = {"small_cnn": 4, "small_resnet": 4, "resnet18": 4, "wrn28_10": 2}


def trained(name: str, *, norms: int = 2) -> ConditionalNet:
    """A net whose modulation and statistics are not those of the start."""
    plain = make_model(name, INPUTS, width=NETS[name])
    net = ConditionalNet(plain, Conditioning(top=100.0, norms=norms))
    torch.manual_seed(1)
    for name, weight in net.named_parameters():
        if ".film." in name:
            nn.init.normal_(weight, std=0.1)
    for _ in range(3):
        net(torch.rand(8, *INPUTS.shape), torch.tensor([0.0, 0, 0, 1, 2, 30, 100, 100]))
    return net.eval()


@pytest.fixture(scope="module", params=NETS)
def net(request) -> ConditionalNet:
    return trained(request.param)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.rand(len(LAMS), *INPUTS.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norms", [1, 2])
def test_a_row_does_not_know_the_lambdas_of_the_others(x: Tensor, norms: int) -> None:
    net = trained("small_cnn", norms=norms)
    mixed = net(x, torch.tensor(LAMS))

    for row, lam in enumerate(LAMS):
        alone = AtLambda(net, torch.tensor(lam))(x)
        assert torch.equal(alone[row], mixed[row])


def test_the_ordinary_net_at_a_lambda_answers_as_the_net_does(net, x: Tensor) -> None:
    for lam in sorted(set(LAMS)):
        known, plain = AtLambda(net, torch.tensor(lam))(x), net_at(net, lam)
        assert type(plain) is type(net.net)
        assert (plain(x) - known).abs().max() < 1e-4
        assert torch.equal(plain(x).argmax(1), known.argmax(1))
    make_model_of(net).load_state_dict(plain.state_dict())


def make_model_of(net: ConditionalNet) -> nn.Module:
    name = {"SmallCNN": "small_cnn", "SmallResNet": "small_resnet", "ResNet18": "resnet18"}.get(
        type(net.net).__name__, "wrn28_10"
    )
    return make_model(name, INPUTS, width=NETS[name])


def test_lambdas_differ_and_zero_is_the_net_without_modulation(x: Tensor) -> None:
    net = trained("small_cnn")
    still = copy.deepcopy(net)
    for name, weight in still.named_parameters():
        if ".film." in name:
            nn.init.zeros_(weight)

    zero, some = torch.zeros(len(x)), torch.full((len(x),), 5.0)
    assert torch.equal(net(x, zero), still(x, zero))
    assert not torch.allclose(net(x, some), still(x, some), atol=1e-3)
    assert not torch.allclose(net(x, some), net(x, 20 * some), atol=1e-3)


def test_images_alone_are_answered_at_the_greatest_lambda(x: Tensor) -> None:
    net = trained("small_cnn")

    assert torch.equal(net(x), net(x, torch.full((len(x),), 100.0)))


def test_the_encoding_is_zero_at_zero_and_a_line_and_sines_elsewhere() -> None:
    assert encoded(torch.tensor([0.0]), 100.0).tolist() == [[0, 0, 0, 0]]
    half = encoded(torch.tensor(9.0, dtype=torch.float64), 99.0)  # log 10 is half of log 100
    expected = 3 * torch.tensor([0.5, 1, 0, -1], dtype=torch.float64)
    assert torch.allclose(half, expected, atol=1e-12)


def test_rows_of_lambda_zero_stay_out_of_the_others_statistics() -> None:
    net = trained("small_cnn").train()
    norm = net.net.get_submodule("layers.2")
    before = norm.norm.running_mean.clone(), norm.clean.running_mean.clone()

    net(torch.rand(4, *INPUTS.shape), torch.zeros(4))
    assert torch.equal(norm.norm.running_mean, before[0])
    assert not torch.equal(norm.clean.running_mean, before[1])
    clean = norm.clean.running_mean.clone()
    net(torch.rand(4, *INPUTS.shape), torch.ones(4))
    assert torch.equal(norm.clean.running_mean, clean)


def test_a_mixed_batch_is_normed_as_its_parts_are() -> None:
    x = torch.rand(6, *INPUTS.shape, generator=torch.Generator().manual_seed(2))
    lam = torch.tensor([3.0, 0, 0, 50, 0, 1])
    parts, whole = (trained("small_cnn").train().net.get_submodule("layers.2") for _ in range(2))
    maps = x.repeat(1, 6, 1, 1)[:, :4]
    for rows in (lam == 0, lam > 0):
        with parts._given.to(encoded(lam[rows], 100.0), lam[rows] == 0):
            part = parts(maps[rows])
        with whole._given.to(encoded(lam, 100.0), lam == 0):
            assert torch.allclose(whole(maps)[rows], part, atol=1e-6)


def test_in_train_mode_a_batch_is_normed_then_scaled_and_shifted_by_its_lambda() -> None:
    norm = trained("small_cnn").train().net.get_submodule("layers.2")
    x, lam = torch.rand(5, 4, 6, 6), torch.tensor([1.0, 2, 30, 70, 100])
    code = encoded(lam, 100.0)
    gamma, beta = (code @ norm.film.weight.T).chunk(2, 1)

    centred = x - x.mean((0, 2, 3), keepdim=True)
    normed = centred / (x.var((0, 2, 3), keepdim=True, correction=0) + norm.norm.eps).sqrt()
    normed = normed * norm.norm.weight[:, None, None] + norm.norm.bias[:, None, None]
    expected = normed * (1 + gamma[..., None, None]) + beta[..., None, None]
    with norm._given.to(code, lam == 0):
        assert torch.allclose(norm(x), expected, atol=1e-5)


def test_a_net_without_batchnorm_is_refused() -> None:
    with pytest.raises(ConfigError, match="objective needs a model with BatchNorm"):
        ConditionalNet(make_model("mlp", INPUTS, width=4), Conditioning(top=1.0))


def test_a_checkpoint_is_one_net_for_all_and_loads_as_no_other(tmp_path: Path, x: Tensor) -> None:
    net = trained("small_cnn")
    save_weights(net, tmp_path / "weights.pt")
    spec = ModelSpec(
        factory="fftune:small_cnn", width=4, inputs=INPUTS, conditioning=net.conditioning,
        weights=str(tmp_path / "weights.pt"), hash=weights_hash(net),
    )  # fmt: skip

    assert torch.equal(load_conditional(spec)(x), net(x))
    with pytest.raises(ModelError, match=r"one net for every lambda from 0 to 100: .*@lam=20"):
        load_model(spec)
    with pytest.raises(ModelError, match="no net for all lambdas"):
        load_conditional(replace(spec, conditioning=None))
    with pytest.raises(ModelError, match="have hash"):
        load_conditional(replace(spec, hash="0" * 16))


def test_copies_share_nothing(x: Tensor) -> None:
    net = trained("small_cnn")
    other = copy.deepcopy(net)
    known = net(x, torch.tensor(LAMS))
    other(x[:2], torch.zeros(2))

    assert torch.equal(net(x, torch.tensor(LAMS)), known)
    given = {id(module._given) for module in other.modules() if hasattr(module, "_given")}
    assert len(given) == 1
    assert given.isdisjoint({id(m._given) for m in net.modules() if hasattr(m, "_given")})


@pytest.mark.parametrize("lam", [-1.0, 100.5, float("nan")])
def test_lambdas_beyond_training_are_refused(lam: float) -> None:
    with pytest.raises(ModelError, match=r"lam must be in \[0, 100\]"):
        net_at(trained("small_cnn"), lam)
