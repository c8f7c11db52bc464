"""Whitening of images by the spectrum of clean ones, so that natural content is mere noise.

Natural images have most of their power in low frequencies and in what their colours share. A
perturbation has not; after whitening it stands out as far as a linear filter can make it (the
matched filter in coloured noise).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-4
"""Power that every frequency is given at least, that of noise with deviation 0.01."""
WINDOW = 5
"""Side of the square that local contrast is taken over."""
SMOOTH = 0.05
"""Share of the mean contrast that is added to every local one."""


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """Filter of images of one size."""

    filter: Tensor
    """(H, W, C, C) complex: at each frequency the inverse root of the colours' power."""

    @classmethod
    def of(cls, x: Tensor) -> "Whitening":
        """Estimate from (N, C, H, W) clean images."""
        waves = torch.fft.fft2(x - x.mean((0, 2, 3), keepdim=True))
        power = torch.einsum("bihw,bjhw->hwij", waves, waves.conj()) / (len(x) * x[0, 0].numel())
        values, vectors = torch.linalg.eigh(power)
        roots = (values.clamp_min(0) + FLOOR).rsqrt()
        return cls((vectors * roots.unsqueeze(-2)) @ vectors.mH)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) whitened images; differentiable."""
        waves = torch.einsum("hwij,bjhw->bihw", self.filter.to(x.device), torch.fft.fft2(x))
        image: Tensor = torch.fft.ifft2(waves).real
        return image

    def alike(self, x: Tensor, pattern: Tensor) -> Tensor:
        """(B,) correlation in [-1, 1] of images and patterns after whitening; differentiable.

        Places of little contrast, where a change would show most, weigh most.
        """
        image, pattern = self(x), self(pattern)
        weight = 1 / _contrast(image.detach())
        both = (weight * image * pattern).flatten(1).sum(1)
        each = [(weight * one * one).flatten(1).sum(1) for one in (image, pattern)]
        return both / (each[0] * each[1] + torch.finfo(x.dtype).tiny).sqrt()


def _contrast(image: Tensor) -> Tensor:
    """Local power of whitened images, never 0."""
    side = min(WINDOW, *image.shape[-2:])
    side -= 1 - side % 2  # odd
    half = side // 2
    local = F.avg_pool2d(F.pad(image**2, (half,) * 4, mode="reflect"), side, 1)
    mean = local.flatten(1).mean(1).view(-1, 1, 1, 1)
    return local + SMOOTH * mean + torch.finfo(image.dtype).tiny
