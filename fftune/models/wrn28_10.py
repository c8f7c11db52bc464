"""WideResNet-28-10 for small images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import Constants, InputSpec
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize, he_convolutions, require_min_size

WIDTH = 160
STEM = 16
BLOCKS = 4  # a stage; 28 layers = 3 stages x 4 blocks x 2 convolutions + 4


class WRN28x10(nn.Module):
    """Three stages of four pre-activation blocks, ten times wide (Zagoruyko & Komodakis 2016).

    He's variance is 2 / fan_out as in torchvision, which the paper names; "code": 2 / fan_in.
    """

    def __init__(
        self, inputs: InputSpec, *, width: int | None = None, constants: Constants = "paper"
    ) -> None:
        super().__init__()
        require_min_size("wrn28_10", inputs, 4)
        self.stem = nn.Sequential(
            Normalize(inputs.mean, inputs.std),
            nn.Conv2d(inputs.shape[0], STEM, 3, padding=1, bias=False),
        )
        blocks: list[nn.Module] = []
        channels = STEM
        for stage in range(3):
            outputs = (width or WIDTH) * 2**stage
            for block in range(BLOCKS):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(PreActivationBlock(channels, outputs, stride=stride))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, inputs.classes)
        he_convolutions(self, fan="fan_in" if constants == "code" else "fan_out")
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.pool(self.last(self.blocks(self.stem(x))))
        logits: Tensor = self.head(torch.flatten(features, 1))
        return logits


class PreActivationBlock(nn.Module):
    """x + two convolutions of a = relu(norm(x)); where channels change, a convolved 1x1 + those."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, smooth: bool = False) -> None:
        """Build the block.

        Args:
            smooth: as Gowal et al. 2020 have it: SiLU instead of ReLU, and what halves the image
                is padded below and to the right alone.
        """
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), activation(smooth=smooth))
        first = Halving if smooth and stride == 2 else nn.Conv2d
        self.body = nn.Sequential(
            first(inputs, outputs, 3, stride, padding=0 if first is Halving else 1, bias=False),
            nn.BatchNorm2d(outputs),
            activation(smooth=smooth),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.shortcut: nn.Module | None = None
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.before(x)
        out: Tensor = self.body(active)
        return out + (x if self.shortcut is None else self.shortcut(active))


class Halving(nn.Conv2d):
    """A convolution that halves an image of an even size, padded below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def activation(*, smooth: bool) -> nn.Module:
    """SiLU or ReLU."""
    return nn.SiLU(inplace=True) if smooth else nn.ReLU(inplace=True)


ENTRY = ModelEntry(build=WRN28x10, two_readings=True)
