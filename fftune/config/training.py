"""One training run, complete."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from fftune.config.attack import AttackConfig
from fftune.config.data import Augmentation, DataSpec
from fftune.config.literals import (
    Algorithm,
    Constants,
    Device,
    Engine,
    Objective,
    Schedule,
    TrainPrecision,
)
from fftune.config.validation import require

CODE_LR_FROM = 10.0
"""From this lambda on the authors' code trains with `CODE_LR` on CIFAR-10, and nowhere else; their
paper does not say so."""
CODE_LR = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """What moves the weights, how fast, and for how long."""

    algorithm: Algorithm = "sgd"
    """`adam_lp` is Adam with the l_p weight decay of `linf_dist` (Zhang et al. 2021)."""
    epochs: int = 40
    """0 leaves the net as it was initialised: P1's "naive"."""
    batch_size: int = 50
    """Examples a step, over all workers."""
    accumulate: int = 1
    """Parts that a worker's share of a batch is cut into, where it does not fit into memory.
    BatchNorm then sees the parts."""
    lr: float = 0.05
    """The learning rate: `one_cycle`'s peak, `step`'s first; unused by `linear`."""
    schedule: Schedule = "one_cycle"
    """`one_cycle` (Smith & Topin 2018), by step; `step`, times `decay` at each milestone;
    `linear` between knots, by step, as FastAT's cycle and phases are; `held_cosine`, by step,
    `linf_dist`'s: held for an eighth of the run, then half a cosine to 0."""
    milestones: tuple[int, ...] = ()
    """Of `step`: the epochs, counted from 0, from whose beginning on the rate is decayed."""
    decay: float = 0.1
    knots: tuple[tuple[float, float], ...] = ()
    """Of `linear`: (epoch, learning rate), from epoch 0 to the last."""
    momentum: float = 0.9
    """Of `sgd`, the same at every step of every schedule."""
    weight_decay: float = 5e-4
    decay_norm: bool = True
    """Whether weight decay takes BatchNorm's parameters too; FastAT's on ImageNet does not."""

    def __post_init__(self) -> None:
        require("epochs", self.epochs >= 0, ">= 0", self.epochs)
        require("batch_size", self.batch_size >= 2, ">= 2 for BatchNorm", self.batch_size)
        require("accumulate", self.accumulate >= 1, ">= 1", self.accumulate)
        require("lr", 0 < self.lr < math.inf, "> 0 and finite", self.lr)
        require("momentum", 0 <= self.momentum < 1, "in [0, 1)", self.momentum)
        require("decay", 0 < self.decay <= 1, "in (0, 1]", self.decay)
        require("weight_decay", self.weight_decay >= 0, ">= 0", self.weight_decay)
        ascending = all(a < b for a, b in pairwise(self.milestones))
        require("milestones", ascending, "ascending", self.milestones)
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
    batch_size: int
    data: str
    """The training set as it was written for this phase."""
    resized_crop: int | None = None
    """The side that images are randomly cropped and resized to; none leaves them as stored."""

    def __post_init__(self) -> None:
        require("phases.epochs", self.epochs >= 1, ">= 1", self.epochs)
        require("phases.batch_size", self.batch_size >= 2, ">= 2", self.batch_size)
        crop = self.resized_crop
        require("phases.resized_crop", crop is None or crop >= 1, ">= 1", crop)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run, complete: the same config gives the same weights."""

    objective: Objective = "standard"
    lam: float = 0.0
    """The weight of the second term; 0 is standard training."""
    attack: AttackConfig = field(default_factory=lambda: AttackConfig(steps=10))
    data: DataSpec = field(default_factory=DataSpec)
    augmentation: Augmentation = field(default_factory=Augmentation)
    engine: Engine = "auto"
    """How the examples are delivered; see `LoaderConfig`."""
    model: str = "small_cnn"
    """A net of this package, or `path/to/file.py:FUNCTION`, one of yours."""
    width: int | None = None
    """Channels of the net's first stage; none is the published net."""
    constants: Constants = "paper"
    """Whose: the paper's, or, where it differs, the authors' `code`'s."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    phases: tuple[Phase, ...] = ()
    """None is one phase, with `data` and `optimizer.batch_size`."""
    precision: TrainPrecision = "fp32"
    """`bf16` is autocast; weights and their updates stay fp32."""
    validate_every: int = 0
    """Epochs between looks at the validation split, which tell the best net from the last; 0 is
    never."""
    seed: int = 0
    threads: int = 1
    """CPU threads of torch; equal threads are part of what makes rows equal."""
    device: Device = "auto"
    """`auto` is CUDA where torch sees it."""
    workers: int = 1
    """Processes that train one net together, on Ray Train."""
    min_workers: int | None = None
    """Elastic: go on with so few while others are missing; none waits for all."""

    def __post_init__(self) -> None:
        require("lam", self.lam >= 0, ">= 0", self.lam)
        require("lam", math.isfinite(self.lam), "finite", self.lam)
        require("width", self.width is None or self.width >= 1, ">= 1", self.width)
        require("validate_every", self.validate_every >= 0, ">= 0", self.validate_every)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("threads", self.threads >= 1, ">= 1", self.threads)
        require("workers", self.workers >= 1, ">= 1", self.workers)
        few = self.min_workers
        require("min_workers", few is None or 1 <= few <= self.workers, "in 1 ... workers", few)
        for workers in range(few or self.workers, self.workers + 1):
            for size in {self.optimizer.batch_size, *(phase.batch_size for phase in self.phases)}:
                rule = f"divisible by {workers} workers"
                require("optimizer.batch_size", size % workers == 0, rule, size)
        distance = self.model == "linf_dist"
        for setting, own in (
            ("objective", self.objective == "hinge"),
            ("optimizer.algorithm", self.optimizer.algorithm == "adam_lp"),
        ):
            require(setting, distance or not own, "another than linf_dist's own", self.model)
        if self.phases:
            total = sum(phase.epochs for phase in self.phases)
            same = total == self.optimizer.epochs
            require("optimizer.epochs", same, f"the phases' {total}", self.optimizer.epochs)

    @property
    def lr(self) -> float:
        """`optimizer.lr`, or what the authors' code replaces it by."""
        cifar10 = self.data.name.split("-")[0] == "cifar10"  # or what is made of it
        weighted = self.objective in ("trades", "thrm") and self.lam >= CODE_LR_FROM
        slower = self.constants == "code" and cifar10 and weighted
        return CODE_LR if slower else self.optimizer.lr
