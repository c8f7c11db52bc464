"""The papers' nets: published sizes, every image size, one step, the way to disk and back."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fftune.config import InputSpec, ModelSpec
from fftune.errors import ConfigError, ModelError
from fftune.models import (
    eval_mode,
    inference_copy,
    load_model,
    make_model,
    save_weights,
    weights_hash,
)
from fftune.models.linf_training import ADAM_EPS, BETAS
from fftune.registry import MODELS

CIFAR = InputSpec(
    shape=(3, 32, 32),
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2471, 0.2435, 0.2616),
)
NARROW = {
    "small_cnn": 4,
    "small_resnet": 4,
    "mlp": 16,
    "vgg16": 4,
    "resnet18": 4,
    "wrn28_10": 4,
    "linf_dist": 16,
    "resnet50": 4,
    "resnet101": 2,
}

FOLDED = {"resnet50": 1e-3, "resnet101": 1e-3}
"""Relative to the largest logit; 53 and 104 random layers whose last maps are 1 x 1 enlarge
rounding, which the comparison in float64 shows to be all there is."""


@pytest.fixture
def unfilled(monkeypatch) -> None:
    """Nets of any size in no time: memory is asked for, nothing is drawn or written."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)
    monkeypatch.setattr(torch, "randn", torch.empty)


def count(name: str, inputs: InputSpec = CIFAR, **settings) -> int:
    return sum(p.numel() for p in make_model(name, inputs, **settings).parameters())


@pytest.mark.parametrize(
    ("name", "constants", "expected"),
    [
        ("mlp", "paper", 18_911_242),
        ("mlp", "code", 28_351_498),
        # 13 convolutions with biases and norms, 512 x 10 + 10: nothing follows the last pool.
        ("vgg16", "paper", 14_728_266),
        ("resnet18", "paper", 11_173_962),
        ("wrn28_10", "paper", 36_479_194),
        ("linf_dist", "paper", 3072 * 5120 + 4 * 5120**2 + 5120 * 10 + 10),
    ],
)
def test_published_sizes(unfilled, name, constants, expected) -> None:
    assert count(name, constants=constants) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("resnet50", 25_557_032), ("resnet101", 44_549_160)]
)
def test_imagenet_nets_are_torchvisions(unfilled, name, expected) -> None:
    import torchvision

    inputs = replace(CIFAR, shape=(3, 224, 224), classes=1000)
    assert count(name, inputs) == expected
    ours = make_model(name, inputs).net.state_dict()
    theirs = getattr(torchvision.models, name)().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_a_narrow_net_is_narrow_everywhere() -> None:
    net = make_model("resnet50", CIFAR, width=4).net
    assert net.conv1.out_channels == net.layer1[0].conv1.out_channels == 4
    assert net.fc.in_features == 4 * 8 * 4


def test_readings_of_the_mlp() -> None:
    """A ReLU between each two of three layers, or after the first of four."""
    kinds = {
        constants: "".join(
            type(m).__name__[0]
            for m in make_model("mlp", CIFAR, width=8, constants=constants).layers
        )
        for constants in ("paper", "code")
    }
    assert kinds == {"paper": "NFLRLRL", "code": "NFLRLLL"}


@pytest.mark.parametrize(("constants", "fan"), [("paper", "out_channels"), ("code", "in_channels")])
def test_he_variance_of_wide_nets(constants, fan) -> None:
    """Deviation sqrt(2 / fan), within five standard errors; the first block has fans of 16, 64."""
    net = make_model("wrn28_10", CIFAR, width=64, constants=constants)
    weight = net.blocks[0].body[0].weight
    expected = (2 / (9 * getattr(net.blocks[0].body[0], fan))) ** 0.5
    assert abs(weight.std() - expected) < 5 * expected / (2 * weight.numel()) ** 0.5


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "resnet50", "mlp"])
def test_he_variance(name) -> None:
    net = make_model(name, CIFAR, width=64)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    weight = layers[1].weight
    fan = weight.shape[1] if name == "mlp" else weight.shape[0] * weight[0, 0].numel()
    expected = (2 / fan) ** 0.5
    assert abs(weight.std() - expected) < 5 * expected / (2 * weight.numel()) ** 0.5


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 224, 224)])
def test_shapes(name, shape) -> None:
    inputs = InputSpec(shape=shape, classes=7, mean=(0.5,) * shape[0], std=(0.2,) * shape[0])
    if min(shape[1:]) < 32 and name in ("vgg16", "resnet50", "resnet101"):
        with pytest.raises(ConfigError, match=f"'{name}' needs images of at least 32 x 32"):
            make_model(name, inputs, width=NARROW[name])
        return
    if shape[1] == 224 and name in ("mlp", "resnet101"):
        pytest.skip("slow to build, and 64 x 64 shows the same")
    with torch.no_grad():
        model = make_model(name, inputs, width=NARROW[name]).eval()
        assert model(torch.rand(1, *shape)).shape == (1, 7)


