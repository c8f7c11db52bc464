"""Schedules of the papers' trainings, by data set, and FastAT's phases on ImageNet."""

from dataclasses import replace

from fftune.config import (
    AttackConfig,
    Augmentation,
    DataSpec,
    OptimizerConfig,
    Phase,
    ThreatModel,
    TrainConfig,
)

_CIFAR = OptimizerConfig(
    epochs=110, batch_size=128, lr=0.1, schedule="step", milestones=(100, 105), weight_decay=5e-4
)
_SVHN = replace(_CIFAR, epochs=60, lr=0.01, milestones=(50, 55))

SCHEDULES: dict[str, OptimizerConfig] = {
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "svhn": _SVHN,
    "tiny-imagenet": replace(_SVHN, lr=0.1, batch_size=64),
    "imagenet": OptimizerConfig(
        epochs=15,
        batch_size=128,
        schedule="linear",
        knots=((0, 0.0), (1, 0.4), (6, 0.04), (12, 0.004), (15, 0.0004)),
        weight_decay=1e-4,
        decay_norm=False,
    ),
}
"""Tao et al. 2022, A.1, and FastAT's on ImageNet."""

FAST_AT = OptimizerConfig(
    epochs=15,
    batch_size=128,
    schedule="linear",
    knots=((0, 0.0), (7.5, 0.2), (15, 0.0)),
    weight_decay=5e-4,
)
"""Wong et al. 2020 on CIFAR-10: one cycle up to 0.2 and down again."""


def imagenet() -> TrainConfig:
    """FastAT in three phases of growing images (Wong et al. 2020, section 5.2 and its code)."""
    return TrainConfig(
        attack=AttackConfig(threat=ThreatModel(eps=4 / 255)),
        data=DataSpec(
            name="imagenet",
            train_size=None,
            validation_size=0,
            image_size=288,
            image_resize=False,
        ),
        augmentation=Augmentation(flip=True),
        engine="ffcv",
        model="resnet50",
        optimizer=SCHEDULES["imagenet"],
        phases=(
            Phase(epochs=6, batch_size=512, resized_crop=128, data="imagenet-phase1"),
            Phase(epochs=6, batch_size=224, resized_crop=224, data="imagenet-phase2"),
            Phase(epochs=3, batch_size=128, resized_crop=288, data="imagenet-phase3"),
        ),
        precision="bf16",
    )
