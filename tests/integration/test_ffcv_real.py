"""Real images, written, verified, and delivered alike by every engine."""

import hashlib
import importlib.util
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fftune.cli.data import main
from fftune.config import Augmentation, DataSpec, Engine, LoaderConfig
from fftune.data import load, open_loader
from fftune.data.catalog import open_parts
from fftune.data.engines.ffcv_decoder import why_missing

SHARED = Path(os.environ.get("FFTUNE_SHARED") or Path(__file__).parents[2] / "../shared")
DATASETS = Path("~/.cache/fftune/datasets").expanduser()
ENGINES: tuple[Engine, ...] = (
    ("memory", "torch", "ffcv") if not why_missing() else ("memory", "torch")
)
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fftune.data.beton.manifest.VERIFIED", str(tmp_path / "verified"))
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))


@pytest.fixture(scope="session")
def real() -> Callable[[str, str], Path]:
    """Unpacks an archive of real images once, and skips where there is none."""

    def unpacked(archive: str, folder: str) -> Path:
        if not (DATASETS / folder).is_dir():
            path = SHARED / "data" / archive
            if not path.is_file():
                pytest.skip(f"no {path}")
            DATASETS.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path) as tar:
                tar.extractall(DATASETS, filter="data")
        return DATASETS / folder

    return unpacked


def everything(name: str, size: int | None = None) -> DataSpec:
    return DataSpec(name=name, train_size=None, validation_size=0, image_size=size)


def linked(source: Path, folder: Path, each: int) -> Path:
    """A folder of links to the first images of each class of a set; `val` is kept whole."""
    for path, _, names in os.walk(source):
        place = folder / Path(path).relative_to(source)
        place.mkdir(parents=True)
        whole = "val" in place.parts
        images = [name for name in sorted(names) if not name.endswith(".txt")]
        for name in {*names} - {*(images[each:] if not whole else ())}:
            (place / name).symlink_to(Path(path, name).resolve())
    return folder


SETS = {
    # archive, folder, classes, training and test examples, the side of a square that is cut
    "cifar10": ("cifar10-png.tar.xz", "cifar10", 10, 5000, 10_000, None),
    "mnist": ("mnist-png.tar.xz", "mnist", 10, 3000, 10_000, None),
    "tiny-imagenet": ("tiny-imagenet-20.tar.xz", "tiny-imagenet-200", 20, 10_000, 1000, None),
    "imagenet": ("imagenet-sample-50.tar.xz", "imagenet-sample", 50, 50, 0, 224),
}


WHOLE = pytest.param(None, id="whole", marks=pytest.mark.slow)


@pytest.mark.some(1)
@pytest.mark.parametrize("each", [30, WHOLE])
@pytest.mark.parametrize("name", SETS)
def test_real_sets_are_delivered_alike_by_every_engine(
    name: str,
    each: int | None,
    real: Callable[[str, str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive, folder, classes, train, test, side = SETS[name]
    source = real(archive, folder)
    if each:
        source = linked(source, tmp_path / "few", each)
        train = min(train, each * classes)
        test = test if (source / "val").exists() else min(test, each * classes)
    cut = ["--image-size", str(side)] if side else []
    main(["write", name, "--source", str(source), *cut])
    main(["verify", name])
    written = capsys.readouterr().out
    assert f"train.beton: {train:,} examples of {classes} classes" in written
    assert not test or f"test.beton: {test:,} examples of {classes} classes" in written

    split = "test" if test else "train"
    exact = load(everything(f"folder:{source}", side), split)
    stored = load(everything(name, side), split)
    assert stored.source.classes == tuple(sorted(p.name for p in (source / "train").iterdir()))
    assert torch.equal(stored.pixels, exact.pixels)
    assert torch.equal(stored.y, exact.y) and stored.hash() == exact.hash()

    augmentation = Augmentation(crop_padding=4, flip=True)
    config = LoaderConfig(batch_size=100, shuffle=True, augmentation=augmentation, workers=1)
    delivered = {}
    for engine in ENGINES:
        loader = open_loader(everything(name, side), split, replace(config, engine=engine))
        delivered[engine] = [
            (ids.tolist(), hashlib.sha256(x.numpy().data).hexdigest(), y.tolist())
            for ids, x, y in loader.epoch(1)
        ]
    assert all(batches == delivered["memory"] for batches in delivered.values())


def test_class_names_are_those_of_cifar10(real: Callable[[str, str], Path]) -> None:
    part = open_parts(f"folder:{real('cifar10-png.tar.xz', 'cifar10')}")["test"]
    assert part.source.classes == tuple(CIFAR10.split())
    assert part.y.bincount().tolist() == [1000] * 10


def resnet20() -> nn.Module:
    path = SHARED / "models/architectures.py"
    if not path.is_file():
        pytest.skip(f"no {path}")
    spec = importlib.util.spec_from_file_location("architectures", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net: nn.Module = module.load("resnet20")
    return net


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_resnet20_scores_what_was_published(
    engine: Engine, real: Callable[[str, str], Path]
) -> None:
    net = resnet20()
    main(
        [
            "write",
            "cifar10",
            "--source",
            str(real("cifar10-png.tar.xz", "cifar10")),
            "--part",
            "test",
        ]
    )
    loader = open_loader(everything("cifar10"), "test", LoaderConfig(batch_size=250, engine=engine))
    with torch.no_grad():
        right = sum(int((net(x).argmax(1) == y).sum()) for _, x, y in loader.epoch(0))
    assert right == 9173