@pytest.mark.some(4)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "resnet101" else n for n in NARROW],
)
def test_one_step_searching_and_the_way_to_disk(name, tmp_path) -> None:
    torch.manual_seed(0)
    model = make_model(name, CIFAR, width=NARROW[name], seed=3)
    x, y, before = torch.rand(8, 3, 32, 32), torch.arange(8), weights_hash(model)
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    if name == "linf_dist":  # trained from p = 8 on and by Adam: other slopes are too small
        model.set_p(8.0)
        optimizer = torch.optim.Adam(model.parameters(), 0.02, BETAS, ADAM_EPS)
    old = [p.detach().clone() for p in model.parameters()]
    for _ in range(2):  # the second through statistics of the first
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    weights = [(a, b) for a, b in zip(old, model.parameters(), strict=True) if b.dim() > 1]
    assert not any(torch.equal(a, b) for a, b in weights)

    for module in model.modules():  # statistics as after training, so that logits are tame
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(x)
    exact = copy.deepcopy(model).double()  # in which folding BatchNorm must be invisible
    with eval_mode(model), eval_mode(exact), torch.no_grad():
        logits, copied = model(x), inference_copy(model, "fp32", x)(x)
        known, folded = exact(x.double()), inference_copy(exact, "fp32", x.double())(x.double())
    assert model.training
    torch.testing.assert_close(folded, known, rtol=1e-7, atol=1e-7)
    size = 1 + float(logits.abs().max())
    torch.testing.assert_close(copied, logits, rtol=0, atol=size * FOLDED.get(name, 1e-4))
    assert torch.equal(copied.argmax(1), logits.argmax(1))

    save_weights(model, tmp_path / "w.pt")
    spec = ModelSpec(
        factory=f"fftune:{name}",
        inputs=CIFAR,
        width=NARROW[name],
        weights=str(tmp_path / "w.pt"),
        hash=weights_hash(model),
    )
    assert spec.hash != before
    with torch.no_grad():
        assert torch.equal(load_model(spec)(x), logits)
    with pytest.raises(ModelError, match="do not fit the net: "):
        load_model(replace(spec, width=NARROW[name] + 1))


def test_a_spec_keeps_the_reading(tmp_path) -> None:
    model = make_model("mlp", CIFAR, width=8, constants="code")
    save_weights(model, tmp_path / "w.pt")
    spec = ModelSpec(
        factory="fftune:mlp", inputs=CIFAR, width=8, constants="code", weights=f"{tmp_path}/w.pt"
    )
    assert weights_hash(load_model(spec)) == weights_hash(model)
    with pytest.raises(ModelError, match="do not fit the net: "):
        load_model(replace(spec, constants="paper"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "arch": "resnet50"},
    ],
    ids=["torchvision", "fastat"],
)
def test_files_of_torchvision_and_fastat_load(tmp_path, wrap) -> None:
    model = make_model("resnet50", CIFAR, width=2, seed=1)
    torch.save(wrap(model.net.state_dict()), tmp_path / "w.pt")
    spec = ModelSpec(
        factory="fftune:resnet50", inputs=CIFAR, width=2, weights=str(tmp_path / "w.pt")
    )
    assert weights_hash(load_model(spec)) == weights_hash(model)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="do not fit the net: "):
        load_model(spec)


def test_the_users_own_net_is_seeded_and_has_no_width(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)).eval()\n"
    )
    name = f"{tmp_path}/mine.py:net"
    one, two, other = (make_model(name, CIFAR, seed=seed) for seed in (0, 0, 1))
    assert weights_hash(one) == weights_hash(two) != weights_hash(other)
    assert all(module.training for module in one.modules())
    with pytest.raises(ConfigError, match="width must be left out"):
        make_model(name, CIFAR, width=3)
    with pytest.raises(ConfigError, match="width must be >= 1, got 0"):
        make_model("mlp", CIFAR, width=0)


def test_every_net_is_tried_here() -> None:
    assert set(NARROW) == set(MODELS)
