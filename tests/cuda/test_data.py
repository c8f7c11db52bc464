"""On a card: batches are those of the CPU to the bit, whichever way their pixels come."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fftune.config import Augmentation, DataSpec, Engine, LoaderConfig, WriteConfig
from fftune.data import Loader, open_loader
from fftune.data.beton.writer import write_beton
from fftune.data.buffer_pool import BufferPool
from fftune.data.catalog import open_parts
from fftune.data.device_feed import CudaLink, fed
from fftune.data.engines.ffcv_decoder import why_missing

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

SET = "synthetic:shape=3x32x32,classes=10,train=1003,test=20,seed=1"
ENGINES: list[Engine] = ["memory", "torch"]
if not why_missing():
    ENGINES.append("ffcv")
MOVES = [
    Augmentation(),
    Augmentation(flip=True),
    Augmentation(crop_padding=4),
    Augmentation(crop_padding=4, flip=True),
]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    """1,003 stored examples, all of them to train on."""
    folder = tmp_path_factory.mktemp("betons")
    for part, images in open_parts(SET, betons=False).items():
        write_beton(images, folder / f"{part}.beton", WriteConfig(), origin=SET, splits={})
    return DataSpec(name=f"folder:{folder}", train_size=None, validation_size=0)


@pytest.fixture(params=["held", "fed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All pixels lie on the card, or have no room there."""
    if request.param == "fed":
        monkeypatch.setattr(CudaLink, "room", lambda _self: 0)
    return str(request.param)


def pair(
    spec: DataSpec, config: LoaderConfig, *, rank: int = 0, ranks: int = 1
) -> tuple[Loader, Loader]:
    """The loader of the card, and that of the CPU."""
    card, cpu = (
        open_loader(spec, "train", config, rank=rank, ranks=ranks, pad=True, device=device)
        for device in ("cuda", "cpu")
    )
    return card, cpu


def alike(card: Loader, cpu: Loader, epoch: int, start: int = 0) -> None:
    delivered = zip(card.epoch(epoch, start=start), cpu.epoch(epoch, start=start), strict=True)
    for batch, expected in delivered:
        for ours, theirs in zip(batch, expected, strict=True):
            assert ours.is_cuda and ours.dtype == theirs.dtype
            assert torch.equal(ours.cpu(), theirs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("moves", MOVES)
def test_batches_are_those_of_the_cpu(
    spec: DataSpec, way: str, engine: Engine, moves: Augmentation
) -> None:
    config = LoaderConfig(batch_size=64, engine=engine, shuffle=True, augmentation=moves)
    card, cpu = pair(spec, config)
    for epoch in (0, 5):
        alike(card, cpu, epoch)
    alike(card, cpu, 5, start=9)
    assert card.hash() == cpu.hash()


def test_shares_of_ranks_and_padding_are_those_of_the_cpu(spec: DataSpec, way: str) -> None:
    config = LoaderConfig(batch_size=50, shuffle=True, augmentation=MOVES[-1])
    for rank in range(3):
        alike(*pair(spec, config, rank=rank, ranks=3), 2)


@pytest.mark.parametrize("levels", [1, 15, 100, 255])
def test_all_values_become_the_floats_of_the_cpu(levels: int) -> None:
    values = np.arange(levels + 1, dtype=np.uint8)
    expected = torch.from_numpy(values.astype(np.float32) / np.float32(levels))
    on_card = torch.from_numpy(values).cuda()
    assert torch.equal(
        torch.div(on_card, torch.tensor(float(levels), device="cuda")).cpu(), expected
    )


def test_batches_arrive_beside_a_computation_that_is_late(spec: DataSpec) -> None:
    """The host runs ahead, and fills memory again whose copies have long been asked for."""
    link = CudaLink(torch.device("cuda"))
    count, shape = 40, (16, 3, 64, 64)

    def decoded() -> Iterator[Tensor]:
        pool = BufferPool(link.pinned)
        for i in range(count):
            yield pool.take(shape).fill_(i)

    sums = []
    for batch in fed(decoded(), count, link):
        torch.cuda._sleep(2_000_000)  # about a millisecond of the card
        sums.append(batch.to(torch.int64).sum())
    pixels = int(np.prod(shape))
    assert torch.stack(sums).tolist() == [i * pixels for i in range(count)]


def test_an_epoch_of_held_pixels_never_waits(spec: DataSpec) -> None:
    config = LoaderConfig(batch_size=64, engine="memory", shuffle=True, augmentation=MOVES[-1])
    loader = open_loader(spec, "train", config, device="cuda")
    list(loader.epoch(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        list(loader.epoch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    assert 0 < loader.waited < 60


def test_crops_of_photographs_keep_their_labels(tmp_path: Path, spec: DataSpec) -> None:
    if "ffcv" not in ENGINES:
        pytest.skip("FFCV is not installed")
    moves = Augmentation(resized_crop=16, flip=True)
    card, cpu = pair(spec, LoaderConfig(batch_size=100, shuffle=True, augmentation=moves))
    for (ids, x, y), (other, _, labels) in zip(card.epoch(1), cpu.epoch(1), strict=True):
        assert torch.equal(ids.cpu(), other) and torch.equal(y.cpu(), labels)
        assert x.shape[1:] == (3, 16, 16) and 0 <= float(x.min()) <= float(x.max()) <= 1
