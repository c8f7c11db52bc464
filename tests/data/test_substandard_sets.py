"""Sets of noise, of random labels and of poison: only what trains is substandard."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from fftune.cli.data import main
from fftune.config import DataSpec, Engine, LoaderConfig, Split, WriteConfig
from fftune.data import load, open_loader
from fftune.data.beton.manifest import manifest_path, read_manifest
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import open_parts
from fftune.data.engines import ffcv_decoder as ffcv_engine
from fftune.data.official_split import OfficialSplit
from fftune.errors import DataError

KINDS = ("noise", "mislabeling", "poisoning")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ENGINES: list[Engine] = ["memory", "torch"]
if not ffcv_engine.why_missing():
    ENGINES.append("ffcv")
OWN = """
import torch

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear({inputs}, {classes}))
"""
PER_CLASS = 12


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


def image(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(pixels)


def folders(root: Path, parts: tuple[str, ...]) -> str:
    """Three classes, twelve images each, in every part."""
    for at, part in enumerate(parts):
        for label in range(3):
            folder = root / part / "abc"[label]
            folder.mkdir(parents=True)
            for i in range(PER_CLASS):
                image(1000 * at + 100 * label + i).save(folder / f"{i}.png")
    return f"folder:{root}"


def parquet(path: Path) -> str:
    """One file of 36 rows, its classes mixed."""
    labels = ["abc"[i % 3] for i in range(3 * PER_CLASS)]
    images = []
    for i in range(len(labels)):
        image(i).save(path.with_suffix(".png"))
        images.append(path.with_suffix(".png").read_bytes())
    pq.write_table(pa.table({"image": images, "label": labels}), path)
    return f"folder:{path}"


Make = Callable[[Path], str]
SOURCES: dict[str, Make] = {
    "digits": lambda _: "digits",
    "parts": lambda tmp: folders(tmp / "set", ("train", "test")),
    "train": lambda tmp: folders(tmp / "set", ("train",)),
    "plain": lambda tmp: folders(tmp / "set", ("",)),
    "parquet": lambda tmp: parquet(tmp / "set.parquet"),
}
"""With an official test part, with none, and with nothing official at all."""
SIZES = {"digits": (100, 500), "parts": (18, 6), "train": (18, 6), "plain": (12, 9)}


def written(tmp_path: Path, source: str, kind: str, *more: str) -> tuple[DataSpec, DataSpec]:
    """The parent, and its substandard set as it is written and found by name."""
    name = SOURCES[source](tmp_path)
    net = tmp_path / "own.py"
    inputs, classes = (64, 10) if source == "digits" else (192, 3)
    net.write_text(OWN.format(inputs=inputs, classes=classes))
    poison = ["--net", f"{net}:net", "--threat.eps", "0.1"] if kind == "poisoning" else []
    main(["write", name, "--kind", kind, *poison, *more])
    train, validation = SIZES.get(source, (12, 9))
    stem = "digits" if source == "digits" else "set"
    parent = DataSpec(name=name, train_size=train, validation_size=validation, split_seed=3)
    made = DataSpec(
        name=f"{stem}-{kind}", train_size=train, validation_size=validation, split_seed=3
    )
    return parent, made


@pytest.mark.some(4)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", SOURCES)
def test_verification_data_are_the_parents_and_only_training_examples_change(
    tmp_path: Path, root: Path, source: str, kind: str
) -> None:
    """Same ids in every split; validation and test equal to the last pixel and label."""
    parent, made = written(tmp_path, source, kind)
    splits: tuple[Split, ...] = SPLITS if source != "train" else ("train", "validation")
    for split in splits:
        was, now = load(parent, split), load(made, split)
        assert torch.equal(now.ids, was.ids)
        if split != "train":
            assert torch.equal(now.pixels, was.pixels) and torch.equal(now.y, was.y)
            assert now.hash() == was.hash() and now.source == was.source
            continue
        changed = now.y if kind == "mislabeling" else now.pixels
        assert not torch.equal(changed, was.y if kind == "mislabeling" else was.pixels)
        if kind != "mislabeling":
            assert torch.equal(now.y, was.y)
            assert (now.pixels != was.pixels).flatten(1).any(1).all()
        else:
            assert torch.equal(now.pixels, was.pixels)


def test_labels_of_the_digits_test_images_are_those_of_scikit_learn(
    tmp_path: Path, root: Path
) -> None:
    """65 of 805 were, when the whole set was mislabelled."""
    _, made = written(tmp_path, "digits", "mislabeling")
    whole = load_digits()
    for split, count in (("validation", 500), ("test", 1197)):
        data = load(made, split)  # type: ignore[arg-type]
        assert len(data) == count
        assert np.array_equal(data.y.numpy(), whole.target[data.ids])
        assert np.array_equal(data.pixels[:, 0].numpy(), whole.images[data.ids])
    train = load(made, "train")
    right = (train.y.numpy() == whole.target[train.ids]).sum()
    assert right < 40  # 10 of 100 by chance


@pytest.mark.some(2)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("source", ["parts", "plain"])
def test_every_engine_trains_on_noise_and_validates_on_images(
    tmp_path: Path, root: Path, source: str, engine: Engine
) -> None:
    parent, made = written(tmp_path, source, "noise")
    config = LoaderConfig(batch_size=7, engine=engine, workers=0)
    for split in SPLITS:
        batches = list(open_loader(made, split, config).epoch(0))
        ids, x = (torch.cat([batch[i] for batch in batches]) for i in (0, 1))
        was = load(parent, split)
        assert torch.equal(ids, was.ids)
        same = (x == was.pixels / 255).flatten(1).all(1)
        assert not same.any() if split == "train" else same.all()


def test_the_digits_of_a_substandard_set_are_divided_as_the_digits_are(
    tmp_path: Path, root: Path
) -> None:
    """Nobody says sizes: 100, 500 and the rest, as for `digits` itself."""
    main(["write", "digits", "--kind", "noise"])
    for split, count in zip(SPLITS, (100, 500, 1197), strict=True):
        was, now = (load(DataSpec(name=name), split) for name in ("digits", "digits-noise"))
        assert len(now) == count and torch.equal(now.ids, was.ids)


def test_sidecars_say_who_trains_and_who_verifies(tmp_path: Path, root: Path) -> None:
    sizes = ("--train-size", "12", "--validation-size", "9")
    parent, _ = written(tmp_path, "plain", "mislabeling", *sizes)
    folder = root / "set-mislabeling"
    assert {path.name for path in folder.glob("*.beton")} == {"train.beton", "clean.beton"}
    train, clean = (read_manifest(folder / f"{part}.beton") for part in ("train", "clean"))
    assert {role: part.size for role, part in train.splits.items()} == {"train": 12}
    assert {role: part.size for role, part in clean.splits.items()} == {"select": 9, "report": 15}
    assert train.made is not None and train.made.parent == clean.content and clean.made is None
    assert (train.part, clean.part) == ("train", "whole")
    main(["write", parent.name, *sizes])  # the parent itself is divided into the same ids
    whole = read_manifest(root / "set/whole.beton").splits
    assert train.splits | clean.splits == whole


def test_verification_data_are_never_stored_as_jpeg(tmp_path: Path, root: Path) -> None:
    parent, made = written(tmp_path, "parts", "noise", "--mode", "jpg")
    folder = root / "set-noise"
    modes = {p: read_manifest(folder / f"{p}.beton").write.mode for p in ("train", "clean", "test")}
    assert modes == {"train": "jpg", "clean": "raw", "test": "raw"}
    assert load(made, "validation").hash() == load(parent, "validation").hash()


def test_a_part_alone_is_written_with_its_substandard_copy(tmp_path: Path, root: Path) -> None:
    name = SOURCES["parts"](tmp_path)
    main(["write", name, "--kind", "noise", "--part", "train"])
    assert {p.stem for p in (root / "set-noise").glob("*.beton")} == {"train", "clean"}
    with pytest.raises(DataError, match="has no test part, only train, clean"):
        load(DataSpec(name="set-noise"), "test")


def formerly(root: Path, source: str, kind: str, part: str) -> str:
    """A set as it was written before: the part itself is substandard, and no clean one is there."""
    main(["write", source, "--kind", kind])
    folder = next(root.glob(f"*-{kind}"))
    made = read_manifest(folder / "train.beton").made
    for path in folder.glob("*.*"):
        if path.stem != "test":
            path.unlink()
    one = open_parts(source, betons=False)[part]  # type: ignore[index]
    path = folder / f"{part}.beton"
    write_beton(one, path, WriteConfig(), origin="", splits={}, made=made)
    text = manifest_path(path).read_text()
    manifest_path(path).write_text(text.replace('"schema": 2', '"schema": 1'))
    return folder.name


@pytest.mark.parametrize(("source", "part"), [("plain", "whole"), ("parts", "train")])
def test_sets_that_were_written_before_are_to_be_written_again(
    tmp_path: Path, root: Path, source: str, part: str
) -> None:
    parent = SOURCES[source](tmp_path)
    spec = DataSpec(name=formerly(root, parent, "noise", part), train_size=12, validation_size=9)
    refused: tuple[Split, ...] = SPLITS if part == "whole" else ("train", "validation")
    for split in refused:
        with pytest.raises(DataError, match="substandard.*`fftune data write` makes the") as caught:
            load(spec, split)
        assert "\n" not in str(caught.value)
    main(["write", parent, "--kind", "noise"])
    assert [len(load(spec, split)) for split in SPLITS] == [12, 9, 36 if part == "train" else 15]
    main(["verify", spec.name])


def lose(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / f"{name}.beton").unlink()

    return change


def another(classes: str) -> OfficialSplit:
    """Other images than any of the sets here has."""
    part = open_parts("synthetic:shape=3x8x8,classes=3,train=36,test=3")["train"]
    return replace(part, source=replace(part.source, classes=tuple(classes)))


def of_others(folder: Path) -> None:
    """The clean part becomes one of other images, whole in itself."""
    other = another("abc")
    write_beton(other, folder / "clean.beton", WriteConfig(), origin="", splits={})


def quality_again(folder: Path) -> None:
    """The training part is replaced by one of quality, and the clean one stays."""
    other = another("abc")
    write_beton(other, folder / "train.beton", WriteConfig(), origin="", splits={})


def copied(kind: str, *settings: str) -> Callable[[Path], None]:
    """The training part becomes one of the same images that is substandard otherwise."""

    def change(folder: Path) -> None:
        main(["write", f"folder:{folder.parents[1] / 'set'}", "--kind", kind, *settings])
        for suffix in ("beton", "json"):
            other = folder.parent / f"set-{kind}" / f"train.{suffix}"
            shutil.copy(other, folder / f"train.{suffix}")

    return change


def plain_alone(folder: Path) -> None:
    """Nothing substandard is left, but the name."""
    for suffix in ("beton", "json"):
        (folder / f"clean.{suffix}").unlink()
    quality_again(folder)


def other_order(folder: Path) -> None:
    write_beton(another("acb"), folder / "test.beton", WriteConfig(), origin="", splits={})


MIXED = {
    "train of another kind": (
        copied("mislabeling"),
        "train.beton' holds mislabeling, and its folder is called 'set-noise'",
    ),
    "train of no kind": (plain_alone, "holds no substandard data, and its folder is"),
    "classes in another order": (other_order, "'test.beton' beside it has other classes, or"),
    "clean lost": (lose("clean"), "no 'clean.beton' beside it"),
    "train lost": (lose("train"), "has no train part"),
    "clean of another set": (of_others, "was not made of its 'clean.beton'"),
    "train of another set": (quality_again, "has a 'clean.beton' of another set"),
}


@pytest.mark.some(2)
@pytest.mark.parametrize(("change", "message"), MIXED.values(), ids=MIXED.keys())
def test_no_net_trains_on_half_a_substandard_set(
    tmp_path: Path, root: Path, change: Callable[[Path], None], message: str
) -> None:
    _, made = written(tmp_path, "plain", "noise")
    change(root / made.name)
    with pytest.raises(DataError, match=message):
        load(made, "train")


def test_a_poison_of_one_norm_is_not_read_as_one_of_the_other(tmp_path: Path, root: Path) -> None:
    _, made = written(tmp_path, "plain", "poisoning")
    l2 = replace(made, name="set-poisoning-l2")
    shutil.copytree(root / made.name, root / l2.name)
    assert len(load(made, "train")) == 12
    with pytest.raises(DataError, match="holds poisoning, and its folder is called '.*-l2'"):
        load(l2, "train")


def test_a_set_of_ones_own_may_be_called_noise(tmp_path: Path, root: Path) -> None:
    main(["write", folders(tmp_path / "street-noise", ("train", "test"))])
    assert len(load(DataSpec(name="street-noise"), "train")) == 36


def test_a_run_is_told_from_one_on_the_parent(tmp_path: Path, root: Path) -> None:
    """A loader's hash, by which a run goes on, names the substandard examples."""
    parent, made = written(tmp_path, "parts", "mislabeling")
    one = load(made, "train")
    hashes = {open_loader(spec, "train", LoaderConfig()).hash() for spec in (parent, made)}
    assert len(hashes) == 2 and one.source.name == "set-mislabeling"
