"""Fewer bits for a pixel, by hand."""

import pytest
import torch

from fftune.defenses.bit_depth import bit_depth


@pytest.mark.parametrize(
    ("bits", "pixels", "expected"),
    [
        (1, [0.0, 0.49, 0.51, 1.0], [0, 0, 1, 1]),
        (2, [0.0, 0.16, 0.17, 0.5001, 0.84], [0, 0, 1 / 3, 2 / 3, 1]),
        (4, [8 / 255, 9 / 255, 0.5001], [0, 1 / 15, 8 / 15]),
        (8, [0.0, 77.3 / 255, 1.0], [0, 77 / 255, 1]),
    ],
)
def test_pixels_go_to_the_nearest_of_so_many_values(bits, pixels, expected) -> None:
    found = bit_depth(torch.tensor(pixels).view(1, 1, 1, -1), bits=bits)
    torch.testing.assert_close(found.flatten(), torch.tensor(expected, dtype=torch.float32))
