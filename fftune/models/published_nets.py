"""Architectures of RobustBench's nets by their identifiers, for the files of their weights.

The identifiers are those of Wu et al. 2021, appendix B.4.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fftune.models.layers import Normalize
from fftune.models.wrn28_10 import STEM, PreActivationBlock, activation

CLASSES = {"cifar10": 10, "cifar100": 100}
"""Classes of the data sets whose nets are known here."""
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
_RGB100 = (
    (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
    (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
)


class WideResNet(nn.Module):
    """A wide residual net of any depth for RGB images (Zagoruyko & Komodakis 2016).

    It reads weights by the names of TRADES' code, or, `smooth`, by those of Gowal et al. 2020.
    """

    def __init__(
        self,
        classes: int,
        *,
        depth: int,
        widen: int,
        normalize: nn.Module | None = None,
        smooth: bool = False,
    ) -> None:
        """Build the net.

        Args:
            depth: number of its convolutions and its head, 6 n + 4 for n blocks a stage.
            widen: factor of its channels, 16, 32 and 64.
            normalize: layer before it; None: it takes pixels in [0, 1] as they are.
            smooth: see `PreActivationBlock`.
        """
        super().__init__()
        self.normalize: nn.Module = normalize or nn.Identity()
        self.stem = nn.Conv2d(3, STEM, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        channels = STEM
        for stage in range(3):
            outputs = STEM * widen * 2**stage
            blocks: list[nn.Module] = []
            for block in range((depth - 4) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(PreActivationBlock(channels, outputs, stride=stride, smooth=smooth))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(nn.BatchNorm2d(channels), activation(smooth=smooth))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)
        nn.Module.register_load_state_dict_pre_hook(self, _rename)

    def forward(self, x: Tensor) -> Tensor:
        features = self.pool(self.last(self.stages(self.stem(self.normalize(x)))))
        logits: Tensor = self.head(torch.flatten(features, 1))
        return logits


class NormalizeEach(nn.Module):
    """(x - mean) / std of each image by itself, its deviation no smaller than 1 / sqrt(pixels)."""

    def forward(self, x: Tensor) -> Tensor:
        std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        return (x - mean) / std.clamp_min(x.shape[1:].numel() ** -0.5)


def _rename(net: WideResNet, state: dict[str, Tensor], *_: Any) -> None:
    """Turn the names of published files into ours.

    Files of TRADES' code hold a stage that is never used, `sub_block1`, and not always the
    constants of the normalisation.
    """
    if "head.weight" in state:
        return
    _replace(state, lambda key: key.removeprefix("model."))
    for key in [key for key in state if key.startswith("sub_block1.")]:
        del state[key]
    _replace(state, _ours)
    for key, value in net.normalize.state_dict(prefix="normalize.").items():
        state[key] = state[key].view_as(value) if key in state else value


def _replace(state: dict[str, Tensor], name: Callable[[str], str]) -> None:
    renamed = {name(key): value for key, value in state.items()}
    state.clear()
    state.update(renamed)


def _ours(key: str) -> str:
    """Our name for a tensor of a published file; an unknown one stays as it is."""
    if block := _BLOCK.fullmatch(key):
        stage = int(block["one"]) - 1 if block["one"] else int(block["zero"])
        layer = _INSIDE.get(block["layer"], block["layer"])
        return f"stages.{stage}.{block['block']}.{layer}.{block['rest']}"
    layer, dot, rest = key.partition(".")
    return f"{_OUTSIDE.get(layer, layer)}{dot}{rest}"


_BLOCK = re.compile(
    r"(?:block(?P<one>\d)\.layer|layer\.(?P<zero>\d)\.block)\.(?P<block>\d+)\.(?P<layer>\w+)\.(?P<rest>\w+)"
)
_INSIDE = {
    "bn1": "before.0",
    "conv1": "body.0",
    "bn2": "body.1",
    "conv2": "body.3",
    "convShortcut": "shortcut",
    "batchnorm_0": "before.0",
    "conv_0": "body.0",
    "batchnorm_1": "body.1",
    "conv_1": "body.3",
}
_OUTSIDE = {
    "conv1": "stem",
    "bn1": "last.0",
    "fc": "head",
    "mu": "normalize.mean",
    "sigma": "normalize.std",
    "init_conv": "stem",
    "batchnorm": "last.0",
    "logits": "head",
    "mean": "normalize.mean",
    "std": "normalize.std",
}


def _plain(classes: int, depth: int, widen: int) -> nn.Module:
    return WideResNet(classes, depth=depth, widen=widen)


def _normalized(
    classes: int,
    depth: int,
    widen: int,
    constants: tuple[tuple[float, ...], tuple[float, ...]] = CIFAR10,
) -> nn.Module:
    return WideResNet(classes, depth=depth, widen=widen, normalize=Normalize(*constants))


def _each(classes: int, depth: int, widen: int) -> nn.Module:
    return WideResNet(classes, depth=depth, widen=widen, normalize=NormalizeEach())


def _smooth(classes: int, depth: int, widen: int) -> nn.Module:
    constants = Normalize(*(CIFAR10 if classes == CLASSES["cifar10"] else CIFAR100))
    return WideResNet(classes, depth=depth, widen=widen, normalize=constants, smooth=True)


_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LAYOUTS: dict[str, Callable[[int], nn.Module]] = {
    **dict.fromkeys(
        (
            "cifar10/Linf/Carmon2019Unlabeled",
            "cifar10/Linf/Sehwag2020Hydra",
            "cifar10/Linf/Standard",
            "cifar10/Linf/Wang2020Improving",
            "cifar10/Linf/Wu2020Adversarial_extra",
            "cifar10/Linf/Zhang2020Geometry",
        ),
        partial(_plain, depth=28, widen=10),
    ),
    **dict.fromkeys(
        (
            "cifar10/Linf/Cui2020Learnable_34_10",
            "cifar10/Linf/Huang2020Self",
            "cifar10/Linf/Sitawarin2020Improving",
            "cifar10/Linf/Wu2020Adversarial",
            "cifar10/Linf/Zhang2019Theoretically",
            "cifar10/Linf/Zhang2019You",
            "cifar10/Linf/Zhang2020Attacks",
            "cifar10/L2/Wu2020Adversarial",
        ),
        partial(_plain, depth=34, widen=10),
    ),
    "cifar10/Linf/Cui2020Learnable_34_20": partial(_plain, depth=34, widen=20),
    "cifar10/Linf/Hendrycks2019Using": partial(_normalized, depth=28, widen=10, constants=_HALF),
    "cifar10/Linf/Rice2020Overfitting": partial(_normalized, depth=34, widen=20),
    "cifar10/Linf/Chen2020Efficient": partial(_normalized, depth=34, widen=10),
    "cifar100/Linf/Wu2020Adversarial": partial(_normalized, depth=34, widen=10, constants=_RGB100),
    "cifar10/Linf/Ding2020MMA": partial(_each, depth=28, widen=4),
    "cifar10/L2/Ding2020MMA": partial(_each, depth=28, widen=4),
    "cifar10/Linf/Gowal2020Uncovering_28_10_extra": partial(_smooth, depth=28, widen=10),
    "cifar10/Linf/Gowal2020Uncovering_34_20": partial(_smooth, depth=34, widen=20),
    "cifar10/Linf/Gowal2020Uncovering_70_16_extra": partial(_smooth, depth=70, widen=16),
    "cifar100/Linf/Gowal2020Uncovering_extra": partial(_smooth, depth=70, widen=16),
}
"""Architectures of ours by `DATA/NORM/ID`; others are built by the package robustbench."""
