"""Batches of a device: to the bit those of the host, whichever way their pixels come."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fftune.capture.tape import HOST
from fftune.config import Augmentation, DataSpec, Engine, LoaderConfig
from fftune.data import loader as loaders
from fftune.data import open_loader
from fftune.data.dataset import Batch
from fftune.data.engines import ffcv_decoder as ffcv_engine
from tests.data.late_link import LateLink

SET = "synthetic:shape=3x8x6,classes=5,train=103,test=20,seed=1"
CONFIG = LoaderConfig(
    batch_size=10, shuffle=True, augmentation=Augmentation(crop_padding=2, flip=True), workers=0
)
ENGINES: list[Engine] = ["memory", "torch"]
if not ffcv_engine.why_missing():
    ENGINES.append("ffcv")
ROOMS = {"held": 10**9, "fed": 103 * 3 * 8 * 6 - 1}
"""Bytes of the device that pixels may take: enough for 103 of them, and one too few."""


@pytest.fixture
def spec(betons: Callable[..., Path]) -> DataSpec:
    """103 stored examples, all of them to train on."""
    return DataSpec(name=f"folder:{betons(SET)}", train_size=None, validation_size=0)


@pytest.fixture(params=ROOMS)
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have loaders take the CPU for a device, which holds all pixels, or is fed."""
    on_a_device(monkeypatch, ROOMS[request.param])
    return str(request.param)


