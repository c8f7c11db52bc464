"""A small net, in a module of its own so that it can be pickled."""

from torch import Tensor, nn


class Toy(nn.Module):
    """Eight classes on 1 x 6 x 6 images: a convolution with BatchNorm, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.fc = nn.Linear(216, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).relu().flatten(1))
