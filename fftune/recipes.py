"""Built-in trainings and studies as functions of the scale; `8 / 255` stays `8 / 255`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from fftune.config import (
    PAPER_LAMBDAS,
    PERTURBED,
    AttackConfig,
    Augmentation,
    BatteryConfig,
    Constants,
    DataSpec,
    HedgeSweep,
    HedgeTrial,
    Norm,
    OptimizerConfig,
    Selection,
    Study,
    SweepConfig,
    ThreatModel,
    TrainConfig,
    nearest,
    substandard_name,
)
from fftune.config.data import of_another
from fftune.config.validation import require_words
from fftune.errors import ConfigError, UserCodeError
from fftune.named_code import allow
from fftune.names import plain_name
from fftune.objectives import find_objective
from fftune.registry import DATASETS, label
from fftune.schedules import FAST_AT, SCHEDULES, imagenet
from fftune.user_code import called, defined

Scale = Literal["tiny", "small", "full"]
TrainingData = Literal["quality", "noise", "mislabeling", "poisoning", "naive", "helped"]
Recipe = Callable[[Scale], Study]
FrontRecipe = Callable[[Scale, str | None, Selection], SweepConfig]
SUBSTANDARD: tuple[TrainingData, ...] = ("noise", "mislabeling", "poisoning")
NORMS: tuple[Norm, ...] = get_args(Norm)

LAM = 6.0
"""Weight of the second term in both papers, unless a sweep chooses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Settings on which the other defaults of a training depend; None: that of the scale."""

    scale: Scale = "tiny"
    kind: TrainingData = "quality"
    data: str | None = None
    model: str | None = None
    norm: Norm = "linf"
    eps: float | None = None
    constants: Constants = "paper"

    def __post_init__(self) -> None:
        require_words(self)


def training(objective: str, basis: Basis) -> TrainConfig:
    """A training as the papers describe it, or a similar one at a smaller scale.

    Tao et al. 2022, appendix A; FastAT is Wong et al. 2020, on CIFAR-10 and on ImageNet.
    """
    config = SCALES[basis.scale](objective, basis)
    spec = find_objective(objective)
    if spec.needs_model == "linf_dist":
        return _of_kind(_linf_dist(config, objective, basis), basis.kind)
    config = replace(
        config,
        objective=objective,
        lam=max(PAPER_LAMBDAS) if spec.all_lambdas else LAM if spec.weighted else 0.0,
        model=spec.needs_model or basis.model or config.model,
        constants=basis.constants,
        attack=_attack(objective, basis, config.attack.threat),
    )
    return _of_kind(config, basis.kind)


def trades_official(basis: Basis) -> TrainConfig:
    """TRADES with the constants of its authors' code for CIFAR-10 (Zhang et al. 2019).

    The net is still one that normalises its inputs, which theirs did not.

    Raises:
        ConfigError: that code has no such constants.
    """
    if basis.norm != "linf":
        raise ConfigError(f"attack.threat.norm must be linf in trades_official, got {basis.norm!r}")
    full = basis.scale == "full"
    if full and basis.data not in (None, "cifar10"):
        raise ConfigError(f"data.name must be cifar10 in trades_official, got {basis.data!r}")
    config = training("trades", replace(basis, kind="quality"))
    threat = ThreatModel(eps=0.031 if basis.eps is None else basis.eps)
    optimizer = replace(config.optimizer, weight_decay=2e-4)
    if full:  # the code counts from 1, and slows down in its epoch 75
        optimizer = replace(optimizer, epochs=76, milestones=(74,))
    config = replace(
        config,
        attack=AttackConfig(threat=threat, steps=10, step_size=0.007, start="narrow"),
        optimizer=optimizer,
    )
    return _of_kind(config, basis.kind)


def _linf_dist(config: TrainConfig, objective: str, basis: Basis) -> TrainConfig:
    """The l_inf-distance net's recipe (Zhang et al. 2021; Tao et al. 2022, appendix G)."""
    full = basis.scale == "full"
    return replace(
        config,
        objective=objective,
        model="linf_dist",
        width=None if full else 128,
        attack=_attack("standard", basis, config.attack.threat),
        optimizer=OptimizerConfig(
            algorithm="adam_lp",
            epochs=800 if full else config.optimizer.epochs,
            batch_size=512 if full else config.optimizer.batch_size,
            lr=0.02,
            schedule="held_cosine",
            weight_decay=5e-3,
        ),
    )


