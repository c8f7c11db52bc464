from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from fftune.threefry import normals, threefry, uniforms

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
MORE_PI = (0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89)
ONES = (0xFFFFFFFF,) * 4
PUBLISHED = [
    ((0,) * 4, (0,) * 4, (0x531C7E4F, 0x39491EE5, 0x2C855A92, 0x3D6ABF9A)),
    (ONES, ONES, (0xC4189358, 0x1C9CC83A, 0xD5881C67, 0x6A0A89E0)),
    (PI, MORE_PI, (0x4AA71D8F, 0x734738C2, 0x431FC6A8, 0xAE6DEBF1)),
]
"""Of Threefry4x32-13, from the known answers of Random123, the library of its authors."""
WORDS = np.random.default_rng(0).integers(0, 2**32, (2, 200_000), dtype=np.uint32)


def words_of(xp: ModuleType, words: Any) -> Any:
    words = np.array(words, np.uint32)
    return words if xp is np else torch.from_numpy(words.view(np.int32))


@pytest.mark.parametrize("xp", [np, torch], ids=["numpy", "torch"])
def test_the_published_answers(xp: ModuleType) -> None:
    """All at once, so that a draw is seen not to depend on its neighbours."""
    for counter, key, words in PUBLISHED:
        drawn = tuple(words_of(xp, [0, word, word]) for word in counter)
        threefry(xp, drawn, tuple(words_of(xp, [word]) for word in key))
        for found, word in zip(drawn, words, strict=True):
            assert (np.asarray(found[1:]).view(np.uint32) == word).all()


@pytest.mark.parametrize("xp", [np, torch], ids=["numpy", "torch"])
def test_uniforms_are_the_upper_24_bits(xp: ModuleType) -> None:
    found = uniforms(xp, words_of(xp, [0, 255, 256, 2**31, 2**32 - 1]))
    assert found.tolist() == [0, 0, 2**-24, 0.5, 1 - 2**-24]
    assert found.dtype == xp.float32


def test_normals_are_those_of_box_and_muller() -> None:
    first, second = WORDS.astype(np.int64)
    radius = np.sqrt(-2 * np.log(((first >> 8) + 1) / 2**24))
    angle = (second >> 8) / 2**24 * np.pi / 2
    expected = (
        radius * np.cos(angle) * (1 - 2.0 * (second & 1)),
        radius * np.sin(angle) * (1 - 2.0 * (second >> 1 & 1)),
    )
    for found, exact in zip(normals(np, *WORDS), expected, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=0, atol=1.5e-6)


def test_the_largest_normal_and_the_smallest() -> None:
    """A word of nothing gives the largest radius, one of all bits a radius of 0."""
    ends = np.array([0, 2**32 - 1], np.uint32)
    one, two = normals(np, ends, np.zeros(2, np.uint32))
    assert one.tolist() == pytest.approx([(48 * np.log(2)) ** 0.5, 0])
    assert two.tolist() == pytest.approx([0, 0], abs=1e-6)


def corners() -> Any:
    """Pairs of words at the ends of their range, and where the logarithm's series changes sides."""
    edges = [0, 1, 2**24 - 2, 2**24 - 1, *(2**k + at for k in range(1, 24) for at in (-2, -1, 0))]
    edges += [int(2**k / 2**0.5) + at for k in range(2, 25) for at in range(-2, 2)]
    words = np.array([upper << 8 | low for upper in edges for low in (0, 1, 2, 3, 255)], np.uint32)
    return np.stack([grid.ravel() for grid in np.meshgrid(words, words)])


def assert_equal_bits(first: Any, second: Any) -> None:
    mine = normals(np, first, second)
    theirs = normals(torch, words_of(torch, first), words_of(torch, second))
    for one, two in zip(mine, theirs, strict=True):
        assert two.dtype == torch.float32
        assert np.array_equal(one.view(np.uint32), two.numpy().view(np.uint32))


def test_numpy_and_torch_draw_equal_bits() -> None:
    """Over 1.7 million normals, signs of zeros too."""
    assert_equal_bits(*np.concatenate([WORDS, corners()], axis=1))


@pytest.mark.slow
def test_of_every_radius_and_every_angle() -> None:
    upper = np.arange(2**24, dtype=np.uint32)
    angles = (upper * np.uint32(0x9E3779B1)) & np.uint32(0xFFFFFF)  # odd: every one once
    for first, second in zip(np.split(upper, 16), np.split(angles, 16), strict=True):
        assert_equal_bits(first << 8, (second << 8) + (first & 3))


def test_normals_are_normal_and_independent() -> None:
    """Kolmogorov's test cannot tell them; neither values nor squares go together."""
    one, two = normals(np, *WORDS)
    for drawn in (one, two):
        assert stats.kstest(drawn, "norm").pvalue > 1e-3
    for power in (1, 2):
        assert stats.pearsonr(one**power, two**power).pvalue > 1e-3
