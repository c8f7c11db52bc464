"""torchvision's ResNet-50 and ResNet-101, for ImageNet. The door to torchvision among the nets."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize, he_convolutions, require_min_size

WIDTH = 64


class ImageNetResNet(nn.Module):
    """Normalisation, then torchvision's net as `net`, under torchvision's names.

    So checkpoints of torchvision and of FastAT load (`read_weights`). A narrowed one has fewer
    channels everywhere, from the stem on.
    """

    def __init__(
        self, name: str, blocks: Sequence[int], inputs: InputSpec, *, width: int | None
    ) -> None:
        super().__init__()
        require_min_size(name, inputs, 32)
        self.normalize = Normalize(inputs.mean, inputs.std)
        self.net = _net(blocks, inputs, width or WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.normalize(x))
        return logits


def resnet50(inputs: InputSpec, *, width: int | None = None) -> nn.Module:
    """Four stages of 3, 4, 6 and 3 bottlenecks (He et al. 2016)."""
    return ImageNetResNet("resnet50", (3, 4, 6, 3), inputs, width=width)


def resnet101(inputs: InputSpec, *, width: int | None = None) -> nn.Module:
    """Four stages of 3, 4, 23 and 3 bottlenecks (He et al. 2016)."""
    return ImageNetResNet("resnet101", (3, 4, 23, 3), inputs, width=width)


def _net(blocks: Sequence[int], inputs: InputSpec, width: int) -> nn.Module:
    """The net of torchvision with every layer rebuilt for `width` channels; only its way is kept.

    torchvision's own `width_per_group` narrows the middle of the bottlenecks alone.
    """
    from torchvision.models.resnet import Bottleneck, ResNet

    net: Any = ResNet(Bottleneck, [1, 1, 1, 1])  # these layers are thrown away
    net.inplanes = width
    net.conv1 = nn.Conv2d(inputs.shape[0], width, 7, 2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(width)
    for stage, count in enumerate(blocks):
        layer = net._make_layer(Bottleneck, width * 2**stage, count, 1 if stage == 0 else 2)
        setattr(net, f"layer{stage + 1}", layer)
    net.fc = nn.Linear(net.inplanes, inputs.classes)
    he_convolutions(net)
    return net  # type: ignore[no-any-return]


RESNET50 = ModelEntry(build=resnet50)
RESNET101 = ModelEntry(build=resnet101)
