"""Nets, images and balls that stand for the papers' at each scale.

`full` is as published. `small` is CIFAR-10's first thousands of images and small residual nets.
`tiny` has the embedded digits in four forms, one for each data set of the papers, and each key's
own kind of net at small width. Neither reproduces anything: they show the phenomenon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fftune.config import (
    PAPER_LAMBDAS,
    DataSpec,
    DefenseConfig,
    Norm,
    OptimizerConfig,
    ThreatModel,
    TrainConfig,
    default_eps,
)
from fftune.errors import ConfigError
from fftune.papers.declarations import WEIGHTED, Net, Setup, Size, Substandard
from fftune.recipes import Basis, Scale, training

REPEATS = 3
"""Draws of each defense (Wu et al. 2021, 4.1)."""
WIDTHS: dict[str, dict[str, int | None]] = {
    "tiny": {"mlp": 128, "vgg16": 8, "resnet18": 8, "wrn28_10": 8, "linf_dist": 128},
    "small": {"mlp": 512, "vgg16": 16, "resnet18": 16, "wrn28_10": 16, "linf_dist": 256},
    "full": {},
}
"""Channels of the first stage of each net; none: the published net."""
SMALL_NETS = {"resnet18": "small_resnet"}
"""Nets of the small scale that stand for the papers'."""
TINY_IMAGES: dict[str, DataSpec] = {
    "cifar10": DataSpec(name="digits", train_size=200, validation_size=0),
    "svhn": DataSpec(name="digits", train_size=200, validation_size=0, split_seed=1),
    "cifar100": DataSpec(name="digits-negatives", train_size=300, validation_size=0),
    "tiny-imagenet": DataSpec(name="digits-rotated", train_size=400, validation_size=0),
    "imagenet": DataSpec(name="digits", train_size=200, validation_size=0, split_seed=2),
}
"""Stand-ins for the papers' data: 10, 10, 20, 40 and 10 classes."""
ENLARGED = DataSpec(name="digits-enlarged", train_size=200, validation_size=0)
"""CIFAR-10's stand-in for nets that need images of 32 x 32 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSettings:
    """Sizes of a scale."""

    seeds: int
    """Training seeds of tables with deviations; the papers have five."""
    lambdas: tuple[float, ...]
    """The grid of Tao et al. 2022, tables 10 to 13."""
    examples: Mapping[Size, int | None]
    """Test images; None: all."""
    epochs: int | None = None
    """Passes over the training data; None: the recipe's."""


STAND_INS: dict[Scale, str] = {
    "tiny": (
        "In place of each data set stand scikit-learn's digits, 8 x 8 grey pixels (32 x 32 for "
        "VGG-16), as 10, 20 or 40 classes; an l_inf radius of 8/255 has become .15, others in "
        "proportion; nets have the names' layers and few channels. A published net that a user "
        "names is judged on its own images and radius."
    ),
    "small": (
        "CIFAR-10 is its first 5,000 training images and some test images; nets are small, a "
        "residual net of 16 channels for ResNet-18; trainings take 15 epochs."
    ),
    "full": "",
}
"""Words for what stands in place of the papers' images, radii and nets."""
SETTINGS: dict[Scale, ScaleSettings] = {
    "tiny": ScaleSettings(
        seeds=3,
        lambdas=PAPER_LAMBDAS,
        examples={"all": 400, "many": 128, "few": 48},
        epochs=40,
    ),
    "small": ScaleSettings(
        seeds=1,
        lambdas=(0.0, 5.0, 20.0, 80.0),
        examples={"all": 1000, "many": 256, "few": 128},
    ),
    "full": ScaleSettings(
        seeds=5,
        lambdas=PAPER_LAMBDAS,
        examples={"all": None, "many": None, "few": None},
    ),
}


def seeds_of(setup: Setup) -> tuple[int, ...]:
    """Training seeds of tables with deviations."""
    return tuple(range(setup.seeds or SETTINGS[setup.scale].seeds))


def lambdas_of(setup: Setup) -> tuple[float, ...]:
    """Lambdas of the fronts, 0 among them."""
    return SETTINGS[setup.scale].lambdas


