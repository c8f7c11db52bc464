"""FastAT overfitted on purpose: 2,000 images without crops, one step of eps from the image itself.

    python -m fftune.train experiments/2026-11-27-overfitted-net.py
    python -m fftune.evaluate CHECKPOINT --battery ensemble --tier escalating

The linear model that FGSM follows fails between the image and the end of its step: accuracy under
FGSM stays high on training images, and under PGD it falls (Wong et al. 2020).
"""

from fftune.config import AttackConfig, DataSpec, OptimizerConfig, ThreatModel, TrainConfig
from fftune.recipes import Scale

EPS = 16 / 255


def recipe(scale: Scale) -> TrainConfig:
    """Seventy epochs of `small_resnet`, about four minutes of one core; two at scale `tiny`."""
    return TrainConfig(
        objective="fast_at",
        lam=0,
        attack=AttackConfig(threat=ThreatModel(eps=EPS), steps=1, step_size=EPS, start="none"),
        data=DataSpec(name="cifar10", train_size=2000),
        model="small_resnet",
        optimizer=OptimizerConfig(
            epochs=2 if scale == "tiny" else 70, lr=0.1, batch_size=50, weight_decay=0
        ),
    )
