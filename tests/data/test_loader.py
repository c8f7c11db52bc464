import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fftune.config import Augmentation, DataSpec, Engine, LoaderConfig, WriteConfig
from fftune.data import Loader, is_padding, load, open_loader
from fftune.data.dataset import Batch
from fftune.data.engines import choice
from fftune.data.engines import ffcv_decoder as ffcv_engine
from fftune.errors import ConfigError, DataError

SET = "synthetic:shape=3x8x6,classes=5,train=103,test=20,seed=1"
CONFIG = LoaderConfig(
    batch_size=10, shuffle=True, augmentation=Augmentation(crop_padding=2, flip=True), workers=0
)
ENGINES: list[Engine] = ["memory", "torch"]
if not ffcv_engine.why_missing():
    ENGINES.append("ffcv")


@pytest.fixture
def spec(betons: Callable[..., Path]) -> DataSpec:
    """103 stored examples, all of them to train on."""
    return everything(betons(SET))


def everything(folder: Path) -> DataSpec:
    return DataSpec(name=f"folder:{folder}", train_size=None, validation_size=0)


def joined(batches: list[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    ids, x, y = (torch.cat(column) for column in zip(*batches, strict=True))
    return ids, x, y


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_delivers_the_same(spec: DataSpec, engine: Engine) -> None:
    reference = list(open_loader(spec, "train", replace(CONFIG, engine="memory")).epoch(3))
    batches = list(open_loader(spec, "train", replace(CONFIG, engine=engine)).epoch(3))
    assert len(batches) == 11
    for found, expected in zip(batches, reference, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert all(a.stride() == b.stride() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_without_shuffling_it_delivers_the_split_as_it_stands(
    spec: DataSpec, engine: Engine
) -> None:
    data = load(spec, "train")
    config = LoaderConfig(batch_size=50, engine=engine, workers=0)
    ids, x, y = joined(list(open_loader(spec, "train", config).epoch(0)))
    assert torch.equal(ids, data.ids) and torch.equal(y, data.y)
    assert torch.equal(x, data.pixels.to(torch.float32) / 255)
    assert x.is_contiguous() and x.dtype == torch.float32


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_stay_as_they_are_while_the_loader_goes_on(spec: DataSpec, engine: Engine) -> None:
    loader = open_loader(spec, "train", replace(CONFIG, engine=engine))
    held, copies = [], []
    for _, x, _ in loader.epoch(0):
        held.append(x)
        copies.append(x.clone())
    list(loader.epoch(1))
    assert all(torch.equal(a, b) for a, b in zip(held, copies, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_last_batch_keeps_its_shape(spec: DataSpec, engine: Engine) -> None:
    config = replace(CONFIG, engine=engine, batch_size=51)
    batches = open_loader(spec, "train", config).epoch(0)
    sizes = [(tuple(x.shape), tuple(y.shape)) for _, x, y in batches]
    assert sizes == [((n, 3, 8, 6), (n,)) for n in (51, 51, 1)]
    dropped = open_loader(spec, "train", replace(config, drop_last=True))
    assert len(dropped) == len(list(dropped.epoch(0))) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_an_epoch_goes_on_in_the_middle(spec: DataSpec, engine: Engine) -> None:
    loader = open_loader(spec, "train", replace(CONFIG, engine=engine))
    whole = list(loader.epoch(4))
    fresh = open_loader(spec, "train", replace(CONFIG, engine=engine))
    rest = list(fresh.epoch(4, start=7))
    assert len(rest) == 4
    for found, expected in zip(rest, whole[7:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert list(fresh.epoch(4, start=11)) == []


def test_epochs_and_seeds_differ_and_are_reproducible(spec: DataSpec) -> None:
    def order(epoch: int, seed: int) -> list[int]:
        loader = open_loader(spec, "train", replace(CONFIG, seed=seed))
        return joined(list(loader.epoch(epoch)))[0].tolist()

    orders = [order(epoch, seed) for epoch, seed in [(0, 0), (1, 0), (0, 1)]]
    assert all(sorted(ids) == list(range(103)) for ids in orders)
    assert len({tuple(ids) for ids in orders}) == 3
    assert order(1, 0) == orders[1]


def shares(
    spec: DataSpec,
    ranks: int,
    *,
    pad: bool = False,
    engine: Engine = "memory",
    ids: Tensor | None = None,
) -> list[Loader]:
    config = replace(CONFIG, engine=engine)
    return [
        open_loader(spec, "train", config, ids=ids, rank=rank, ranks=ranks, pad=pad)
        for rank in range(ranks)
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_an_epoch_exactly(spec: DataSpec, engine: Engine, ranks: int) -> None:
    whole = joined(list(shares(spec, 1)[0].epoch(2)))
    parts = [joined(list(part.epoch(2))) for part in shares(spec, ranks, engine=engine)]
    ids = torch.cat([ids for ids, _, _ in parts])
    assert ids.sort().values.tolist() == list(range(103))
    lengths = [len(ids) for ids, _, _ in parts]
    assert max(lengths) - min(lengths) <= 1
    for rank, (_, x, y) in enumerate(parts):
        assert torch.equal(x, whole[1][rank::ranks]) and torch.equal(y, whole[2][rank::ranks])


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_padding_is_marked_and_makes_ranks_equal(spec: DataSpec, ranks: int) -> None:
    parts = [joined(list(part.epoch(0))) for part in shares(spec, ranks, pad=True)]
    assert len({len(ids) for ids, _, _ in parts}) == 1
    ids = torch.cat([ids for ids, _, _ in parts])
    extra = is_padding(ids)
    assert ids[~extra].sort().values.tolist() == list(range(103))
    assert int(extra.sum()) == -103 % ranks
    data = load(spec, "train")
    for ids, _, y in parts:
        real = torch.where(is_padding(ids), -1 - ids, ids)
        assert torch.equal(y, data.y[real])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_subset_of_ids_comes_in_its_own_order(spec: DataSpec, engine: Engine) -> None:
    wanted = torch.tensor([40, 3, 99])
    config = LoaderConfig(engine=engine, workers=0)
    ids, x, _ = joined(list(open_loader(spec, "train", config, ids=wanted).epoch(0)))
    assert ids.tolist() == wanted.tolist()
    assert torch.equal(x, load(spec, "train").pixels[wanted] / 255)
    with pytest.raises(DataError, match="id 103 is not in this split"):
        open_loader(spec, "train", config, ids=torch.tensor([103]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [0, 1])
def test_one_example_and_none(spec: DataSpec, engine: Engine, count: int) -> None:
    for ranks in (1, 3):
        for pad in (False, True):
            few = {"ids": torch.arange(count), "engine": engine, "pad": pad}
            delivered = [list(part.epoch(0)) for part in shares(spec, ranks, **few)]
            real = [ids for part in delivered for ids, _, _ in part if not is_padding(ids).any()]
            assert len(real) == count
            assert sum(map(len, delivered)) == count * (ranks if pad else 1)


def test_a_rank_must_exist(spec: DataSpec) -> None:
    with pytest.raises(ConfigError, match=r"rank must be in \[0, 2\), got 2"):
        len(open_loader(spec, "train", CONFIG, rank=2, ranks=2))


def test_a_bad_image_is_one_line_from_a_worker(tmp_path: Path, draw: Callable[..., Path]) -> None:
    for i in range(4):
        draw(f"set/train/a/{i}.png")
    (tmp_path / "set/train/a/2.png").write_bytes(b"")
    config = LoaderConfig(engine="torch", workers=1)
    with pytest.raises(DataError, match=r"2\.png' cannot be decoded: not an image$"):
        list(open_loader(everything(tmp_path / "set"), "train", config).epoch(0))


def test_the_global_random_state_is_left_alone(spec: DataSpec) -> None:
    before = torch.get_rng_state()
    for engine in ENGINES:
        list(open_loader(spec, "train", replace(CONFIG, engine=engine)).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_small_sets_are_held_in_memory_and_large_ones_are_not(
    spec: DataSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def kind(spec: DataSpec) -> str:
        return type(open_loader(spec, "train", LoaderConfig())._pixels).__name__

    assert kind(spec) == "HeldPixels"
    monkeypatch.setattr(choice, "SMALL", 1)
    if "ffcv" in ENGINES:
        assert kind(spec) == "FfcvDecoder"
    choice._say_once.cache_clear()
    monkeypatch.setattr(choice, "why_missing", lambda: "FFCV is not usable here (it is not)")
    with caplog.at_level(logging.WARNING):
        assert kind(spec) == kind(spec) == "TorchWorkers"
    assert caplog.text.count("FFCV is not usable here") == 1  # said once


def test_asking_for_ffcv_where_it_is_missing_names_the_packages(
    spec: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> dict[str, object]:
        raise ModuleNotFoundError("No module named 'ffcv'")

    monkeypatch.setattr(ffcv_engine, "_ffcv", missing)
    ffcv_engine.why_missing.cache_clear()
    try:
        with pytest.raises(DataError, match=r"libopencv-dev.*libturbojpeg0-dev.*fftune\[ffcv\]"):
            open_loader(spec, "train", LoaderConfig(engine="ffcv"))
    finally:
        ffcv_engine.why_missing.cache_clear()


def test_ffcv_needs_a_beton() -> None:
    with pytest.raises(DataError, match="has no beton; `fftune data write synthetic` makes one"):
        open_loader(everything_of("synthetic"), "train", LoaderConfig(engine="ffcv"))


def everything_of(name: str) -> DataSpec:
    return DataSpec(name=name, train_size=None, validation_size=0)


def test_resized_crops_are_ffcvs_alone(spec: DataSpec) -> None:
    config = LoaderConfig(engine="memory", augmentation=Augmentation(resized_crop=4))
    with pytest.raises(DataError, match="only the engine 'ffcv' has it"):
        open_loader(spec, "train", config)


def test_stored_squares_are_those_of_the_source(
    tmp_path: Path, draw: Callable[..., Path], betons: Callable[..., Path]
) -> None:
    for i in range(3):
        draw(f"photos/train/a/{i}.png", size=(50 + i, 40))
    source = f"folder:{tmp_path}/photos"
    folder = betons(source, WriteConfig(image_size=16))
    exact = replace(everything_of(source), image_size=16)
    stored = replace(everything(folder), image_size=16)
    assert load(stored, "train").hash() == load(exact, "train").hash()
    for engine in ENGINES:
        config = LoaderConfig(engine=engine, workers=0)
        _, x, _ = joined(list(open_loader(stored, "train", config).epoch(0)))
        assert torch.equal(x, load(exact, "train").pixels / 255)
    for other in (replace(stored, image_size=12), replace(stored, image_resize=False)):
        with pytest.raises(DataError, match="holds squares of 16, cut from resized photographs"):
            load(other, "train")


def test_stored_squares_may_be_of_photographs_as_they_are(
    tmp_path: Path, draw: Callable[..., Path], betons: Callable[..., Path]
) -> None:
    draw("photos/train/a/0.png", size=(50, 40))
    source = f"folder:{tmp_path}/photos"
    folder = betons(source, WriteConfig(image_size=16, image_resize=False))
    exact = replace(everything_of(source), image_size=16, image_resize=False)
    stored = replace(everything(folder), image_size=16, image_resize=False)
    assert load(stored, "train").hash() == load(exact, "train").hash()
    with pytest.raises(DataError, match="squares of 16, cut from unresized photographs"):
        load(replace(stored, image_resize=True), "train")