def thrm(scale: Scale, data: str | None = None, selection: Selection = "validation") -> SweepConfig:
    """Lambda against natural and hypocritical risk under THRM (Tao et al. 2022, eq. 3)."""
    return _front("thrm", scale, data, selection)


def trades(
    scale: Scale, data: str | None = None, selection: Selection = "validation"
) -> SweepConfig:
    """Lambda against natural and hypocritical risk under TRADES (Tao et al. 2022, eq. 2)."""
    return _front("trades", scale, data, selection)


def hedge(scale: Scale) -> HedgeSweep:
    """Radius, K and step of Hedge Defense on one net (Wu et al. 2021): --checkpoint or --model."""
    if scale == "full":
        return HedgeSweep(name="hedge", trials=64, base=HedgeTrial(examples=None, aware=1000))
    return HedgeSweep(name="hedge")


FRONTS: dict[str, FrontRecipe] = {"thrm": thrm, "trades": trades}
"""Built-in studies of trainings: settings follow the data set and the split that selects."""
RECIPES: dict[str, Recipe] = {"thrm": thrm, "trades": trades, "hedge": hedge}


def study(
    name: str, scale: Scale, *, data: str | None = None, selection: Selection = "validation"
) -> Study:
    """Settings of a study by its name; those of a built-in front follow its data.

    Args:
        name: see `find`.
        data: data set of the trainings; default that of the scale.
        selection: split that selects; where it is `test` no image is kept for validation.

    Raises:
        ConfigError: there is no such recipe.
    """
    if name in FRONTS:
        return FRONTS[name](scale, data, selection)
    return find(name)(scale)


def find(name: str) -> Recipe:
    """A built-in study, or the function `recipe` of a user's own file.

    Raises:
        ConfigError: there is no such recipe or file, or the file has no such function.
    """
    if name in RECIPES:
        return RECIPES[name]
    if not str(name).endswith(".py"):
        near = nearest(str(name), RECIPES)
        more = "; an objective of your own is --base.objective" if ".py:" in str(name) else ""
        raise ConfigError(f"recipe {name!r} does not exist; {near} (or path/to/FILE.py{more})")
    return own(str(name))


def own(name: str) -> Callable[..., Any]:
    """The function `recipe` of a user's file.

    Raises:
        ConfigError: there is no such file, it fails, or it has no such function. The function
            raises the same where it fails.
    """
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"recipe {name!r} does not exist: there is no such file")
    try:
        function = defined(path, "recipe", "function")
    except UserCodeError as error:
        raise ConfigError(f"recipe {name!r}: {error}") from error

    def recipe(*arguments: Any) -> Any:
        try:
            return allow(called(path, function, *arguments))
        except UserCodeError as error:
            raise ConfigError(f"recipe {name!r}: {error}") from error

    return recipe


def _front(objective: str, scale: Scale, data: str | None, selection: Selection) -> SweepConfig:
    base = replace(_on_data(objective, scale, data), lam=0.0)
    images = base.data
    if selection == "test":  # as published: every image trains
        images = replace(images, validation_size=0)
    elif images.validation_size == 0:  # a point of a front is chosen on images of its own
        images = _with_validation(images)
    usual = training(objective, Basis(scale=scale)).data.name
    named = "" if images.name == usual else f"-{label(images.name)}"
    return SweepConfig(
        name=plain_name(f"{objective}-{scale}{named}"),
        experiment=plain_name(f"{label(images.name)}-{scale}"),
        base=replace(base, data=images),
        battery=BatteryConfig(name="risks", steps=20),
        seeds=3 if scale == "full" else 1,  # one is no evidence for figures that others quote
        selection=selection,
    )


def _on_data(objective: str, scale: Scale, name: str | None) -> TrainConfig:
    """A training on a data set, of which it takes the schedule, also where it is substandard."""
    parent, kind = _parent(name)
    if scale == "full" and parent and parent not in SCHEDULES:  # a user's own
        config = training(objective, Basis(scale=scale))
        return replace(config, data=of_another(config.data, name))
    config = training(objective, Basis(scale=scale, data=parent, kind=kind))
    return config if name is None else replace(config, data=replace(config.data, name=name))


def _parent(name: str | None) -> tuple[str | None, TrainingData]:
    """Data set that a substandard one was made of, and how; any other set is its own."""
    for kind, norm in product(SUBSTANDARD, NORMS):
        parent = (name or "").removesuffix(substandard_name("", kind, norm))
        if parent != name and parent in DATASETS:
            return parent, kind
    return name, "quality"


