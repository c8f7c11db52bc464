import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.cifar as cifar

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