def on_a_device(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    def link_to(_device: torch.device) -> LateLink:
        return LateLink(room)

    monkeypatch.setattr(loaders, "link_to", link_to)


def on_the_host(monkeypatch: pytest.MonkeyPatch, load: Callable[[], Any]) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(loaders, "link_to", lambda _device: None)
        return load()


def alike(found: Iterator[Batch], expected: list[Batch]) -> None:
    for batch, other in zip(found, expected, strict=True):
        for ours, theirs in zip(batch, other, strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)


MOVES = [
    Augmentation(),
    Augmentation(flip=True),
    Augmentation(crop_padding=2),
    Augmentation(crop_padding=1, flip=True),
]


@pytest.mark.some(8)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("moves", MOVES)
def test_batches_are_those_of_the_host(
    spec: DataSpec,
    room: str,
    engine: Engine,
    moves: Augmentation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(CONFIG, engine=engine, augmentation=moves)
    reference = on_the_host(monkeypatch, lambda: open_loader(spec, "train", config))
    loader = open_loader(spec, "train", config)
    for epoch in (0, 3):
        alike(loader.epoch(epoch), list(reference.epoch(epoch)))
    assert loader.hash() == reference.hash()


@pytest.mark.some(3)
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_goes_on_at_any_batch(
    spec: DataSpec,
    room: str,
    shuffle: bool,
    drop_last: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(CONFIG, shuffle=shuffle, drop_last=drop_last)
    reference = on_the_host(monkeypatch, lambda: open_loader(spec, "train", config))
    whole = list(reference.epoch(4))
    loader = open_loader(spec, "train", config)
    assert len(loader) == len(reference) == len(whole)
    for start in (0, 1, 7, 10, 11):
        alike(loader.epoch(4, start=start), whole[start:])


def test_ranks_and_their_padding_are_those_of_the_host(
    spec: DataSpec, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in range(3):
        share = {"rank": rank, "ranks": 3, "pad": True, "ids": torch.tensor([40, 3, 99, 7, 2])}
        reference = on_the_host(
            monkeypatch, lambda s=share: open_loader(spec, "train", CONFIG, **s)
        )
        expected = list(reference.epoch(1))
        assert any(bool((ids < 0).any()) for ids, _, _ in expected) == (rank == 2)
        alike(open_loader(spec, "train", CONFIG, **share).epoch(1), expected)


def test_batches_stay_as_they_are_while_the_loader_goes_on(spec: DataSpec, room: str) -> None:
    loader = open_loader(spec, "train", CONFIG)
    first, second = loader.epoch(0), loader.epoch(1)  # two at once
    held = [next(epoch) for _ in range(11) for epoch in (first, second)]
    copies = [x.clone() for _, x, _ in held]
    again = [next(epoch) for epoch in (loader.epoch(0), loader.epoch(1))]
    assert all(torch.equal(x, copy) for (_, x, _), copy in zip(held, copies, strict=True))
    assert torch.equal(again[0][1], held[0][1]) and torch.equal(again[1][1], held[1][1])


def test_no_examples_are_no_batches(spec: DataSpec, room: str) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert list(open_loader(spec, "train", CONFIG, ids=none).epoch(0)) == []


class Operations(TorchDispatchMode):
    """Counts operations by their name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


VIEWS = {"split", "slice", "view", "detach", "alias", "expand", "permute", "unsqueeze"}


def operations(loader: Any) -> Counter[str]:
    list(loader.epoch(0))  # fills the device
    with Operations() as seen:
        list(loader.epoch(1))
    return Counter({name: count for name, count in seen.counts.items() if name not in VIEWS})


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_held_pixels_never_ask_the_host_and_cost_no_launch_a_batch(
    spec: DataSpec, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor of the device `meta` has no values: whoever reads one raises."""
    on_a_device(monkeypatch, 10**9)
    config = CONFIG
    if device == "cpu":  # which draws orders with numpy, and moves images one by one
        config = replace(CONFIG, augmentation=Augmentation(), shuffle=False)
    many, one = (
        open_loader(spec, "train", replace(config, batch_size=size), device=device)
        for size in (5, 103)
    )
    batches = list(many.epoch(2))
    assert [tuple(x.shape) for _, x, _ in batches] == [(5, 3, 8, 6)] * 20 + [(3, 3, 8, 6)]
    assert all(column.device.type == device for batch in batches for column in batch)
    asked = operations(many)
    assert asked == operations(one)
    assert not (HOST - {"lift_fresh"}) & set(asked)  # the keys of an order come from the host


def test_a_piece_is_no_larger_than_it_may_be(
    spec: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches of ten at once, and never less than one."""
    reference = list(open_loader(spec, "train", CONFIG).epoch(0))
    on_a_device(monkeypatch, 10**9)
    for size, storage in ((30 * 144, 30), (1, 10)):
        monkeypatch.setattr("fftune.data.device_split.PIECE", size)
        batches = list(open_loader(spec, "train", CONFIG).epoch(0))
        alike(iter(batches), reference)
        assert batches[0][1].untyped_storage().nbytes() == storage * 144 * 4


@pytest.mark.parametrize("levels", [1, 15, 16, 100, 255])
def test_all_values_become_the_floats_of_the_host(levels: int) -> None:
    """Division by a tensor rounds once; a device multiplies by a number's reciprocal instead."""
    values = np.arange(levels + 1, dtype=np.uint8)
    expected = values.astype(np.float32) / np.float32(levels)
    found = torch.div(torch.from_numpy(values), torch.tensor(float(levels)))
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(expected))
    exact = (values.astype(np.float64) / levels).astype(np.float32)
    assert np.array_equal(expected, exact)


def test_a_reciprocal_would_move_pixels() -> None:
    values = np.arange(256, dtype=np.float32)
    reciprocal = np.float32(1) / np.float32(255)
    assert np.count_nonzero(values * reciprocal != values / np.float32(255)) == 126


def test_waiting_is_counted(spec: DataSpec) -> None:
    loader = open_loader(spec, "train", CONFIG)
    assert loader.waited == 0.0
    list(loader.epoch(0))
    once = loader.waited
    list(loader.epoch(1))
    assert 0.0 < once < loader.waited < 60.0


def test_images_that_are_cropped_when_decoded_are_never_held(
    spec: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "ffcv" not in ENGINES:
        pytest.skip("FFCV is not installed")
    on_a_device(monkeypatch, 10**9)
    config = replace(CONFIG, augmentation=Augmentation(resized_crop=4, flip=True))
    loader = open_loader(spec, "train", config)
    batches = list(loader.epoch(0))
    assert [tuple(x.shape) for _, x, _ in batches] == [(10, 3, 4, 4)] * 10 + [(3, 3, 4, 4)]
    assert loader._there is not None and loader._there._held is None
