import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from fftune.config import DataSpec
from fftune.data import load
from fftune.data.catalog import open_parts
from fftune.data.naming import natural
from fftune.errors import ConfigError, DataError
from fftune.registry import DATASETS

Draw = Callable[..., Path]


def everything(name: str, **settings: int) -> DataSpec:
    """All that a set has to train on."""
    return DataSpec(name=name, train_size=None, validation_size=0, **settings)


def test_names_sort_as_numbers_do() -> None:
    names = ["10.png", "2.png", "02.png", "a9b10", "a9b2", "n2_1.JPEG"]
    assert sorted(names, key=natural) == ["02.png", "2.png", "10.png", "a9b2", "a9b10", "n2_1.JPEG"]


def test_a_folder_is_read_by_class_and_name(tmp_path: Path, draw: Draw) -> None:
    paths = [draw(f"set/train/{place}") for place in ("b/1.png", "a/10.png", "a/9.png")]
    draw("set/train/a/notes.txt.bak.png").unlink()
    (tmp_path / "set/train/a/notes.txt").write_text("not an image")
    draw("set/test/b/0.png")

    data = load(everything(f"folder:{tmp_path}/set"), "train")

    assert data.source.classes == ("a", "b") and data.source.name == "set"
    assert data.ids.tolist() == [0, 1, 2] and data.y.tolist() == [0, 0, 1]
    for pixels, path in zip(data.pixels, (paths[2], paths[1], paths[0]), strict=True):
        expected = np.asarray(Image.open(path)).transpose(2, 0, 1)
        assert np.array_equal(pixels.numpy(), expected)


