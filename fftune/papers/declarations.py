"""Nets, evaluations and analyses, which tables and figures of the papers are made of.

A declaration says what of a paper is wanted, in the paper's own terms: CIFAR-10, ResNet-18, THRM
with lambda 20. What it becomes at a scale, `fftune.papers.scales` tells. Equal declarations are one
and the same task, whoever asks for them: nothing is trained or attacked twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from fftune.config import PERTURBED, Norm, ShowcaseConfig, Split, nearest
from fftune.errors import ConfigError
from fftune.papers.zoo import ZooNet
from fftune.recipes import Scale, TrainingData
from fftune.registry import label

Size = Literal["all", "many", "few"]
"""Number of test images that a scale attacks: all, those of long attacks, or the least."""
Kind = Literal["noise", "mislabeling", "poisoning", "helped"]
WEIGHTED = ("trades", "thrm")
"""Objectives with a lambda; at 0 they are standard training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A net that is trained: everything of a paper that decides its weights.

    Two descriptions of one net are equal: lambda = 0 is standard training, a net that was not
    trained has no objective, norm and radius count only where something is perturbed.
    """

    data: str = "cifar10"
    """A data set of the papers, as in `registry.DATASETS`."""
    model: str = "resnet18"
    kind: TrainingData = "quality"
    objective: str = "standard"
    lam: float = 0.0
    norm: Norm = "linf"
    eps: float | None = None
    """Radius of what it is trained on, in pixels of [0, 1]; None: that of the norm at the scale."""
    seed: int = 0

    def __post_init__(self) -> None:
        # 5 and 5.0 are equal, and so must be the names of their tasks
        object.__setattr__(self, "lam", float(self.lam))
        object.__setattr__(self, "eps", None if self.eps is None else float(self.eps))
        weightless = self.objective in WEIGHTED and self.lam == 0
        if self.kind == "naive" or weightless:
            object.__setattr__(self, "objective", "standard")
        if self.objective not in WEIGHTED:
            object.__setattr__(self, "lam", 0.0)
        if self.objective == "standard":
            object.__setattr__(self, "eps", None)
            if self.kind not in PERTURBED:
                object.__setattr__(self, "norm", "linf")

    def __str__(self) -> str:
        lam = f" lambda {self.lam:g}" if self.lam else ""
        kind = "" if self.kind == "quality" else f" {self.kind}"
        norm = "" if self.norm == "linf" else f" {self.norm}"
        eps = "" if self.eps is None else f" eps {self.eps:.4g}"
        names = f"{label(self.model)} {label(self.objective)}"
        return f"{self.data}{kind} {names}{lam}{norm}{eps} seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Substandard:
    """Training data that are changed (Tao et al. 2022, A.3); `helped` is not in the paper."""

    data: str
    kind: Kind
    norm: Norm = "linf"
    """Norm of perturbed images; noise and wrong labels have none."""
    model: str = "resnet18"
    """The net that is trained on them, which matters where a scale has other images for it."""

    def __post_init__(self) -> None:
        if self.kind not in PERTURBED:
            object.__setattr__(self, "norm", "linf")

    def __str__(self) -> str:
        norm = "" if self.norm == "linf" else f" {self.norm}"
        return f"{self.data} {self.kind}{norm}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """An evaluation: a net under a battery, which leaves a row for every example and attack."""

    net: Net | ZooNet
    battery: str = "risks"
    norm: Norm = "linf"
    eps: float | None = None
    """Radius in pixels of [0, 1]; None: that of the norm at the scale."""
    defenses: tuple[str, ...] = ()
    split: Split = "test"
    size: Size = "all"
    seed: int = 0
    """Seed of the attackers' noise."""
    attacks: tuple[str, ...] = ()
    """Attacks that are run, by their names in rows, those who know of the defenses among them;
    none: all of the battery, and none who knows."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", None if self.eps is None else float(self.eps))

    def __str__(self) -> str:
        behind = f" behind {' '.join(map(label, self.defenses))}" if self.defenses else ""
        eps = "" if self.eps is None else f" eps {self.eps:.4g}"
        return f"{label(self.battery)} {self.norm}{eps} of {self.net}{behind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Something computed on nets that is no table of rows: pictures, loss surfaces, curves.

    `run` is `package.module:FUNCTION`; see `AnalysisFunction` for what it takes and returns.
    """

    run: str
    nets: tuple[Net | ZooNet, ...]
    norm: Norm = "linf"
    size: Size = "few"
    settings: tuple[tuple[str, Any], ...] = ()
    """Further settings as sorted pairs, plain JSON values."""

    def __str__(self) -> str:
        return f"{self.run.rpartition(':')[2]} of {', '.join(map(str, self.nets))}"


Need = Net | Substandard | Exam | Analysis
"""Need of an item, a task of the graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Scale of the papers' items, and how much of it."""

    scale: Scale = "tiny"
    seeds: int | None = None
    """Training seeds of tables with deviations; None: the scale's own."""
    zoo: tuple[ZooNet, ...] = ()
    """Published nets, for the tables of Wu et al. 2021."""
    limits: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Numbers of examples of the analyses of a hedge, by their names in `ShowcaseConfig`."""

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise ConfigError(f"seeds must be >= 1, got {self.seeds}")
        known = [f.name for f in fields(ShowcaseConfig)]
        for name in self.limits:
            if name not in known:
                raise ConfigError(f"limits: unknown name {name!r}; {nearest(name, known)}")
        ShowcaseConfig(**self.limits)  # refuses numbers that are out of range
