"""JPEG as a defense: what Pillow reads from a file that it wrote."""

import numpy as np
import pytest
import torch
from PIL import Image

from fftune.defenses.jpeg import jpeg
from fftune.errors import ConfigError


@pytest.mark.parametrize("quality", [75, 20])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_what_pillow_reads(tmp_path, channels: int, quality: int) -> None:
    """Odd sides, and pixels between two levels, which are rounded to the nearest."""
    levels = np.random.default_rng(0).integers(0, 256, (4, 13, 18, channels), dtype=np.uint8)
    between = torch.linspace(-0.4, 0.4, levels.size).reshape(levels.shape)
    x = ((torch.from_numpy(levels) + between).clamp(0, 255) / 255).permute(0, 3, 1, 2)
    found = jpeg(x, quality=quality)
    for image, read in zip(levels, found, strict=True):
        file = tmp_path / "image.jpg"
        Image.fromarray(image.squeeze(-1) if channels == 1 else image).save(file, quality=quality)
        expected = torch.from_numpy(np.array(Image.open(file))).view(13, 18, channels)
        assert torch.equal(read, expected.permute(2, 0, 1) / 255)
    assert not torch.equal(found, x.mul(255).round() / 255)


def test_other_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="'jpeg' must be given 1 or 3 channels, got 4"):
        jpeg(torch.rand(1, 4, 8, 8), quality=75)
