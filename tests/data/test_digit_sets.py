"""Sets that are made of the digits."""

import pytest
import torch

from fftune.config import DataSpec
from fftune.data.catalog import load
from fftune.data.sources.digits import digits


@pytest.fixture(scope="module")
def whole():
    return digits()


def test_negatives_are_classes_of_their_own(whole) -> None:
    made, n = load(DataSpec(name="digits-negatives"), "test"), len(whole)
    assert len(made) == 2 * n and made.source.classes[:3] == ("0", "0 negative", "1")
    assert torch.equal(made.pixels[:n], whole.pixels) and torch.equal(made.y[:n], 2 * whole.y)
    assert torch.equal(made.pixels[n:] + whole.pixels, torch.full_like(whole.pixels, 16))
    assert torch.equal(made.y[n:], 2 * whole.y + 1)


def test_turns_are_classes_of_their_own(whole) -> None:
    made, n = load(DataSpec(name="digits-rotated"), "test"), len(whole)
    assert len(made) == 4 * n and made.source.classes[7] == "1 right"
    for turn in range(4):
        pixels = made.pixels[turn * n : (turn + 1) * n]
        back = torch.rot90(pixels, -turn, (2, 3))
        assert torch.equal(back, whole.pixels)
        assert torch.equal(made.y[turn * n : (turn + 1) * n], 4 * whole.y + turn)


def test_enlarged_digits_are_the_same_images(whole) -> None:
    made = load(DataSpec(name="digits-enlarged"), "test")
    assert made.shape == (1, 32, 32) and torch.equal(made.y, whole.y)
    assert torch.equal(made.pixels[:, :, 2::4, 1::4], whole.pixels)
