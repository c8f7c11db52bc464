import re
import sys
from enum import Enum
from functools import partial
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from fftune.config import ModelSpec
from fftune.errors import ModelError
from fftune.models import load_model
from fftune.models import published_nets as published
from fftune.models.layers import Normalize
from fftune.models.loading import loaded
from fftune.models.published_nets import CIFAR10, LAYOUTS, NormalizeEach, WideResNet
from fftune.models.weights import read_weights

CLASSICAL = {
    "stem": "conv1",
    "last.0": "bn1",
    "head": "fc",
    "before.0": "bn1",
    "body.0": "conv1",
    "body.1": "bn2",
    "body.3": "conv2",
    "shortcut": "convShortcut",
}
GOWAL = {
    "stem": "init_conv",
    "last.0": "batchnorm",
    "head": "logits",
    "normalize": None,
    "before.0": "batchnorm_0",
    "body.0": "conv_0",
    "body.1": "batchnorm_1",
    "body.3": "conv_1",
    "shortcut": "shortcut",
}


def as_published(net, names, block):
    """The state of `net` under the names of published files."""
    found = {}
    for key, value in net.state_dict().items():
        layer, rest = key.rsplit(".", 1)
        if inside := re.fullmatch(r"stages\.(\d)\.(\d+)\.(.+)", layer):
            stage, number, layer = inside.groups()
            found[f"{block(int(stage), number)}.{names[layer]}.{rest}"] = value
        elif layer == "normalize":
            found[rest] = value
        else:
            found[f"{names[layer]}.{rest}"] = value
    return found


def classical(net):
    return as_published(net, CLASSICAL, lambda stage, n: f"block{stage + 1}.layer.{n}")


def gowal(net):
    return as_published(net, GOWAL, lambda stage, n: f"layer.{stage}.block.{n}")


@pytest.fixture
def small(monkeypatch):
    """Depth 10, one block a stage, twice as wide as the narrowest."""
    build = partial(WideResNet, depth=10, widen=2)
    for place, normalize, smooth in (
        ("cifar10/Linf/plain", False, False),
        ("cifar10/Linf/normalized", True, False),
        ("cifar10/Linf/smooth", True, True),
    ):
        monkeypatch.setitem(
            LAYOUTS,
            place,
            lambda classes, normalize=normalize, smooth=smooth: build(
                classes, normalize=Normalize(*CIFAR10) if normalize else None, smooth=smooth
            ),
        )
    return build


def load(tmp_path, name, state):
    torch.save(state, tmp_path / "w.pt")
    weights = str(tmp_path / "w.pt")
    return load_model(ModelSpec(factory=f"robustbench:cifar10/Linf/{name}", weights=weights))


def bare(factory):
    return loaded(ModelSpec(factory=factory), bare=True).net


@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    # Zagoruyko & Komodakis 2016, table 5; Gowal et al. 2020, section 4.
    [(28, 10, 36.5), (34, 10, 46.2), (34, 20, 184.5), (70, 16, 266.8)],
)
def test_as_many_weights_as_published(depth, widen, millions) -> None:
    with torch.device("meta"):
        net = WideResNet(10, depth=depth, widen=widen)
        smooth = WideResNet(10, depth=depth, widen=widen, smooth=True)
    count = sum(p.numel() for p in net.parameters())
    assert round(count / 1e6, 1) == millions
    assert count == sum(p.numel() for p in smooth.parameters())


def test_every_layout_is_built_for_its_data() -> None:
    with torch.device("meta"):
        for place, build in LAYOUTS.items():
            data = place.partition("/")[0]
            assert build(published.CLASSES[data]).head.out_features == published.CLASSES[data]


def test_names_of_trades_and_its_unused_stage(small, tmp_path) -> None:
    net = small(10).eval()
    state = classical(net)
    state |= {f"sub_{key}": value for key, value in state.items() if key.startswith("block1")}
    wrapped = {"state_dict": {f"module.{key}": value for key, value in state.items()}}
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(load(tmp_path, "plain", wrapped)(x), net(x))


