"""Files of weights as training scripts leave them: exact names first, then every wrapper."""

import argparse
import copy
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fftune.errors import ModelError
from fftune.models import weights_hash
from fftune.models.layers import Normalize
from fftune.models.weights import read_weights

State = dict[str, Tensor]


class Net(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


class Head(nn.Module):
    """Its own names begin with what DataParallel adds."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.last = Net(), nn.Linear(4, 4)


def made(kind: Callable[[], nn.Module] = Net, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return kind()


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {prefix + name: value for name, value in state.items()}


def zeros(state: Mapping[str, Tensor]) -> State:
    return {name: value * 0 for name, value in state.items()}


def parallel() -> nn.Module:
    return nn.DataParallel(Net())


class Compiled(nn.Module):
    """What `torch.compile` returns, as far as names go; its import takes most of a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._orig_mod = Net()


def normalised() -> nn.Module:
    return nn.Sequential(Normalize((0.5,), (0.25,)), Net())


WRAPPED: dict[str, Callable[[State], object]] = {
    "alone": lambda s: s,
    "net": lambda s: {"net": s, "acc": 91.2, "epoch": 3},
    "net of DataParallel": lambda s: {"net": under("module.", s)},
    "compiled": lambda s: under("_orig_mod.", s),
    "compiled, then spread": lambda s: under("module._orig_mod.", s),
    "spread, then compiled": lambda s: {"model": under("_orig_mod.module.", s)},
    "Lightning": lambda s: {"state_dict": under("model.", s), "hyper_parameters": {"lr": 0.1}},
    "Lightning, another name": lambda s: {"state_dict": under("backbone.encoder.", s)},
    "Lightning, compiled, a loss with weights": lambda s: {
        "state_dict": {**under("net._orig_mod.", s), "criterion.weight": torch.ones(4)}
    },
    "averaged": lambda s: {**under("module.", s), "n_averaged": torch.tensor(7)},
    "EMA alone": lambda s: {"model_ema": s, "epoch": 1},
    "EMA without a usual name": lambda s: {"shadow_params_of_net": under("module.", s)},
    "params": lambda s: {"params": s},
    "settings under model": lambda s: {"model": {"arch": "net", "depth": 3}, "net": s},
    "two levels": lambda s: {"checkpoint": {"model_state_dict": under("module.", s)}},
    "MadryLab": lambda s: {
        "model": {**under("module.model.", s), **under("module.attacker.model.", s)}
    },
    "part of it sharded": lambda s: {
        name.replace("bn.", "bn._fsdp_wrapped_module."): value for name, value in s.items()
    },
    "counts of operations": lambda s: {
        **s,
        "total_ops": torch.ones(1),
        "bn.total_params": torch.ones(1),
    },
    "before torch counted batches": lambda s: {
        name: value for name, value in s.items() if "num_batches" not in name
    },
    "arguments, paths and NumPy's numbers": lambda s: {
        "model": s,
        "args": argparse.Namespace(lr=0.1, out=Path("here")),
        "best": [np.float64(91.2), np.float32(1), np.int64(3)],
    },
    "a list of one": lambda s: {"state_dict": [s]},
    "optimizer and step beside": lambda s: {
        "model": s, "optimizer": {"state": {0: {"momentum_buffer": s["fc.bias"]}}}, "step": 5
    },
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPED)
def test_a_state_dict_is_found_in_whatever_wraps_it(tmp_path: Path, how: str) -> None:
    net = made()
    torch.save(WRAPPED[how](net.state_dict()), tmp_path / "w.pt")
    read_weights(other := made(seed=2), str(tmp_path / "w.pt"))
    assert weights_hash(other) == weights_hash(net)


@pytest.mark.parametrize("kind", [parallel, Head, Compiled, normalised])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_exact_names_come_before_prefixes(tmp_path: Path, kind, prefix: str) -> None:
    net = made(kind)
    torch.save(under(prefix, net.state_dict()), tmp_path / "w.pt")
    read_weights(other := made(kind, 2), str(tmp_path / "w.pt"))
    assert weights_hash(other) == weights_hash(net)


@pytest.mark.parametrize("kind", [parallel, Compiled, normalised])
def test_the_file_of_a_bare_net_fits_the_wrapped_one(tmp_path: Path, kind) -> None:
    bare, net = made(), made(kind, 2)
    torch.save({"state_dict": bare.state_dict()}, tmp_path / "w.pt")
    read_weights(net, str(tmp_path / "w.pt"))
    inner = [m for m in net.modules() if isinstance(m, Net)]
    assert [weights_hash(m) for m in inner] == [weights_hash(bare)]


def test_a_files_own_constants_are_kept(tmp_path: Path) -> None:
    net = made(normalised)
    net[0].mean.fill_(0.125)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    read_weights(other := made(normalised, 2), str(tmp_path / "w.pt"))
    assert other[0].mean.item() == 0.125


def test_a_parameter_called_mean_is_no_constant(tmp_path: Path) -> None:
    class Learned(Net):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Parameter(torch.zeros(1))

    torch.save(made().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"it lacks mean \(1,\)$"):
        read_weights(Learned(), str(tmp_path / "w.pt"))


SECOND = {
    "state_dict and state_dict_ema": (("state_dict",), "state_dict_ema"),
    "model and model_ema": (("model",), "model_ema"),
    "net and swa_net": (("net",), "swa_net"),
}


@pytest.mark.parametrize("how", SECOND)
def test_of_two_copies_the_plain_one_is_taken_and_told(tmp_path: Path, caplog, how: str) -> None:
    (plain,), averaged = SECOND[how]
    net = made()
    state = net.state_dict()
    path = str(tmp_path / "w.pt")
    torch.save({averaged: zeros(state), plain: state}, path)
    read_weights(other := made(seed=2), path)
    assert weights_hash(other) == weights_hash(net)
    assert f"'{plain}' is taken; '{averaged}' would fit too" in caplog.text
    told = read_weights(other, path, averaged).told
    assert f"its '{averaged}'" in told and not other.state_dict()["fc.weight"].any()
    with pytest.raises(ModelError, match=f"weights_key must be one of '{plain}', '{averaged}'"):
        read_weights(other, path, "emaa")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"best": s, "last": zeros(s)},
        lambda s: {**under("netA.", s), **under("netB.", zeros(s))},
        lambda s: {"folds": {"1": s, "2": zeros(s)}},
    ],
)
def test_nobody_guesses_between_two_copies(tmp_path: Path, wrap) -> None:
    torch.save(wrap(made().state_dict()), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="several fit, '.*', '.*'; name one by weights_key"):
        read_weights(made(), str(tmp_path / "w.pt"))


