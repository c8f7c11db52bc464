import pytest
import torch
from torch import Tensor

from fftune.capture import captured, use
from fftune.capture.tape import Tape
from fftune.config import Augmentation
from fftune.data import augment
from fftune.data.augment import augmented, keyed_bits

BOTH = Augmentation(crop_padding=4, flip=True)
IDS = torch.arange(500) * 7


def images(count: int = 500, *, size: tuple[int, int] = (9, 11)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8)


def by_definition(pixels: Tensor, ids: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Pad by hand, count by hand, mirror by hand."""
    out = torch.empty_like(pixels)
    for i, bits in enumerate(keyed_bits(ids, seed=seed, epoch=epoch).tolist()):
        top, left, flip = (bits >> 32) % 9, (bits >> 16 & 0xFFFF) % 9, bits & 1
        channels, height, width = pixels.shape[1:]
        for row in range(height):
            for column in range(width):
                y, x = row + top - 4, column + left - 4
                inside = 0 <= y < height and 0 <= x < width
                value = pixels[i, :, y, x] if inside else torch.zeros(channels, dtype=torch.uint8)
                out[i, :, row, width - 1 - column if flip else column] = value
    return out


def test_crop_and_flip_do_what_they_say() -> None:
    pixels, ids = images(12), IDS[:12]
    expected = by_definition(pixels, ids, seed=3, epoch=2)
    assert torch.equal(augmented(pixels, ids, BOTH, seed=3, epoch=2), expected)


def test_the_way_of_accelerators_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = images()
    on_cpu = augmented(pixels, IDS, BOTH, seed=1, epoch=1)
    monkeypatch.setattr(augment, "_sliced", augment._gathered)
    assert torch.equal(augmented(pixels, IDS, BOTH, seed=1, epoch=1), on_cpu)


@pytest.mark.parametrize("config", [BOTH, Augmentation(crop_padding=4), Augmentation(flip=True)])
def test_an_accelerator_need_not_wait(config: Augmentation) -> None:
    """A meta tensor has no values that could be read."""
    pixels, ids = images(20), IDS[:20]
    found = augmented(pixels.to("meta"), ids.to("meta"), config, seed=1, epoch=1)
    assert found.device.type == "meta" and found.shape == pixels.shape
    assert found.dtype == torch.uint8


def test_the_way_of_accelerators_can_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels and ids are inputs; an epoch is part of what was recorded."""

    def both_ways(pixels: Tensor, ids: Tensor, epoch: int) -> Tensor:
        return augmented(pixels, ids, BOTH, seed=1, epoch=epoch)

    calls = [(images().roll(k, 0), IDS + 11 * k, k // 4) for k in range(8)]
    expected = [both_ways(*call) for call in calls]
    monkeypatch.setattr(augment, "_sliced", augment._gathered)
    with use(tape := Tape()):
        found = [captured(both_ways)(*call) for call in calls]
    assert (tape.records, tape.replays) == (2, 4)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("padding", [0, 4])
def test_an_accelerator_mirrors_as_a_cpu_does(padding: int) -> None:
    pixels, ids = images(30), IDS[:30]
    bits = keyed_bits(ids, seed=1, epoch=1)
    top = left = torch.zeros_like(bits) + padding
    padded = torch.nn.functional.pad(pixels, [padding] * 4)
    mirrored = augment._gathered(padded, top, left, (bits & 1).bool(), (9, 11))
    assert torch.equal(mirrored, augmented(pixels, ids, Augmentation(flip=True), seed=1, epoch=1))


def test_an_example_is_augmented_alike_in_any_company() -> None:
    pixels, order = images(), torch.randperm(500, generator=torch.Generator().manual_seed(1))
    whole = augmented(pixels, IDS, BOTH, seed=0, epoch=5)
    shuffled = augmented(pixels[order], IDS[order], BOTH, seed=0, epoch=5)
    assert torch.equal(shuffled, whole[order])
    alone = augmented(pixels[7:8], IDS[7:8], BOTH, seed=0, epoch=5)
    assert torch.equal(alone[0], whole[7])


def test_seed_epoch_and_id_each_change_the_key() -> None:
    keys = [keyed_bits(IDS, seed=s, epoch=e) for s, e in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]]
    stacked = torch.cat(keys)
    assert stacked.unique().numel() == stacked.numel()
    assert (stacked >= 0).all()


def test_every_crop_and_both_directions_are_equally_likely() -> None:
    bits = keyed_bits(torch.arange(81_000), seed=0, epoch=0)
    crops = ((bits >> 32) % 9 * 9 + (bits >> 16 & 0xFFFF) % 9).bincount(minlength=81)
    chi_squared = ((crops - 1000.0) ** 2 / 1000).sum()
    assert chi_squared < 124.8  # the 99.9 % point of 80 degrees of freedom
    assert abs((bits & 1).double().mean() - 0.5) < 4 * 0.5 / 81_000**0.5


def test_what_is_not_asked_for_is_not_done() -> None:
    pixels = images(20)
    assert augmented(pixels, IDS[:20], Augmentation(), seed=0, epoch=0) is pixels
    flipped = augmented(pixels.clone(), IDS[:20], Augmentation(flip=True), seed=0, epoch=0)
    last = pixels.clone(memory_format=torch.channels_last)
    assert torch.equal(augmented(last, IDS[:20], Augmentation(flip=True), seed=0, epoch=0), flipped)
    assert last.is_contiguous(memory_format=torch.channels_last)
    same = (flipped == pixels).flatten(1).all(1)
    mirrored = (flipped == pixels.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all() and same.any() and mirrored.any()
