"""ResNet-18 for small images."""

import torch
from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize, he_convolutions, require_min_size

WIDTH = 64


class ResNet18(nn.Module):
    """A 3x3 stem without pooling, then four stages of two basic blocks (He et al. 2016).

    It is that of Tao et al. 2022's code.
    The code's variant for 64 x 64 images was not published; ours averages the last map, whatever
    its size, which for 32 x 32 images is the code's own 4 x 4 pooling.
    """

    def __init__(self, inputs: InputSpec, *, width: int | None = None) -> None:
        super().__init__()
        require_min_size("resnet18", inputs, 8)
        width = width or WIDTH
        self.stem = nn.Sequential(
            Normalize(inputs.mean, inputs.std),
            nn.Conv2d(inputs.shape[0], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            outputs = width * 2**stage
            blocks.append(BasicBlock(channels, outputs, stride=1 if stage == 0 else 2))
            blocks.append(BasicBlock(outputs, outputs, stride=1))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, inputs.classes)
        he_convolutions(self)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.pool(self.blocks(self.stem(x)))
        logits: Tensor = self.head(torch.flatten(features, 1))
        return logits


class BasicBlock(nn.Module):
    """relu(x + two convolutions of x), x convolved 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


ENTRY = ModelEntry(build=ResNet18)