def test_equal_copies_are_one(tmp_path: Path, caplog) -> None:
    state = made().state_dict()
    torch.save({"best": state, "last": copy.deepcopy(state)}, tmp_path / "w.pt")
    read_weights(made(), str(tmp_path / "w.pt"))
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_normalizer_beside_the_net_is_told(tmp_path: Path) -> None:
    beside = {
        "module.normalizer.new_mean": torch.full((1, 1, 1), 0.5),
        "module.normalizer.new_std": torch.full((1, 1, 1), 0.25),
    }
    torch.save({"model": {**under("module.model.", made().state_dict()), **beside}},
               tmp_path / "w.pt")  # fmt: skip
    read = read_weights(made(seed=2), str(tmp_path / "w.pt"))
    assert read.constants == ((0.5,), (0.25,))
    assert "names without 'module.model.', 2 other tensors left out" in read.told


MISFITS = {
    "of other classes": (
        lambda _: made(lambda: Net(7)).state_dict(),
        r"fc.weight is \(7, 3\), expected \(4, 3\); fc.bias is \(7,\), expected \(4,\)$",
    ),
    "without a head": (
        lambda s: {"model": {k: v for k, v in s.items() if "fc" not in k}},
        r"its 'model' lacks fc.weight \(4, 3\), fc.bias \(4,\)$",
    ),
    "with another head": (
        lambda s: {**s, "fc2.weight": torch.ones(2, 4)},
        r"the net has no fc2.weight \(2, 4\)$",
    ),
    "another net": (
        lambda _: nn.Linear(2, 5).state_dict(),
        r"it has weight \(5, 2\), bias \(5,\); the net has conv.weight \(3, 1, 3, 3\), "
        r"conv.bias \(3,\), bn.weight \(3,\) and 6 more$",
    ),
    "no tensors": (lambda _: {"epoch": 3}, "it holds no tensors by name; the net has conv.weight"),
    "a tensor": (lambda _: torch.ones(3), "it holds no tensors by name; the net has conv.weight"),
}


@pytest.mark.parametrize("how", MISFITS)
def test_what_does_not_fit_stands_beside_what_was_expected(tmp_path: Path, how: str) -> None:
    wrap, told = MISFITS[how]
    net = made()
    torch.save(wrap(net.state_dict()), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=told) as caught:
        read_weights(net, str(tmp_path / "w.pt"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_the_average_of_torch_itself(tmp_path: Path) -> None:
    net = made()
    torch.save(AveragedModel(net).state_dict(), tmp_path / "w.pt")
    read_weights(other := made(seed=2), str(tmp_path / "w.pt"))
    assert weights_hash(other) == weights_hash(net)


def test_a_pickled_net_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(made(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"hold more than tensors \(.*Net\)") as caught:
        read_weights(made(), str(tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)


def test_safetensors(tmp_path: Path) -> None:
    net, path = made(), tmp_path / "model.safetensors"
    save_file(under("module.", net.state_dict()), path)
    read_weights(other := made(seed=2), str(path))
    assert weights_hash(other) == weights_hash(net)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match=r"weights '.*model.safetensors' cannot be used: "):
        read_weights(other, str(path))
    with pytest.raises(ModelError, match="cannot be used: "):
        read_weights(other, str(tmp_path / "none.safetensors"))