def _with_validation(data: DataSpec) -> DataSpec:
    """Take a tenth of the training images, or 1,000 of them all, for validation."""
    if data.train_size is None:
        return replace(data, validation_size=1000)
    kept = data.train_size // 10
    return replace(data, train_size=data.train_size - kept, validation_size=kept)


def _tiny(_objective: str, basis: Basis) -> TrainConfig:
    """The handwritten digits that scikit-learn carries: seconds a training on one CPU core."""
    digits = DataSpec(name="digits", train_size=100, validation_size=500)
    return TrainConfig(
        attack=AttackConfig(threat=ThreatModel(eps=0.15)),
        data=of_another(digits, basis.data),
        model="small_cnn",
        optimizer=OptimizerConfig(epochs=40, batch_size=50, lr=0.05),
    )


def _small(_objective: str, basis: Basis) -> TrainConfig:
    """5,000 images of CIFAR-10 and a small residual net: minutes a training on two CPU cores."""
    cifar10 = DataSpec(name="cifar10", train_size=5000, validation_size=0)
    return TrainConfig(
        data=of_another(cifar10, basis.data),
        augmentation=Augmentation(crop_padding=4, flip=basis.data != "svhn"),
        model="small_resnet",
        width=16,
        optimizer=OptimizerConfig(epochs=15, batch_size=100, lr=0.1),
    )


def _full(objective: str, basis: Basis) -> TrainConfig:
    """The papers' own data, nets and schedules."""
    name = basis.data or "cifar10"
    if name not in SCHEDULES:
        known = ", ".join(SCHEDULES)
        raise ConfigError(f"data.name has no full-scale recipe for {name!r}; known: {known}")
    if name == "imagenet":
        return imagenet()
    model = basis.model or "resnet18"
    optimizer = replace(SCHEDULES[name], lr=_lr(name, model, basis))
    one_step = find_objective(objective).one_step
    if one_step:
        optimizer = FAST_AT
    return TrainConfig(
        data=DataSpec(name=name, train_size=None, validation_size=0),
        augmentation=Augmentation(crop_padding=4, flip=name != "svhn"),
        model=model,
        optimizer=optimizer,
        precision="bf16" if one_step else "fp32",
    )


SCALES: dict[Scale, Callable[[str, Basis], TrainConfig]] = {
    "tiny": _tiny,
    "small": _small,
    "full": _full,
}


def _lr(data: str, model: str, basis: Basis) -> float:
    """The first learning rate: 0.01 instead of 0.1 if the paper, or the code, says so."""
    unlearnable = basis.kind in ("noise", "mislabeling")
    slow = model in ("mlp", "vgg16") and unlearnable
    if basis.constants == "code":
        slow = model == "mlp" or (model == "vgg16" and unlearnable)
    return 0.01 if slow else SCHEDULES[data].lr


def _attack(objective: str, basis: Basis, threat: ThreatModel) -> AttackConfig:
    """10 steps of eps / 4 from a random start; FastAT's one of 1.25 eps."""
    eps = basis.eps if basis.eps is not None else threat.eps if basis.norm == "linf" else 0.5
    threat = ThreatModel(norm=basis.norm, eps=eps)
    spec = find_objective(objective)
    if spec.one_step:
        return AttackConfig(threat=threat, steps=1, step_size=1.25 * eps)
    if basis.constants == "code" and spec.weighted:
        return AttackConfig(threat=threat, steps=10, start="gaussian")
    if basis.constants == "code" and basis.norm == "l2":
        return AttackConfig(threat=threat, steps=10, start="sphere")
    return AttackConfig(threat=threat, steps=10)


def _of_kind(config: TrainConfig, kind: TrainingData) -> TrainConfig:
    """Change a training to substandard data (Tao et al. 2022, 3.2), or to helped ones."""
    if kind == "quality":
        return config
    if config.phases:  # each of them reads a set of its own, and there are no such sets
        raise ConfigError(f"kind must be quality for {config.data.name}, got {kind!r}")
    if kind == "naive":
        return replace(config, optimizer=replace(config.optimizer, epochs=0, schedule="step"))
    name = substandard_name(config.data.name, kind, config.attack.threat.norm)
    config = replace(config, data=replace(config.data, name=name))
    if kind in PERTURBED:
        return config
    return replace(
        config,
        augmentation=Augmentation(),
        optimizer=replace(config.optimizer, weight_decay=0.0),
    )
