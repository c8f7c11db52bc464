"""Fewer bits for a pixel, a feature squeezer (Xu et al. 2018)."""

from dataclasses import dataclass

from torch import Tensor, nn

from fftune.config import BitDepthConfig
from fftune.defenses.spec import Defense, DefenseSpec
from fftune.keyed_noise import Noise


def bit_depth(x: Tensor, *, bits: int) -> Tensor:
    """Round pixels to the nearest of 2^bits values from 0 to 1, equally far apart.

    Args:
        x: (B, C, H, W), pixels in [0, 1].
    """
    top = float(2**bits - 1)
    rounded: Tensor = (x * top).round() / top
    return rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class BitDepth(Defense):
    """Fewer bits for a pixel; attackers take its derivative, which is 0, for the identity."""

    config: BitDepthConfig

    def purify(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """`bit_depth` with these bits."""
        return bit_depth(x, bits=self.config.bits)

    @property
    def stochastic(self) -> bool:
        """False: equal images are changed alike."""
        return False


BIT_DEPTH = DefenseSpec(make=lambda config, _threat: BitDepth(config=config.bit_depth), reads=())