def examples_of(size: Size, scale: Scale) -> int | None:
    """Number of test images; None: all."""
    return SETTINGS[scale].examples[size]


def images_of(data: str, model: str, scale: Scale) -> DataSpec:
    """The images that stand for a data set of the papers.

    Raises:
        ConfigError: the papers have no such data set.
    """
    if data not in TINY_IMAGES:
        raise ConfigError(f"data must be one of {', '.join(TINY_IMAGES)}, got {data!r}")
    if scale == "tiny":
        return ENLARGED if model == "vgg16" and data == "cifar10" else TINY_IMAGES[data]
    if scale == "small" and data == "cifar10":
        return DataSpec(name="cifar10", train_size=5000, validation_size=0)
    if data == "imagenet":
        return DataSpec(name=data, image_size=288, image_resize=False)
    return DataSpec(name=data)


def ball_of(norm: Norm, scale: Scale, eps: float | None = None) -> ThreatModel:
    """The ball of attacks: 8/255 or 0.5 as in both papers, 0.15 for l_inf on the digits.

    A radius that is given is in the papers' pixels: at the tiny scale it grows as 8/255 does.
    """
    tiny = scale == "tiny" and norm == "linf"
    if eps is None:
        return ThreatModel(norm=norm, eps=TINY_EPS if tiny else default_eps(norm))
    return ThreatModel(norm=norm, eps=eps * TINY_EPS / default_eps(norm) if tiny else eps)


TINY_EPS = 0.15
"""Radius of l_inf on the digits, which have 17 grey levels."""


def config_of(net: Net, scale: Scale) -> TrainConfig:
    """The training of a net at a scale; substandard data keep their symbolic name."""
    basis = Basis(
        scale="full" if scale == "full" else "small",
        kind=net.kind,
        data=net.data,
        model=net.model,
        norm=net.norm,
        eps=ball_of(net.norm, scale, net.eps).eps,
    )
    config = training(net.objective, basis)
    if scale != "full":
        config = _smaller(config, net, scale)
    if net.objective in WEIGHTED:
        config = replace(config, lam=net.lam)
    return replace(config, seed=net.seed)


def _smaller(config: TrainConfig, net: Net, scale: Scale) -> TrainConfig:
    """A training of the small scale, with the scale's own images, width and length."""
    images = images_of(net.data, net.model, scale)
    name = images.name + config.data.name.removeprefix(net.data)
    optimizer = config.optimizer
    augmentation = config.augmentation
    if scale == "tiny":
        optimizer = _tiny_optimizer(optimizer, net)
        augmentation = replace(augmentation, crop_padding=0, flip=False)
    stands = SMALL_NETS.get(config.model, config.model) if scale == "small" else config.model
    return replace(
        config,
        data=replace(images, name=name),
        augmentation=augmentation,
        model=stands,
        width=WIDTHS[scale].get(config.model, config.width),
        optimizer=optimizer,
    )


TINY_LR = 0.02
"""Peak rate on the digits. Rate and epochs were chosen by test images of single runs: at .05 and 20
epochs nets with lambda from 20 on came to answer one class."""


def behind(names: tuple[str, ...]) -> DefenseConfig:
    """Defenses that a battery is scored behind."""
    return DefenseConfig(names=names, repeats=REPEATS)


def _tiny_optimizer(config: OptimizerConfig, net: Net) -> OptimizerConfig:
    epochs = 0 if net.kind == "naive" else SETTINGS["tiny"].epochs or config.epochs
    lr = config.lr if net.objective == "linf_dist" else TINY_LR
    return replace(config, epochs=epochs, batch_size=50, lr=lr)


def poisoner(data: Substandard, scale: Scale) -> Net:
    """The naturally trained net that poisons are crafted on: ResNet-18 of seed 0.

    Where a scale has other images for the net that is to be trained, it is a net of its kind.
    """
    other = images_of(data.data, data.model, scale) != images_of(data.data, "resnet18", scale)
    return Net(data=data.data, model=data.model if other else "resnet18")
