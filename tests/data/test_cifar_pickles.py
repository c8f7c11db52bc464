"""CIFAR's pickles: the published layout, other contents, and code that must not run."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from fftune.config import DataSpec
from fftune.data import load
from fftune.data.catalog import open_parts
from fftune.data.sources.cifar_pickles import unpickled
from fftune.errors import DataError

RNG = np.random.default_rng(0)


def batch(labels, *, key="labels", protocol=2, **others) -> bytes:
    """A batch as it is published; the originals were written by Python 2, with texts of bytes."""
    data = RNG.integers(0, 256, (len(labels), 3072), np.uint8)
    held = {"data": data, key: labels, "filenames": [f"{i}.png" for i in range(len(labels))]}
    return pickle.dumps(held | others, protocol=protocol)


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    root = tmp_path / "data/cifar-10-batches-py"
    root.mkdir(parents=True)
    for i in range(1, 6):
        (root / f"data_batch_{i}").write_bytes(batch([i, 0]))
    (root / "test_batch").write_bytes(batch([9, 1, 1]))
    names = [f"class{i}" for i in range(10)]
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))
    (root / "readme.html").write_text("")
    return root


def test_a_set_of_ones_own_in_cifars_layout(cifar: Path) -> None:
    for place in (cifar, cifar.parent):
        parts = open_parts(f"folder:{place}")
        assert parts["train"].y.tolist() == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]
        assert parts["test"].source.classes == tuple(f"class{i}" for i in range(10))
        held = pickle.loads((cifar / "test_batch").read_bytes())["data"][2]
        pixels = parts["test"].images.read(2).pixels
        assert np.array_equal(pixels, held.reshape(3, 32, 32).transpose(1, 2, 0))
        assert "1 other file is left out ('readme.html')" in parts["test"].origin


def test_torchvision_reads_the_same_pixels(cifar: Path, monkeypatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    theirs = datasets.CIFAR10(str(cifar.parent), train=True)
    ours = open_parts(f"folder:{cifar}")["train"]
    assert ours.y.tolist() == theirs.targets
    assert np.array_equal(np.stack([ours.images.read(i).pixels for i in range(10)]), theirs.data)


def test_missing_batches_are_counted(cifar: Path) -> None:
    (cifar / "data_batch_3").unlink()
    assert "1 of 5 batches are missing" in open_parts(f"folder:{cifar}")["train"].origin


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    root = tmp_path / "cifar-100-python"
    root.mkdir()
    for name in ("train", "test"):
        held = batch([0, 3], key="fine_labels", coarse_labels=[1, 0])
        (root / name).write_bytes(held)
    meta = {"fine_label_names": list("abcd"), "coarse_label_names": ["x", "y"]}
    (root / "meta").write_bytes(pickle.dumps(meta))
    part = open_parts(f"folder:{tmp_path}")["test"]
    assert part.source.classes == tuple("abcd") and part.y.tolist() == [0, 3]
    part = open_parts(f"folder:{tmp_path},label=coarse_labels")["test"]
    assert part.source.classes == ("x", "y") and part.y.tolist() == [1, 0]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    held = {"data": np.zeros((1, 3072), np.uint8), "labels": [np.int64(3)], b"raw": b"\xff"}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(held, protocol))
    assert open_parts(f"folder:{tmp_path}")["test"].y.tolist() == [0]


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def _by_hand(path: Path) -> bytes:
    return b"cposix\nmkdir\n(S'" + str(path).encode() + b"'\ntR."


def _nested(path: Path) -> bytes:
    """A call through `getattr` and a builtin."""
    return pickle.dumps({"data": [_Touch(path)], "labels": [0]})


def _through_numpy(path: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([_Touch(path)], dtype=object), allow_pickle=True)
    load = b"cnumpy\nload\n(cio\nBytesIO\n(C" + bytes([len(file.getvalue()) % 256])
    return load + file.getvalue()[:255] + b"tRI01\ntR."


@pytest.mark.parametrize("make", [_by_hand, _nested, _through_numpy])
def test_no_code_in_a_pickle_runs(tmp_path: Path, make) -> None:
    ran = tmp_path / "ran"
    path = tmp_path / "set/test_batch"
    path.parent.mkdir()
    path.write_bytes(make(ran))
    with pytest.raises(DataError, match="test_batch' is damaged: it would run .*are no code"):
        load(DataSpec(name=f"folder:{path.parent}"), "test")
    assert not ran.exists()


@pytest.mark.parametrize("name", ["builtins.eval", "os.system", "numpy.load", "numpy.fromfile"])
def test_only_what_arrays_need_is_called(tmp_path: Path, name: str) -> None:
    module, _, function = name.rpartition(".")
    (tmp_path / "x").write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(DataError, match=f"would run {name}"):
        unpickled(tmp_path / "x")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (b"", "pickle .*test_batch"),
        (pickle.dumps([1]), "it holds list, no dict"),
        (pickle.dumps({"labels": [0]}), "data is missing"),
        (pickle.dumps({"data": np.zeros((1, 3072))}), "no column label"),
        (pickle.dumps({"data": np.zeros((1, 3072)), "labels": [0]}), "not uint8 of"),
        (pickle.dumps({"data": np.zeros((1, 100), np.uint8), "labels": [0]}), "of shape"),
    ],
)
def test_other_layouts_are_one_line(tmp_path: Path, held: bytes, message: str) -> None:
    (tmp_path / "test_batch").write_bytes(held)
    with pytest.raises(DataError, match=message) as caught:
        open_parts(f"folder:{tmp_path}")
    assert "\n" not in str(caught.value)
