"""Friends as files: perturbed images as a PNG or a JPEG holds them, scored once more.

A verification set is stored as files. A PNG keeps 256 levels, so that a point is moved onto them
without leaving its ball; a JPEG moves it further, out of the ball too. Rows of a stored form have
`stored-FORM` for their defense, and the clean image is judged as it would be stored in that form.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fftune.config import ThreatModel
from fftune.config.attack import PIXEL
from fftune.config.evaluation import JPEG_FORM, PNG_FORM
from fftune.defenses.jpeg import jpeg
from fftune.evaluation.batteries import Attack
from fftune.evaluation.defended import CONTROLS
from fftune.outcomes import CERTIFIED, STORED

TOLERANCE = 1e-6
"""Distance beyond a radius that is rounding of floats."""


@dataclass(frozen=True, slots=True)
class StoredForm:
    """Form in which images are stored."""

    name: str
    """`png`, or `jpeg-QUALITY`."""

    @property
    def defense(self) -> str:
        """Name in the column of defenses, which keeps these rows out of what attacks reached."""
        return f"{STORED}{self.name}"

    def stored(self, x_pert: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
        """(B, C, H, W) perturbed images as they are read from such files.

        Args:
            x: clean images, the middles of the balls.
        """
        if self.name == PNG_FORM:
            return on_levels(x_pert, x, threat)
        return jpeg(x_pert, quality=int(self.name.removeprefix(f"{JPEG_FORM}-")))


def is_stored(attack: Attack) -> bool:
    """Tell if the points of an attack could be files: those of bounds and controls are none."""
    return attack.name not in CONTROLS and attack.protocol != CERTIFIED


def on_levels(x_pert: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Points on the 256 levels, as near as the ball allows.

    In linf that is the nearest level where it lies in the ball; else, and for every value in l2,
    the next one on the way to the clean pixel's own level. So a point never leaves its ball, and
    an untouched image becomes what it is stored as. A clean pixel between two levels, as sets with
    fewer levels have them, has half a level of room at least, however small the ball is.

    Args:
        x_pert, x: (B, C, H, W) points and clean images, pixels in [0, 1].
    """
    clean = (x * PIXEL).round()
    moved = x_pert * PIXEL - clean
    # A point that is a level already may be a float's rounding short of it.
    inward = clean + moved.sign() * (moved.abs() + PIXEL * TOLERANCE).floor()
    if threat.norm != "linf":
        return inward / PIXEL
    nearest = (x_pert * PIXEL).round()
    room = max(threat.eps, 0.5 / PIXEL) + TOLERANCE
    inside = (nearest / PIXEL - x).abs() <= room
    return torch.where(inside, nearest, inward) / PIXEL
