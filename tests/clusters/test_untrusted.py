"""Files from elsewhere: weights, states and settings are read as data, and nothing in them runs."""

import argparse
import ast
import os
import pickle
import re
import types
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fftune.errors import ModelError
from fftune.models.weights import read_weights
from fftune.training.snapshots import Snapshots
from tests.clusters.files import CHECKOUT


class Burglar:
    """Whoever unpickles it runs a command."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2))


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """The file that a burglar leaves."""
    return tmp_path / "burgled"


def test_the_burglar_is_real(proof: Path, tmp_path: Path) -> None:
    torch.save({"x": Burglar(proof)}, tmp_path / "w.pt")
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert proof.exists()


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("where", ["beside", "instead", "inside"])
def test_weights_that_would_run_code(
    proof: Path, tmp_path: Path, where: str, archive: bool
) -> None:
    state: Any = net().state_dict()
    state = {
        "beside": {**state, "x": Burglar(proof)},
        "instead": Burglar(proof),
        "inside": {"state_dict": state, "optimizer": [Burglar(proof)]},
    }[where]
    path = tmp_path / "w.pt"
    torch.save(state, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(ModelError) as refused:
        read_weights(net(), str(path))
    assert not proof.exists()
    message = str(refused.value)
    assert "\n" not in message
    assert message == (
        f"weights {str(path)!r} hold more than tensors (posix.system), and code in a file of "
        "weights is never run; save model.state_dict() alone, or load them in a "
        "FILE.py:FUNCTION of yours"
    )


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (net(), "torch.nn.modules.container.Sequential"),
        ({"state_dict": {}, "args": types.SimpleNamespace(lr=0.1)}, "types.SimpleNamespace"),
        ({"state_dict": {}, "best": Fraction(1, 2)}, "fractions.Fraction"),
    ],
)
def test_innocent_files_that_need_code_are_told_what_to_do(
    tmp_path: Path, content: object, named: str
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=rf"\({re.escape(named)}\).*save model.state_dict\(\)"):
        read_weights(net(), str(tmp_path / "w.pt"))


@pytest.mark.parametrize(
    "beside",
    [argparse.Namespace(lr=0.1), np.float64(0.5), Path("run")],
    ids=lambda x: type(x).__name__,
)
def test_what_training_scripts_leave_beside_the_tensors_is_read_past(
    tmp_path: Path, beside: object
) -> None:
    saved, read = nn.Linear(2, 2), nn.Linear(2, 2)
    torch.save({"state_dict": saved.state_dict(), "beside": beside}, tmp_path / "w.pt")
    read_weights(read, str(tmp_path / "w.pt"))
    assert torch.equal(saved.weight, read.weight)


def a_plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Burglar(path.with_name("burgled"))))


def a_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")


def bytes_at_random(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(1000))


def a_number(path: Path) -> None:
    torch.save({"0.weight": 3}, path)


@pytest.mark.parametrize(
    "write",
    [
        a_plain_pickle,
        a_zip,
        bytes_at_random,
        a_number,
        lambda path: path.write_text("hello"),
        lambda path: path.write_bytes(b""),
        lambda path: path.mkdir(),
        lambda path: torch.save([], path),
    ],
)
def test_what_are_no_weights_is_one_line(
    proof: Path, tmp_path: Path, write: Callable[[Path], object]
) -> None:
    write(tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"cannot be used: |do not fit the net: ") as refused:
        read_weights(net(), str(tmp_path / "w.pt"))
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)  # torch's advice to trust the file
    assert not proof.exists()


def test_every_shortened_or_bent_file_is_refused_or_read(tmp_path: Path) -> None:
    """Whatever a bad disk does, it ends in ModelError or in tensors."""
    path = tmp_path / "w.pt"
    torch.save(net().state_dict(), path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        bent = bytearray(whole[: rng.integers(len(whole)) if rng.random() < 0.5 else None])
        for at in rng.integers(len(bent) or 1, size=3 if bent else 0):
            bent[at] = rng.integers(256)
        path.write_bytes(bent)
        try:
            read_weights(net(), str(path))
        except ModelError:
            refused += 1
    assert refused > 50


def test_a_state_that_would_run_code_is_passed_over(
    proof: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its checksum is right: whoever can write states can write the list of them."""
    states = Snapshots(tmp_path / "states")
    states.save({"model": net().state_dict()}, epoch=1, step=0)
    states.save({"model": Burglar(proof)}, epoch=2, step=0)
    found = states.newest()
    assert found is not None and found["model"].keys() == net().state_dict().keys()
    assert not proof.exists()
    assert "posix.system" in caplog.text


# What may run code from a file, and where that is allowed: on purpose, or checked before.
ALLOWED = {
    "fftune/data/sources/cifar_pickles.py": {"pickle.Unpickler"},  # which makes arrays alone
    # The user's own FILE.py:FUNCTION, and recipes of theirs.
    "fftune/user_code.py": {"spec.loader.exec_module"},
}
DANGEROUS = {
    *("eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "yaml.load"),
    "pickle.Unpickler",
    *("yaml.unsafe_load", "cloudpickle.load", "cloudpickle.loads", "joblib.load", "os.system"),
    *("marshal.load", "marshal.loads", "dill.load", "torch.jit.load", "torch.hub.load"),
    *("spec.loader.exec_module", "pd.read_pickle", "pandas.read_pickle", "runpy.run_path"),
}


def calls(source: str) -> list[tuple[str, dict[str, ast.expr]]]:
    """What is called by which dotted name, and with which keywords."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [(ast.unparse(n.func), {k.arg or "**": k.value for k in n.keywords}) for n in nodes]


def risks(source: str) -> set[str]:
    """The calls that may run what a file says, and the classes that may."""
    classes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))
    found = {ast.unparse(base) for node in classes for base in node.bases} & DANGEROUS
    for name, keywords in calls(source):
        allow = keywords.get("allow_pickle", keywords.get("shell"))
        unsafe = name == "torch.load" and ast.unparse(keywords.get("weights_only", ast.Constant(0)))
        if name in DANGEROUS or (allow and ast.unparse(allow) != "False"):
            found.add(name)
        if unsafe and unsafe != "True":
            found.add(name)
    return found


def test_nothing_runs_what_a_file_says() -> None:
    paths = (CHECKOUT / "fftune").rglob("*.py")
    found = {str(p.relative_to(CHECKOUT)): risks(p.read_text(encoding="utf-8")) for p in paths}
    assert {name: calls for name, calls in found.items() if calls} == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=maybe)",
        "pickle.load(file)",
        "pickle.Unpickler(file)",
        "class Plain(pickle.Unpickler): ...",
        "yaml.load(text)",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_such_a_call_would_be_found(source: str) -> None:
    assert risks(source)
    assert not risks("torch.load(path, weights_only=True)")
