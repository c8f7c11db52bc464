"""FastAT's three ImageNet phases at the smallest scale: 50 photographs, a narrow ResNet-50.

    python -m fftune.data write imagenet --source FOLDER --phase 1    (and 2, and 3)
    python -m fftune.train experiments/2026-11-21-fast-at-photographs.py

The path that ImageNet takes on a GPU, on a CPU in a minute; its accuracy means nothing.
"""

from dataclasses import replace

from fftune.config import TrainConfig
from fftune.recipes import Basis, Scale, training


def recipe(_scale: Scale) -> TrainConfig:
    """`python -m fftune.train fast_at --scale full --data imagenet`, an epoch a phase."""
    config = training("fast_at", Basis(scale="full", data="imagenet"))
    phases = tuple(replace(phase, epochs=1, batch_size=25) for phase in config.phases)
    knots = ((0, 0.0), (1, 0.04), (2, 0.004), (3, 0.0004))
    return replace(
        config,
        width=8,
        phases=phases,
        optimizer=replace(config.optimizer, epochs=3, batch_size=25, knots=knots),
        precision="fp32",
    )
