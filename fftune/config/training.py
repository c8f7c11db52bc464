"""One training run, complete."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from os.path import abspath
from typing import Any

from fftune.config.attack import AttackConfig
from fftune.config.conditioning import LambdaDraws
from fftune.config.data import Augmentation, DataSpec
from fftune.config.literals import (
    Algorithm,
    Compile,
    Constants,
    Device,
    Engine,
    Precision,
    Schedule,
    TrainPrecision,
)
from fftune.config.serialization import SINCE
from fftune.config.validation import UNSAID, is_unsaid, require, require_words
from fftune.errors import ConfigError
from fftune.registry import MODELS, OBJECTIVES, absolute, is_of_file, source_prefix

CODE_LR_FROM = 10.0
"""Lambda from which on the authors' code trains with `CODE_LR` on CIFAR-10, and nowhere else; Tao
et al. 2022 do not mention it."""
CODE_LR = 0.05
"""Learning rate of the authors' code for large lambda."""
VALIDATIONS = 10
"""Evaluations on the validation split, by default at most so many a run and one at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """The optimiser, its learning rates, and the length of training."""

    algorithm: Algorithm = "sgd"
    """The optimiser; `adam_lp` is Adam with `linf_dist`'s decay (Zhang et al. 2021)."""
    epochs: int = 40
    """Passes over the training data. With 0 the net is "naive": as initialised."""
    batch_size: int = 50
    """Examples a step, over all workers."""
    accumulate: int = 1
    """Number of parts that a worker's share of a batch is cut into, to fit into memory. BatchNorm
    then sees the parts."""
    lr: float = 0.05
    """Learning rate, a factor of updates. It is `one_cycle`'s peak and `step`'s first."""
    schedule: Schedule = "one_cycle"
    """Course of the learning rate. `one_cycle` (Smith & Topin 2018), by step; `step`, times
    `decay` at each milestone;
    `linear` between knots, by step, as FastAT's cycle and phases are; `held_cosine`, by step,
    `linf_dist`'s: held for an eighth of the run, then half a cosine to 0."""
    milestones: tuple[int, ...] = ()
    """Epochs, counted from 0, at whose beginning `step` decays the rate; default none."""
    decay: float = 0.1
    """Factor of the learning rate at each milestone of `step`, in (0, 1]."""
    knots: tuple[tuple[float, float], ...] = ()
    """Pairs of epoch and learning rate of `linear`, from 0 on; default none."""
    momentum: float = 0.9
    """Factor by which `sgd` keeps its last update, in [0, 1)."""
    weight_decay: float = 5e-4
    """Factor of the weights' squared length in the loss."""
    decay_norm: bool = True
    """Decay BatchNorm's parameters too; FastAT's training on ImageNet does not."""

    def __post_init__(self) -> None:
        require_words(self)
        require("epochs", self.epochs >= 0, ">= 0", self.epochs)
        require("batch_size", self.batch_size >= 2, ">= 2 for BatchNorm", self.batch_size)
        require("accumulate", self.accumulate >= 1, ">= 1", self.accumulate)
        require("lr", 0 < self.lr < math.inf, "> 0 and finite", self.lr)
        require("momentum", 0 <= self.momentum < 1, "in [0, 1)", self.momentum)
        require("decay", 0 < self.decay <= 1, "in (0, 1]", self.decay)
        require("weight_decay", self.weight_decay >= 0, ">= 0", self.weight_decay)
        ascending = all(a < b for a, b in pairwise(self.milestones))
        require("milestones", ascending, "ascending", self.milestones)
        require("milestones", all(m >= 0 for m in self.milestones), "epochs >= 0", self.milestones)
        if self.schedule == "linear":
            self._check_knots()

    def _check_knots(self) -> None:
        epochs = [epoch for epoch, _ in self.knots]
        whole = len(epochs) > 1 and epochs[0] == 0 and epochs[-1] == self.epochs
        rising = all(a < b for a, b in pairwise(epochs))
        rule = f"ascending from epoch 0 to {self.epochs}"
        require("knots", whole and rising, rule, self.knots)
        require("knots", all(lr >= 0 for _, lr in self.knots), "rates >= 0", self.knots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training with images and batches of its own: progressive resizing."""

    epochs: int
    """Passes over the training set of this phase, >= 1."""
    batch_size: int
    """Examples a step, over all workers, >= 2."""
    data: str
    """Name of the training set that was written for this phase."""
    resized_crop: int | None = None
    """Side that images are randomly cropped and resized to, in pixels; default as stored."""

    def __post_init__(self) -> None:
        require_words(self)
        require("phases.epochs", self.epochs >= 1, ">= 1", self.epochs)
        require("phases.batch_size", self.batch_size >= 2, ">= 2", self.batch_size)
        crop = self.resized_crop
        require("phases.resized_crop", crop is None or crop >= 1, ">= 1", crop)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run, complete: the same config gives the same weights."""

    objective: str = "standard"
    """The loss that training minimizes."""
    lam: float = UNSAID
    """Weight of the second term; 0 is standard training. Recipes give 6 to an objective
    that has such a term, and 0 to others; a config in Python must say it."""
    draws: LambdaDraws = field(default_factory=LambdaDraws, metadata={SINCE: 7})
    """Distribution of lambda where one net is trained for all up to `lam`: `thrm_all`,
    `trades_all`."""
    attack: AttackConfig = field(default_factory=lambda: AttackConfig(steps=10))
    data: DataSpec = field(default_factory=DataSpec)
    augmentation: Augmentation = field(default_factory=Augmentation)
    engine: Engine = "auto"
    """Delivery of the examples: `auto` is `memory` below 1 GB, above it `ffcv` where that is
    installed and its file is there, or `torch`."""
    model: str = "small_cnn"
    """The net. A file's function returns it, and is called without arguments; `torchvision:NAME`,
    `timm:NAME` and `hf:OWNER/NAME` have fresh weights for the data's classes."""
    init_model: str = field(default="", metadata={SINCE: 5})
    """Weights that training begins with: the folder of a checkpoint, or a file, as
    `fftune evaluate --weights` takes it. Default fresh ones, by the seed."""
    width: int | None = None
    """Channels of the net's first stage; default those of the published net."""
    constants: Constants = "paper"
    """Source of constants that differ: the paper, or its authors' `code`."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    phases: tuple[Phase, ...] = ()
    """Stretches of training; empty is one phase, with `data` and `optimizer.batch_size`."""
    precision: TrainPrecision = "fp32"
    """Precision of the step itself: `bf16` is autocast; weights and their updates stay fp32."""
    craft_precision: Precision = field(default="auto", metadata={SINCE: 2})
    """Precision of the net that perturbed images are crafted on: `bf16` is a frozen copy, brought
    up to date at every step, whose weights are in bf16; `auto` is as `precision`."""
    compile: Compile = field(default="auto", metadata={SINCE: 2})
    """Compile the net, by `torch.compile`, for full batches: `auto` does in bf16 on CUDA, where a
    run's steps repay it. What is computed stays the same but for rounding."""
    validate_every: int | None = None
    """Epochs between evaluations on the validation split, which tell the best net from the last;
    0 is never. Default a tenth of the run, where there are validation images."""
    average_decay: float = field(default=0.995, metadata={SINCE: 7})
    """Share that the average of the weights keeps of itself at each step, in [0, 1); less in the
    first steps. It is kept beside the last net, which it does not change; 0 keeps none."""
    seed: int = 0
    """Seed of the weights, the order and the attacks."""
    threads: int = 1
    """CPU threads of torch; equal threads are part of what makes rows equal."""
    device: Device = "auto"
    """Device: `auto` is CUDA where there is one."""
    workers: int = 1
    """Processes that train one net together, on Ray Train."""
    min_workers: int | None = None
    """Elastic training: go on with so few processes while others are missing; default waits for
    all."""

    def __post_init__(self) -> None:
        require_words(self)
        self._check_objective()
        require("lam", self.lam >= 0, ">= 0", self.lam)
        require("lam", math.isfinite(self.lam), "finite", self.lam)
        if self._for_all_lambdas:
            self._check_one_net()
        if self.init_model:
            object.__setattr__(self, "init_model", abspath(self.init_model))
        require("width", self.width is None or self.width >= 1, ">= 1", self.width)
        every, decay = self.validate_every, self.average_decay
        require("validate_every", every is None or every >= 0, ">= 0", every)
        require("average_decay", 0 <= decay < 1, "in [0, 1)", decay)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("threads", self.threads >= 1, ">= 1", self.threads)
        require("workers", self.workers >= 1, ">= 1", self.workers)
        few = self.min_workers
        require("min_workers", few is None or 1 <= few <= self.workers, "in 1 ... workers", few)
        for workers in range(few or self.workers, self.workers + 1):
            for size in {self.optimizer.batch_size, *(phase.batch_size for phase in self.phases)}:
                rule = f"divisible by {workers} workers"
                require("optimizer.batch_size", size % workers == 0, rule, size)
                share = size // workers
                parts = self.optimizer.accumulate
                rule = f"at most the {share} examples of a worker's share of a batch"
                require("optimizer.accumulate", parts <= share, rule, parts)
        if self.optimizer.algorithm == "adam_lp" and self.model != "linf_dist":
            _refuse_model("optimizer.algorithm 'adam_lp'", "linf_dist", self.model)
        if self.phases:
            total = sum(phase.epochs for phase in self.phases)
            same = total == self.optimizer.epochs
            require("optimizer.epochs", same, f"the phases' {total}", self.optimizer.epochs)

    @staticmethod
    def upgraded(stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """Settings of older versions in today's words: 0.1.0 called linf_dist "hinge", and before
        version 7 nothing was validated by default.
        """
        new = dict(stored)
        if stored.get("objective") == "hinge":
            new["objective"] = "linf_dist"
        if "average_decay" not in stored and stored.get("validate_every") == 0:
            new["validate_every"] = None
        return new

    def _check_objective(self) -> None:
        """Check what can be known without running a file of the user's."""
        OBJECTIVES.check("objective", self.objective)
        object.__setattr__(self, "objective", absolute(self.objective))
        if is_unsaid(self.lam):
            weighted = self._weighted
            require("lam", not weighted, f"given for objective {self.objective!r}", None)
            object.__setattr__(self, "lam", 0.0)
        if ".py:" not in self.model and not source_prefix(self.model):
            MODELS.check("model", self.model)
        if not is_of_file(self.objective):
            needed = OBJECTIVES[self.objective].needs_model
            if needed and self.model != needed:
                _refuse_model(f"objective {self.objective!r}", needed, self.model)

    def _check_one_net(self) -> None:
        one = f"objective {self.objective!r}"
        require("lam", self.lam > 0, f"> 0 for {one}, the greatest of its lambdas", self.lam)
        require("workers", self.workers == 1, f"1 for {one}", self.workers)

    @property
    def _for_all_lambdas(self) -> bool:
        """One net is trained for all lambdas; a file of the user's is asked when it is run."""
        found = None if is_of_file(self.objective) else OBJECTIVES[self.objective]
        return bool(getattr(found, "all_lambdas", False))

    @property
    def _weighted(self) -> bool:
        """Lam counts in the objective; it does in a plain function of the user's."""
        return bool(getattr(OBJECTIVES[self.objective], "weighted", True))

    @property
    def crafts_in(self) -> TrainPrecision:
        """`craft_precision`, or what it is by itself."""
        return self.precision if self.craft_precision == "auto" else self.craft_precision

    def validates(self, epoch: int) -> bool:
        """Tell if the net is evaluated on the validation split after an epoch, counted from 1."""
        every, last = self.validate_every, self.optimizer.epochs
        every = math.ceil(last / VALIDATIONS) if every is None else every
        return every > 0 and (epoch % every == 0 or epoch == last)

    @property
    def lr(self) -> float:
        """`optimizer.lr`, or what the authors' code replaces it by."""
        cifar10 = self.data.name.split("-")[0] == "cifar10"  # or what is made of it
        large = self.lam >= CODE_LR_FROM
        slower = self.constants == "code" and cifar10 and large and self._weighted
        return CODE_LR if slower else self.optimizer.lr


def _refuse_model(setting: str, needed: str, model: str) -> None:
    raise ConfigError(f"{setting} needs model {needed!r}, got {model!r}")
