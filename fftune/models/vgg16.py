"""VGG-16 for small images."""

from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize, he_convolutions, require_min_size

WIDTH = 64
STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Channels of each convolution in multiples of the width; every stage halves the image."""


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions with BatchNorm and one linear layer (Simonyan & Zisserman 2015).

    It is that of Tao et al. 2022's code; the last map of images larger than 32 x 32 is averaged.
    """

    def __init__(self, inputs: InputSpec, *, width: int | None = None) -> None:
        super().__init__()
        require_min_size("vgg16", inputs, 2 ** len(STAGES))
        channels, width = inputs.shape[0], width or WIDTH
        layers: list[nn.Module] = [Normalize(inputs.mean, inputs.std)]
        for stage in STAGES:
            for multiple in stage:
                convolution = nn.Conv2d(channels, multiple * width, 3, padding=1)
                channels = multiple * width
                layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels, inputs.classes)
        he_convolutions(self)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(x))
        return logits


ENTRY = ModelEntry(build=VGG16)
