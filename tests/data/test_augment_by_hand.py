"""Where each crop comes from, computed again in plain Python integers: it must never change."""

import pytest
import torch
from torch import Tensor

from fftune.config import Augmentation
from fftune.data import augment
from fftune.data.augment import augmented, keyed_bits

WORD = 2**64
GOLDEN = 0x9E3779B97F4A7C15


def mixed(z: int) -> int:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014, fig. 16), on unsigned words."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def bits_of(i: int, *, seed: int, epoch: int) -> int:
    """63 bits of an id's key, whose states are the seed's and epoch's and then the id's."""
    key = mixed((mixed((seed + GOLDEN) % WORD) + 2 * epoch + 1) % WORD)
    return mixed((mixed((i * GOLDEN % WORD) ^ key) + key) % WORD) % 2**63


PUBLISHED = {
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC],
    1234567: [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ],
}
"""The first outputs by seed: those of Vigna's C code, and Rosetta Code's."""


@pytest.mark.parametrize("seed", PUBLISHED)
def test_the_mixing_is_splitmix64s(seed: int) -> None:
    states = [seed + (k + 1) * GOLDEN for k in range(len(PUBLISHED[seed]))]
    assert [mixed(state % WORD) for state in states] == PUBLISHED[seed]
    signed = torch.tensor([(state + WORD // 2) % WORD - WORD // 2 for state in states])
    assert [z % WORD for z in augment._mixed(signed).tolist()] == PUBLISHED[seed]


def test_keys_are_the_same_on_every_machine_and_in_every_version() -> None:
    ids = [0, 1, 2, 49_999, 2**31, 2**62 + 12345]
    for seed in (0, 1, 17, 2**40):
        for epoch in (0, 1, 2, 109):
            found = keyed_bits(torch.tensor(ids), seed=seed, epoch=epoch).tolist()
            assert found == [bits_of(i, seed=seed, epoch=epoch) for i in ids]


def plain(pixels: Tensor, ids: list[int], padding: int, *, flip: bool) -> Tensor:
    """Each image by itself, out of an array of zeros, for seed 5 and epoch 3."""
    batch, channels, height, width = pixels.shape
    out = torch.empty_like(pixels)
    for n in range(batch):
        bits = bits_of(ids[n], seed=5, epoch=3)
        top, left = (bits >> 32) % (2 * padding + 1), (bits >> 16) % 2**16 % (2 * padding + 1)
        canvas = torch.zeros(channels, height + 2 * padding, width + 2 * padding).byte()
        canvas[:, padding : padding + height, padding : padding + width] = pixels[n]
        cut = canvas[:, top : top + height, left : left + width]
        out[n] = cut.flip(2) if flip and bits % 2 else cut
    return out


@pytest.mark.parametrize("way", ["_sliced", "_gathered"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 2, 7])
def test_every_kind_of_augmentation_by_hand(padding, flip, way, monkeypatch) -> None:
    """Images that are no squares, of two channels; small paddings and one beyond the image."""
    monkeypatch.setattr(augment, "_sliced", getattr(augment, way))
    ids, generator = [3 * n + 1 for n in range(40)], torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (40, 2, 5, 3), generator=generator, dtype=torch.uint8)
    config = Augmentation(crop_padding=padding, flip=flip)
    expected = plain(pixels, ids, padding, flip=flip)
    found = augmented(pixels.clone(), torch.tensor(ids), config, seed=5, epoch=3)
    assert torch.equal(found, expected)
    assert found.dtype == torch.uint8


def test_cropping_leaves_the_batch_alone_and_mirroring_is_done_in_place() -> None:
    pixels, ids = torch.arange(60, dtype=torch.uint8).view(5, 1, 3, 4), torch.arange(5)
    before = pixels.clone()
    augmented(pixels, ids, Augmentation(crop_padding=1, flip=True), seed=0, epoch=0)
    assert torch.equal(pixels, before)
    assert augmented(pixels, ids, Augmentation(flip=True), seed=0, epoch=0) is pixels
    assert not torch.equal(pixels, before)