def test_constants_that_a_file_leaves_out_or_holds(small, tmp_path) -> None:
    net = small(10, normalize=Normalize(*CIFAR10)).eval()
    x = torch.rand(2, 3, 32, 32)
    state = classical(net)
    mean, std = state.pop("mean"), state.pop("std")
    bare = {f"model.{key}": value for key, value in state.items()}
    assert torch.equal(load(tmp_path, "normalized", bare)(x), net(x))
    given = state | {"mu": mean.view(1, 3, 1, 1), "sigma": 2 * std.view(1, 3, 1, 1)}
    other = load(tmp_path, "normalized", given)
    net.normalize.std *= 2
    assert torch.equal(other(x), net(x))


def test_names_and_pads_of_gowal(small, tmp_path) -> None:
    net = small(10, normalize=Normalize(*CIFAR10), smooth=True).eval()
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(load(tmp_path, "smooth", gowal(net))(x), net(x))
    block = net.stages[1][0]
    active = torch.rand(1, 32, 8, 8)
    same = F.conv2d(F.pad(active, (0, 1, 0, 1)), block.body[0].weight, stride=2)
    torch.testing.assert_close(block.body[0](active), same)
    assert isinstance(block.body[2], torch.nn.SiLU)


def test_ours_are_read_back(small, tmp_path) -> None:
    net = small(10).eval()
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(load(tmp_path, "plain", net.state_dict())(x), net(x))


def test_a_file_of_another_net_is_refused(small, tmp_path) -> None:
    state = classical(small(10))
    state["block3.layer.1.conv1.weight"] = torch.zeros(1)
    with pytest.raises(ModelError, match=r"do not fit the net: .*stages\.2\.1\.body\.0\.weight"):
        load(tmp_path, "plain", state)


def test_each_image_by_itself() -> None:
    x = torch.rand(2, 3, 4, 4)
    out = NormalizeEach()(x)
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(out.std((1, 2, 3)), torch.ones(2))
    flat = NormalizeEach()(x * 1e-3)  # below the least deviation, 1 / sqrt(48)
    torch.testing.assert_close(flat, (x - x.mean((1, 2, 3), keepdim=True)) * 1e-3 * 48**0.5)


def test_a_net_of_the_package_alone(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "robustbench", None)
    spec = ModelSpec(factory="robustbench:cifar10/Linf/Wong2020Fast", weights="w.pt")
    with pytest.raises(ModelError, match=r"'Wong2020Fast' .* pip install 'fftune\[robustbench\]'$"):
        load_model(spec)


def test_nets_of_the_package(monkeypatch, tmp_path) -> None:
    """The package's tables, as they are since its first release."""

    class Data(Enum):
        cifar_10 = "cifar10"

    class Norm(Enum):
        Linf = "Linf"

    class Net(torch.nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("mu", torch.tensor(0.5))

    zoo, enums = ModuleType("robustbench.model_zoo"), ModuleType("robustbench.model_zoo.enums")
    zoo.model_dicts = {Data.cifar_10: {Norm.Linf: {"Theirs": {"model": Net}}}}
    enums.BenchmarkDataset, enums.ThreatModel = Data, Norm
    monkeypatch.setitem(sys.modules, "robustbench", ModuleType("robustbench"))
    monkeypatch.setitem(sys.modules, "robustbench.model_zoo", zoo)
    monkeypatch.setitem(sys.modules, "robustbench.model_zoo.enums", enums)

    net = bare("robustbench:cifar10/Linf/Theirs")
    torch.save({"model.weight": torch.eye(2), "model.bias": torch.zeros(2)}, tmp_path / "w.pt")
    read_weights(net, str(tmp_path / "w.pt"))
    assert net.mu == 0.5 and torch.equal(net.weight, torch.eye(2))
    for place, told in (
        ("cifar10/Linf/Thiers", "no net 'Thiers' .*did you mean 'Theirs'"),
        ("cifar10/L2/Theirs", "no nets for 'cifar10' and 'L2'"),
        ("svhn/Linf/Theirs", "no nets for 'svhn' and 'Linf'"),
    ):
        with pytest.raises(ModelError, match=told):
            bare(f"robustbench:{place}")
