"""Clean images that are not quite as the held-out ones: what an honest set may differ by."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from fftune.config.attack import PIXEL
from fftune.defenses.jpeg import jpeg

Shift = Callable[[Tensor], Tensor]
AS_IS = "as they are"
CROPPED = 7 / 8
"""Side of the central square that is cut out and enlarged again."""


def _cropped(x: Tensor) -> Tensor:
    """The central 7/8 of each side, enlarged to the former size."""
    height, width = x.shape[-2:]
    tall, wide = (max(2, round(side * CROPPED)) for side in (height, width))
    top, left = (height - tall) // 2, (width - wide) // 2
    part = x[..., top : top + tall, left : left + wide]
    larger = F.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)
    return _levels(larger)


def _moved(x: Tensor) -> Tensor:
    """The image one pixel further to the right and down, as another crop would cut it."""
    return F.pad(x, (1, 0, 1, 0), mode="replicate")[..., :-1, :-1]


def _brighter(x: Tensor) -> Tensor:
    """A tenth more of every value."""
    return _levels((1.1 * x).clamp(0, 1))


def _levels(x: Tensor) -> Tensor:
    return (x * PIXEL).round() / PIXEL


SHIFTS: Mapping[str, Shift] = {
    AS_IS: lambda x: x,
    "JPEG, quality 90": lambda x: jpeg(x, quality=90),
    "JPEG, quality 75": lambda x: jpeg(x, quality=75),
    "cropped to 7/8": _cropped,
    "moved by a pixel": _moved,
    "brighter by 10 %": _brighter,
}
"""Shifts by name; all end on 256 levels."""