def test_tiny_imagenet_keeps_its_validation_labels(tmp_path: Path, draw: Draw) -> None:
    root = "tiny-imagenet-200"
    for wnid in ("n2", "n10"):
        draw(f"{root}/train/{wnid}/images/{wnid}_0.JPEG.png")
    for i in (0, 2, 10):
        draw(f"{root}/val/images/val_{i}.png")
    lines = [
        "val_10.png\tn2\t0\t0\t1\t1",
        "val_0.png\tn10\t0\t0\t1\t1",
        "val_2.png\tn2\t0\t0\t1\t1",
    ]
    (tmp_path / root / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")

    test = open_parts("tiny-imagenet", tmp_path / root)["test"]

    assert test.source.classes == ("n10", "n2")  # in the order of text
    assert [Path(test.images.where(i)).name for i in range(3)] == [
        *("val_0.png", "val_2.png", "val_10.png"),
    ]
    assert test.y.tolist() == [0, 1, 1]
    assert test.source.mean == DATASETS["tiny-imagenet"].mean


def test_a_set_without_division_is_divided_as_asked(tmp_path: Path, draw: Draw) -> None:
    for name in "ab":
        for i in range(10):
            draw(f"set/{name}/{i}.png")
    spec = DataSpec(name=f"folder:{tmp_path}/set", train_size=6, validation_size=4)
    parts = {split: load(spec, split) for split in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [6, 4, 10]
    assert all(part.y.bincount().unique().numel() == 1 for part in parts.values())
    assert torch.cat([part.ids for part in parts.values()]).sort().values.tolist() == [*range(20)]


def test_a_set_without_division_is_tested_whole(tmp_path: Path, draw: Draw) -> None:
    """700 images in class folders are 700 images to test, and a file of Parquet likewise."""
    paths = [draw(f"set/{name}/{i}.png") for name in "abc" for i in range(7)]
    images = [path.read_bytes() for path in paths]
    labels = [path.parent.name for path in paths]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "set.parquet")
    for name in ("set", "set.parquet"):
        spec = DataSpec(name=f"folder:{tmp_path}/{name}")
        assert load(spec, "test").ids.tolist() == list(range(21))
        for split in ("train", "validation"):
            with pytest.raises(DataError, match=r"data\.train_size must be named .*set") as caught:
                load(spec, split)  # type: ignore[arg-type]
            assert "data.validation_size" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("parts", [("train", "test"), ("test",)])
def test_official_parts_are_whole_unless_sizes_are_asked_for(
    tmp_path: Path, draw: Draw, parts: tuple[str, ...]
) -> None:
    for part in parts:
        for i in range(9):
            draw(f"set/{part}/{'ab'[i % 2]}/{i}.png")
    spec = DataSpec(name=f"folder:{tmp_path}/set")
    for part in parts:
        assert len(load(spec, part)) == 9  # type: ignore[arg-type]
    if "train" in parts:
        with pytest.raises(DataError, match=r"'validation'; data\.validation_size says how many"):
            load(spec, "validation")


def test_grey_images_of_a_colour_set_are_converted(tmp_path: Path, draw: Draw) -> None:
    draw("set/train/a/0.png")
    grey = draw("set/train/a/1.png", mode="L")
    part = open_parts(f"folder:{tmp_path}/set")["train"]
    first, second = part.images.read(0), part.images.read(1)
    assert (first.converted, second.converted) == (False, True)
    assert np.array_equal(second.pixels, np.asarray(Image.open(grey))[..., None].repeat(3, 2))


def test_a_grey_folder_has_one_channel(tmp_path: Path, draw: Draw) -> None:
    draw("set/train/a/0.png", mode="L")
    part = open_parts(f"folder:{tmp_path}/set")["train"]
    assert part.images.read(0).pixels.shape == (5, 6, 1) and part.source.mean == (0.5,)


def test_a_parquet_file_is_a_data_set(tmp_path: Path, draw: Draw) -> None:
    paths = [draw(f"images/{i}.png") for i in range(4)]
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pa.table({"image": images, "label": ["b", "a", "b", "a"]})
    pq.write_table(table, tmp_path / "set.parquet")
    part = open_parts(f"folder:{tmp_path}/set.parquet")["whole"]
    assert part.source.classes == ("a", "b") and part.y.tolist() == [1, 0, 1, 0]
    assert np.array_equal(part.images.read(2).pixels, np.asarray(Image.open(paths[2])))


def test_synthetic_images_have_the_shape_that_was_asked_for() -> None:
    name = "synthetic:shape=1x7x9,classes=4,train=30,test=8,seed=5"
    train = load(everything(name), "train")
    again = load(everything(name), "train")
    other = load(everything(name.replace("=5", "=6")), "train")
    assert (
        train.shape == (1, 7, 9) and len(train) == 30 and train.y.unique().tolist() == [0, 1, 2, 3]
    )
    assert train.hash() == again.hash() != other.hash()


def test_photographs_are_cut_as_everybody_cuts_them(tmp_path: Path) -> None:
    from torchvision import transforms

    ramp = np.arange(300 * 400 * 3, dtype=np.uint32).reshape(300, 400, 3) * 7919 % 256
    path = tmp_path / "set/train/a/0.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(ramp.astype(np.uint8)).save(path)
    spec = DataSpec(
        name=f"folder:{tmp_path}/set", train_size=None, validation_size=0, image_size=224
    )
    expected = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])(
        Image.open(path)
    )
    assert np.array_equal(
        load(spec, "train").pixels[0].permute(1, 2, 0).numpy(), np.asarray(expected)
    )


