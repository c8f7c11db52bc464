"""JPEG compression of the input (Dziugaite et al. 2016; Guo et al. 2018)."""

from dataclasses import dataclass
from io import BytesIO

import torch
from torch import Tensor, nn

from fftune.config import JpegConfig
from fftune.defenses.spec import Defense, DefenseSpec
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise

MODES = {1: "L", 3: "RGB"}
"""Pillow's names of images by their channels."""


def jpeg(x: Tensor, *, quality: int) -> Tensor:
    """Compress images by libjpeg and read them again, as Pillow does.

    Args:
        x: (B, C, H, W), pixels in [0, 1], which are rounded to 8 bits first; grey or RGB.
        quality: from 1 to 100.

    Returns:
        (B, C, H, W), pixels k / 255, on x's device.

    Raises:
        ConfigError: images are neither grey nor RGB.
    """
    channels = x.shape[1]
    if channels not in MODES:
        raise ConfigError(f"defense 'jpeg' must be given 1 or 3 channels, got {channels}")
    levels = (x.detach() * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).contiguous()
    read = [_read(image, MODES[channels], quality) for image in levels]
    found = torch.stack(read) if read else levels
    return found.permute(0, 3, 1, 2).to(x) / 255


def _read(image: Tensor, mode: str, quality: int) -> Tensor:
    """(H, W, C) uint8, an image of this shape as its file would be read."""
    from PIL import Image

    height, width, _ = image.shape
    file = BytesIO()
    Image.frombytes(mode, (width, height), bytes(image.flatten().tolist())).save(
        file, format="JPEG", quality=quality
    )
    with Image.open(file) as read:
        return torch.frombuffer(bytearray(read.tobytes()), dtype=torch.uint8).view(image.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg(Defense):
    """JPEG compression with its quality; attackers take its derivative for the identity."""

    config: JpegConfig

    def purify(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """`jpeg` at this quality."""
        return jpeg(x, quality=self.config.quality)

    @property
    def stochastic(self) -> bool:
        """False: equal images are changed alike."""
        return False


JPEG = DefenseSpec(make=lambda config, _threat: Jpeg(config=config.jpeg), reads=())
