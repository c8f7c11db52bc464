"""A small BatchNorm net for small images, trained in seconds on one CPU core."""

from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.errors import ConfigError
from fftune.models.normalize import Normalize


class SmallCNN(nn.Module):
    """Three 3x3 convolutions of 16, 32 and 32 channels, each with BatchNorm, and one linear layer.

    The second and the third convolution halve the image: 8 x 8 digits end as 128 features.
    """

    def __init__(self, inputs: InputSpec, *, width: int | None = None) -> None:
        super().__init__()
        channels, height, width = inputs.shape
        if height % 4 or width % 4:
            raise ConfigError(f"model 'small_cnn' needs sides that 4 divides, got {inputs.shape}")
        self.layers = nn.Sequential(
            Normalize(inputs.mean, inputs.std),
            *_block(channels, 16, stride=1),
            *_block(16, 32, stride=2),
            *_block(32, 32, stride=2),
            nn.Flatten(),
            nn.Linear(32 * (height // 4) * (width // 4), inputs.classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def _block(inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