def test_fastat_cuts_photographs_as_they_are(tmp_path: Path, draw: Draw) -> None:
    """288 of what is there: (400 - 288) / 2 = 56 columns and 6 rows lie on either side."""
    path = draw("set/train/a/0.png", size=(400, 300))
    name = f"folder:{tmp_path}/set"
    spec = DataSpec(
        name=name, train_size=None, validation_size=0, image_size=288, image_resize=False
    )
    expected = np.asarray(Image.open(path))[6:294, 56:344]
    assert np.array_equal(load(spec, "train").pixels[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifr10", "did you mean 'cifar10'"),
        ("cifar10", "FFTUNE_DATA names another folder"),
        ("folder:{tmp}/nowhere", "there is no folder or file"),
        ("folder:{tmp}/flat", "no class folders; expected flat/CLASS/IMAGE.png"),
        ("folder:{tmp}/hollow", "hollow/train/b' has no images"),
        ("folder:{tmp}/stranger", "no class 'dogs' in training; did you mean 'dog'?"),
        ("folder:{tmp}/text.parquet", "Parquet file .* is damaged: .*; put a whole copy"),
        ("folder:{tmp}/columns.parquet", "has no column image"),
        ("folder:{tmp}/numbers.parquet", "has no column image, nor any that could be it"),
    ],
)
def test_a_bad_source_is_one_clear_line(
    tmp_path: Path, draw: Draw, name: str, message: str
) -> None:
    draw("flat/0.png")
    draw("hollow/train/a/0.png")
    (tmp_path / "hollow/train/b").mkdir()
    draw("stranger/train/dog/0.png")
    draw("stranger/test/dogs/0.png")
    (tmp_path / "text.parquet").write_text("no")
    pq.write_table(pa.table({"label": [1]}), tmp_path / "columns.parquet")
    pq.write_table(pa.table({"label": [1], "image": [2]}), tmp_path / "numbers.parquet")
    with pytest.raises(DataError, match=message) as caught:
        open_parts(name.format(tmp=tmp_path))
    assert "\n" not in str(caught.value)


def test_too_many_classes_are_not_the_set_they_claim_to_be(tmp_path: Path, draw: Draw) -> None:
    for i in range(11):
        draw(f"cifar10/train/{i}/0.png")
    with pytest.raises(DataError, match="has 11 classes, 'cifar10' has 10"):
        open_parts("cifar10", tmp_path / "cifar10")


def test_bad_images_are_named(tmp_path: Path, draw: Draw) -> None:
    whole = draw("set/train/a/0.png", size=(60, 50))
    (tmp_path / "set/train/a/1.png").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "set/train/a/2.png").write_text("no image")
    deep = Image.fromarray(np.zeros((4, 4), np.uint16))
    deep.save(tmp_path / "set/train/a/3.png")
    images = open_parts(f"folder:{tmp_path}/set")["train"].images
    for i, reason in [(1, "cannot be decoded"), (2, "not an image"), (3, "8 bits a channel")]:
        with pytest.raises(DataError, match=reason) as caught:
            images.read(i)
        assert f"{i}.png" in str(caught.value) and "\n" not in str(caught.value)


def test_images_of_mixed_sizes_are_refused(tmp_path: Path, draw: Draw) -> None:
    draw("set/train/a/0.png")
    draw("set/train/a/1.png", size=(7, 5))
    spec = everything(f"folder:{tmp_path}/set")
    with pytest.raises(DataError, match=r"1\.png' is 7 x 5, another of its set 6 x 5"):
        load(spec, "train")


def test_a_colour_image_in_a_grey_set_is_refused(tmp_path: Path, draw: Draw) -> None:
    draw("mnist/train/0/0.png", mode="L")
    draw("mnist/train/0/1.png")
    with pytest.raises(DataError, match=r"1\.png' has colours, but its set is grey"):
        open_parts("mnist", tmp_path / "mnist")["train"].images.read(1)


@pytest.mark.parametrize(
    "name", ["synthetic:shap=3x2x2", "synthetic:classes=x", "synthetic:shape=3x2"]
)
def test_bad_synthetic_settings_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match="synthetic"):
        open_parts(name)


def test_encoded_bytes_are_decoded_like_files(draw: Draw) -> None:
    from fftune.data.images import decode

    path = draw("0.png")
    assert np.array_equal(
        decode(io.BytesIO(path.read_bytes()), 3, "here", None).pixels, np.asarray(Image.open(path))
    )
