"""One training run, complete."""

import math
from dataclasses import dataclass, field

from fftune.config.attack import AttackConfig
from fftune.config.checks import require
from fftune.config.data import DataSpec
from fftune.config.vocabulary import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """SGD with momentum under a one-cycle learning rate (Smith & Topin 2018)."""

    epochs: int = 40
    batch_size: int = 50
    lr: float = 0.05
    """The peak of the cycle."""
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        require("epochs", self.epochs >= 1, ">= 1", self.epochs)
        require("batch_size", self.batch_size >= 2, ">= 2 for BatchNorm", self.batch_size)
        require("lr", self.lr > 0, "> 0", self.lr)
        require("momentum", 0 <= self.momentum < 1, "in [0, 1)", self.momentum)
        require("weight_decay", self.weight_decay >= 0, ">= 0", self.weight_decay)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run, complete: the same config gives the same weights."""

    objective: Objective = "standard"
    lam: float = 0.0
    """The weight of the second term; 0 is standard training."""
    attack: AttackConfig = field(default_factory=lambda: AttackConfig(steps=10))
    data: DataSpec = field(default_factory=DataSpec)
    model: str = "small_cnn"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: int = 0
    threads: int = 1
    """CPU threads of torch; equal threads are part of what makes rows equal."""

    def __post_init__(self) -> None:
        require("lam", self.lam >= 0, ">= 0", self.lam)
        require("lam", math.isfinite(self.lam), "finite", self.lam)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("threads", self.threads >= 1, ">= 1", self.threads)
