import pytest
import torch
from torch import nn

from fftune.config import ModelSpec
from fftune.errors import ModelError
from fftune.models import load_model, weights_hash

FILE = """
from dataclasses import dataclass
from torch import nn
import neighbour

@dataclass
class Size:
    width: int = 4

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(Size().width, neighbour.CLASSES))

def named(name):
    return nn.Linear({"small": 1, "large": 9}[name], 2)

def text():
    return "not a net"

number = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour.py").write_text("CLASSES = 3\n")
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_function_of_a_file(file) -> None:
    net = load_model(ModelSpec(factory=f"{file}:net"))
    assert not net.training
    assert net(torch.rand(2, 1, 2, 2)).shape == (2, 3)
    assert load_model(ModelSpec(factory=f"{file}:named:large")).in_features == 9


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"state_dict": [s]},
    ],
)
def test_weights_however_they_are_wrapped(file, tmp_path, wrap) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    torch.save(wrap(net.state_dict()), tmp_path / "w.pt")
    spec = ModelSpec(factory=f"{file}:net", weights=str(tmp_path / "w.pt"), hash=weights_hash(net))
    assert weights_hash(load_model(spec)) == weights_hash(net)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("nothing", "defines no function 'nothing'"),
        ("number", "defines no function 'number'"),
        ("text", "returned str, not a module"),
        ("named", "TypeError"),
        ("named:middle", "KeyError"),
    ],
)
def test_bad_functions_are_one_line(file, call, message) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_model(ModelSpec(factory=f"{file}:{call}"))
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files(tmp_path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        load_model(ModelSpec(factory=f"{tmp_path}/none.py:net"))
    with pytest.raises(ModelError, match="unknown model 'resnt18'; did you mean 'resnet18'"):
        load_model(ModelSpec(factory="resnt18"))
    (tmp_path / "bad.py").write_text("def net(:")
    with pytest.raises(ModelError, match="SyntaxError"):
        load_model(ModelSpec(factory=f"{tmp_path}/bad.py:net"))


def test_weights_of_another_net(file, tmp_path) -> None:
    torch.save(nn.Linear(5, 5).state_dict(), tmp_path / "w.pt")
    with pytest.raises(
        ModelError,
        match=r"it has weight \(5, 5\), bias \(5,\); the net has 1.weight \(3, 4\), 1.bias",
    ) as caught:
        load_model(ModelSpec(factory=f"{file}:net", weights=str(tmp_path / "w.pt")))
    assert "\n" not in str(caught.value)
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(ModelError, match="it holds no tensors by name; the net has"):
        load_model(ModelSpec(factory=f"{file}:net", weights=str(tmp_path / "w.pt")))
