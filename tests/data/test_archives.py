import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.cifar as cifar
import torchvision.datasets.svhn as svhn
from scipy.io import savemat

from fftune.data.catalog import open_parts
from fftune.errors import DataError


def test_cifar_comes_in_the_order_of_an_image_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
    batch = {
        "data": pixels.reshape(3, -1),
        "labels": [1, 0, 1],
        "filenames": ["car_s_10.png", "plane_s_1.png", "car_s_9.png"],
    }
    names = {"label_names": ["airplane", "automobile"]}
    for file, content in [("data_batch_1", batch), ("test_batch", batch), ("batches.meta", names)]:
        (folder / file).write_bytes(pickle.dumps(content))
    monkeypatch.setattr(cifar.CIFAR10, "train_list", [["data_batch_1", ""]])
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)

    part = open_parts("cifar10", tmp_path)["train"]

    assert part.source.classes == ("airplane", "automobile")
    assert part.y.tolist() == [0, 1, 1]
    for i, original in enumerate((1, 2, 0)):  # car 9 before car 10
        assert np.array_equal(part.images.read(i).pixels, pixels[original].transpose(1, 2, 0))


def test_a_file_that_was_not_published_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"something else")
    with pytest.raises(DataError, match="data set 'cifar10', train part"):
        open_parts("cifar10", tmp_path)["train"]


def test_cifar100_has_its_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32), np.uint8)
    batch = {
        "data": pixels.reshape(2, -1),
        "fine_labels": [2, 0],
        "coarse_labels": [1, 1],
        "filenames": ["bear_s_1.png", "apple_s_1.png"],
    }
    names = {"fine_label_names": ["apple", "baby", "bear"]}
    for file, content in [("train", batch), ("meta", names)]:
        (folder / file).write_bytes(pickle.dumps(content))
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)

    part = open_parts("cifar100", tmp_path)["train"]

    assert part.source.classes == ("apple", "baby", "bear") and part.y.tolist() == [0, 2]
    assert np.array_equal(part.images.read(0).pixels, pixels[1].transpose(1, 2, 0))


def test_svhn_reads_ten_as_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (32, 32, 3, 4), np.uint8)
    labels = np.array([[2], [10], [9], [10]], np.uint8)
    for name in ("train", "test"):
        savemat(tmp_path / f"{name}_32x32.mat", {"X": pixels, "y": labels})
    monkeypatch.setattr(svhn, "check_integrity", lambda *_: True)

    part = open_parts("svhn", tmp_path)["test"]

    assert part.y.tolist() == [0, 0, 2, 9] and part.ids is None
    for i, original in enumerate((1, 3, 0, 2)):
        assert np.array_equal(part.images.read(i).pixels, pixels[..., original])


def test_a_broken_svhn_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train_32x32.mat"
    images = np.zeros((32, 32, 3, 4), np.uint8)
    savemat(path, {"X": images, "y": np.ones((4, 1), np.uint8)})
    path.write_bytes(path.read_bytes()[:900])
    refused(tmp_path, "svhn")  # the published MD5 is another one
    monkeypatch.setattr(svhn, "check_integrity", lambda *_: True)
    refused(tmp_path, "svhn")


MNIST_FILES = {"train": "train", "test": "t10k"}


def write_mnist(root: Path, part: str, pixels: np.ndarray, labels: list[int], cut: int = 0) -> None:
    """The published format: a magic number, sizes, bytes; unpacked, as torchvision leaves them."""
    raw = root / "MNIST/raw"
    raw.mkdir(parents=True, exist_ok=True)
    images = struct.pack(">4i", 2051, *pixels.shape) + pixels.tobytes()
    numbers = struct.pack(">2i", 2049, len(labels)) + bytes(labels)
    for kind, content in [("images-idx3", images), ("labels-idx1", numbers)]:
        path = raw / f"{MNIST_FILES[part]}-{kind}-ubyte"
        path.write_bytes(content[: len(content) - cut])
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))


def test_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (3, 28, 28), np.uint8)
    for part in MNIST_FILES:
        write_mnist(tmp_path, part, pixels, [7, 0, 7])

    part = open_parts("mnist", tmp_path)["train"]

    assert part.y.tolist() == [0, 7, 7] and part.source.classes == tuple("0123456789")
    for i, original in enumerate((1, 0, 2)):
        assert np.array_equal(part.images.read(i).pixels, pixels[original][..., None])


@pytest.mark.parametrize("cut", [1, 500])
def test_a_cut_mnist_is_one_line(tmp_path: Path, cut: int) -> None:
    for part in MNIST_FILES:
        write_mnist(tmp_path, part, np.zeros((3, 28, 28), np.uint8), [7, 0, 7], cut)
    refused(tmp_path, "mnist")


def refused(root: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"data set '{name}', train part: ") as caught:
        open_parts(name, root)["train"]
    assert "\n" not in str(caught.value)
