"""A small BatchNorm net for small images, trained in seconds on one CPU core."""

from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.errors import ConfigError
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize

WIDTH = 16


class SmallCNN(nn.Module):
    """Three 3x3 convolutions of w, 2w and 2w channels, each with BatchNorm, and one linear layer.

    The second and the third convolution halve the image: 8 x 8 digits end as 128 features
    at w = 16.
    """

    def __init__(self, inputs: InputSpec, *, width: int | None = None) -> None:
        super().__init__()
        channels, height, breadth = inputs.shape
        width = width or WIDTH
        if height % 4 or breadth % 4:
            raise ConfigError(f"model 'small_cnn' needs sides that 4 divides, got {inputs.shape}")
        self.layers = nn.Sequential(
            Normalize(inputs.mean, inputs.std),
            *_block(channels, width, stride=1),
            *_block(width, 2 * width, stride=2),
            *_block(2 * width, 2 * width, stride=2),
            nn.Flatten(),
            nn.Linear(2 * width * (height // 4) * (breadth // 4), inputs.classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def _block(inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


ENTRY = ModelEntry(build=SmallCNN)
