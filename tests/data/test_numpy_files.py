"""Arrays in `.npz` and `.npy` files, under the names that people give them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fftune.config import DataSpec
from fftune.data import load
from fftune.data.catalog import open_parts
from fftune.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def stored(path: Path, split: str = "test"):
    return load(DataSpec(name=f"folder:{path}"), split)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "y"),
    [("x", "y"), ("images", "labels"), ("data", "targets"), ("img", "label"), ("arr_0", "arr_1")],
)
@pytest.mark.parametrize("form", ["N,)", "N, 1", "one-hot", "names", "float"])
def test_pairs_of_arrays_are_read(tmp_path: Path, x: str, y: str, form: str) -> None:
    labels = {
        "N,)": Y,
        "N, 1": Y[:, None].astype(np.uint8),
        "one-hot": np.eye(3)[Y],
        "names": np.array(["ant", "bee", "cat"])[Y],
        "float": Y.astype(float),
    }[form]
    np.savez(tmp_path / "set.npz", **{x: X, y: labels})
    data = stored(tmp_path / "set.npz")
    assert data.y.tolist() == Y.tolist()
    assert torch.equal(data.pixels, torch.from_numpy(X).permute(0, 3, 1, 2))
    assert data.source.classes == (("ant", "bee", "cat") if form == "names" else ("0", "1", "2"))


@pytest.mark.parametrize(
    ("names", "test"),
    [
        (("x_train", "y_train", "x_test", "y_test"), "test"),
        (("train_images", "train_labels", "test_images", "test_labels"), "test"),
        (("X_train", "Y_train", "X_val", "Y_val"), "val"),
    ],
)
def test_parts_are_told_by_words(tmp_path: Path, names, test: str) -> None:
    """As Keras, MedMNIST and everybody's scripts write them."""
    arrays = dict(zip(names, (X, Y, X[:3] // 2, Y[:3]), strict=True))
    np.savez_compressed(tmp_path / "set.npz", **arrays, val_more=Y)
    parts = open_parts(f"folder:{tmp_path}/set.npz")
    assert {part: len(parts[part]) for part in parts} == {"train": 6, "test": 3}
    assert np.array_equal(parts["test"].images.read(2).pixels, X[2] // 2)
    assert "1 other arrays are left out ('val_more')" in parts["test"].origin


def test_labels_lie_beside_a_file_of_images(tmp_path: Path) -> None:
    """As in CIFAR-10-C and CIFAR-10.1."""
    np.save(tmp_path / "fog.npy", X)
    np.save(tmp_path / "snow.npy", X // 2)
    np.save(tmp_path / "labels.npy", Y)
    assert stored(tmp_path / "snow.npy").pixels.max() == (X // 2).max()
    assert stored(tmp_path / "fog.npy").source.name == "fog"
    with pytest.raises(DataError, match=r"no arrays as x and y.*it holds fog \(6, 4, 5, 3\)"):
        open_parts(f"folder:{tmp_path}")
    np.save(tmp_path / "v6_data.npy", X[:2])
    np.save(tmp_path / "v6_labels.npy", Y[:2])
    assert len(stored(tmp_path / "v6_data.npy")) == 2


def test_a_folder_of_arrays_is_a_data_set(tmp_path: Path) -> None:
    for name, array in {"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert (len(stored(tmp_path, "train")), len(stored(tmp_path))) == (6, 2)


@pytest.mark.parametrize(
    "images",
    [X.transpose(0, 3, 1, 2), X / 255, (X / 255).astype(np.float32), X.astype(np.int64)],
)
def test_pixels_of_any_form_are_the_same(tmp_path: Path, images) -> None:
    np.savez(tmp_path / "set.npz", x=images, y=Y)
    np.savez(tmp_path / "plain.npz", x=X, y=Y)
    assert stored(tmp_path / "set.npz").hash() == stored(tmp_path / "plain.npz").hash()


def test_arrays_can_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", front=X, back=X // 2, kind=Y)
    with pytest.raises(DataError, match="has no arrays as x and y"):
        stored(tmp_path / "set.npz")
    name = f"folder:{tmp_path}/set.npz,image=back,label=kind"
    assert load(DataSpec(name=name), "test").pixels.max() == (X // 2).max()


def test_class_names_may_be_stored(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=X, y=Y, class_names=["ant", "bee", "cat", "dog"])
    assert stored(tmp_path / "set.npz").source.classes == ("ant", "bee", "cat", "dog")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y[:5]}, "6 images and 5 labels"),
        ({"x": X}, r"has no arrays as x and y.*it holds x \(6, 4, 5, 3\)"),
        ({"x": X[..., :2], "y": Y}, "not 1 or 3 channels"),
        ({"x": X.astype(np.float32), "y": Y}, r"pixels must lie in \[0, 1\]"),
        ({"x": X.astype(int) * 2, "y": Y}, "pixels must lie in 0 to 255"),
        ({"x": X, "y": np.ones((6, 2))}, r"labels have shape \(6, 2\)"),
        ({"x": X, "y": Y + 0.5}, "must be a class name or a whole number"),
        (
            {"x": np.array([{}] * 6), "y": Y},
            "NumPy file .*set.npz' is damaged: .*; put a whole copy",
        ),
    ],
)
def test_arrays_that_are_no_data_set_are_one_line(tmp_path: Path, arrays, message) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        stored(tmp_path / "set.npz")
    assert "\n" not in str(caught.value)


def test_no_pickle_in_an_array_runs(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    np.save(tmp_path / "x.npy", np.array([Code()] * 2, dtype=object), allow_pickle=True)
    np.save(tmp_path / "y.npy", Y[:2])
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"NumPy file .*x\.npy"):
        stored(tmp_path / "x.npy")
    assert not (tmp_path / "ran").exists()
