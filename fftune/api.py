"""Evaluate, train, sweep and reproduce from Python, as `fftune.evaluate` and the like."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fftune import recipes
from fftune.config import (
    Backend,
    BatteryConfig,
    Constants,
    DefenseConfig,
    Device,
    ModelSpec,
    Norm,
    Resources,
    Selection,
    Split,
    Study,
    TrainConfig,
    with_settings,
)
from fftune.config.overrides import with_checked
from fftune.config.validation import require_word
from fftune.errors import ConfigError
from fftune.inputs import (
    AnyNet,
    built_for,
    given_battery,
    given_data,
    given_defense,
    given_net,
    given_others,
    named_data,
    threat_of,
)
from fftune.registry import OBJECTIVES
from fftune.result import Evaluation, Risks
from fftune.storage import storage_root
from fftune.sweeping.front import Front
from fftune.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from fftune.papers.reproduce import Reproduction

__all__ = ["Evaluation", "Risks", "evaluate", "reproduce", "sweep", "train"]


def evaluate(
    net: AnyNet,
    data: Any = None,
    battery: str | BatteryConfig = "risks",
    *,
    eps: float | str | None = None,
    norm: Norm | None = None,
    weights: str | Path = "",
    weights_key: str = "",
    normalize: str = "",
    classes: int | Sequence[str] | None = None,
    split: Split = "test",
    defense: str | Sequence[str] | DefenseConfig = (),
    transfer: AnyNet | Sequence[AnyNet] = (),
    seeds: int = 1,
    backend: Backend = "inline",
    resources: Resources | None = None,
    storage: str | Path | None = None,
    **settings: Any,
) -> Evaluation:
    """Attack a net with a battery.

    >>> result = evaluate(net, data=(x, y), eps=8 / 255)  # doctest: +SKIP
    >>> result.risks().hypocritical_risk  # doctest: +SKIP

    Args:
        net: a module that takes images in [0, 1] and returns logits; what `train` returned; the
            folder of a checkpoint, which runs no code (of a net of your own, give its function, and
            the checkpoint's `weights`); or a text as `fftune evaluate --model` takes it, as in
            "resnet18", "net.py:FUNCTION" or "torchvision:resnet50".
        data: a name, as in "cifar10" or "folder:PATH"; a `Path`; `(x, y)`, `(ids, x, y)` or a
            DataLoader of such batches; a data set of torch or of `datasets`. `x` is (N, C, H, W),
            floats in [0, 1] or uint8, `y` (N,) integers from 0. Default a checkpoint's own data.
        battery: a name, as in "risks" or "hypocritical".
        eps: radius in pixels of [0, 1], as in `8 / 255`. Default the checkpoint's, else the norm's:
            8/255 for linf, 0.5 for l2.
        weights: file of the weights of a net that is given by its name or by a function.
        weights_key: the container or prefix in it that is meant, where several fit.
        normalize: what the net expects of images in [0, 1], where its source does not say so:
            "none", "data", "imagenet", or "MEAN/STD".
        classes: their number, or their names in order, of data in memory; default as many as the
            net has outputs.
        defense: names of defenses under which everything is scored too, as in "hedge".
        transfer: other nets of the same images and classes, in the forms of `net`, on which points
            are crafted that are scored on the net under test.
        seeds: number of seeds of the attackers, from `seed` on, each of which runs the whole
            battery; the result is that of the first, with the others' worst cases beside it.
        backend: "ray" attacks blocks of images on the actors of a cluster, with equal rows.
        storage: a folder in which blocks of rows are kept, and found again; default none. Blocks
            are not kept where a net is in memory, as its code is not known.
        settings: fields of `BatteryConfig`, as in `examples=1000, device="cuda", seed=1`.

    Raises:
        ConfigError: a name or setting is unknown or out of range.
        DataError: the data are missing, or not what they should be.
        ModelError: the net cannot be built, or does not fit the data.
    """
    require_word("split", split, Split)
    found = given_net(net, str(weights), weights_key=weights_key, normalize=normalize)
    places, others = given_others(transfer)
    first, *further = given_battery(battery, settings, places).under_seeds(seeds)
    images = given_data(found, data, split, classes)
    defenses = given_defense(defense)
    from fftune.evaluation.evaluate import evaluate as evaluate_nets

    built = built_for(found, images, split)
    name = found.name or (built.label if isinstance(built, ModelSpec) else type(built).__name__)
    run = partial(
        evaluate_nets,
        {name: built},
        images,
        threat=threat_of(found, eps, norm),
        split=split,
        defense=defenses,
        backend=backend,
        resources=resources,
        root=storage_root(str(storage)) if storage is not None else None,
        others=others,
    )
    result = run(first)[name]
    return Evaluation(
        result.complete(),
        result.seconds,
        tuple(run(other)[name].complete() for other in further),
    )


def train(
    recipe: str | TrainConfig,
    *,
    scale: recipes.Scale = "tiny",
    kind: recipes.TrainingData = "quality",
    data: Any = None,
    model: str | None = None,
    eps: float | None = None,
    norm: Norm = "linf",
    constants: Constants = "paper",
    folder: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    **others: Any,
) -> Checkpoint:
    """Train one net in this process; `result.model` is the net, in eval mode.

    >>> checkpoint = train("thrm", scale="tiny", lam=20)  # doctest: +SKIP

    Args:
        recipe: an objective, as in "thrm", "trades_official", a file that defines
            `recipe(scale)`, or a whole config.
        scale: "tiny" (the embedded digits, seconds), "small" (5,000 images of CIFAR-10, minutes)
            or "full" (as published).
        kind: training data; all but "quality" and "naive" are written by `fftune.data write`.
        data: a name, a `Path`, or examples in memory, as `data.sources.arrays.parts_from` says.
        data, model, eps, norm, constants: what the recipe's other numbers follow from.
        folder: where the run is kept and goes on from after an interruption; default nowhere.
        settings: fields by their paths, as in `{"optimizer.epochs": 5}`.
        others: fields of `TrainConfig`, as in `lam=20, seed=1`.

    Raises:
        ConfigError: a recipe or setting is unknown or out of range.
        DataError: the data are missing.
        DivergedError: the loss is nan or infinite.
    """
    if isinstance(recipe, TrainConfig):
        config = recipe
    else:
        data = named_data(data)
        basis = recipes.Basis(
            scale=scale, kind=kind, data=data, model=model, norm=norm, eps=eps, constants=constants
        )
        config = _training(recipe, basis)
    config = with_checked(config, {**others, **(settings or {})})
    from fftune.training.train import check
    from fftune.training.train import train as train_here

    check(config)
    return train_here(config, folder=Path(folder) if folder is not None else None)


def sweep(
    recipe: str | Study,
    *,
    net: ModelSpec | str | Path | None = None,
    scale: recipes.Scale = "tiny",
    data: str | None = None,
    backend: Backend = "inline",
    resources: Resources | None = None,
    storage: str | Path | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    **others: Any,
) -> Front:
    """Search settings, lambda by default, for the front of natural against hypocritical risk.

    >>> front = sweep("thrm", trials=5)  # doctest: +SKIP

    Args:
        recipe: "thrm", "trades", "hedge", a file that defines `recipe(scale)`, or a whole config.
        net: the folder of a checkpoint, or a description, for studies of a net that exists, as
            "hedge" is. A checkpoint's data and threat are the defaults.
        scale: as of `train`.
        data: data set of "thrm" and "trades", whose schedule they take.
        backend: "inline" trains one net after the other here; "ray" several at once.
        storage: the folder of results; default `FFTUNE_STORAGE`, else one in the home folder.
        resume: go on with a study that was interrupted. One that has ended is given back.
        settings: fields by their paths, as in `{"base.optimizer.epochs": 5}`.
        others: fields of the study's config, as in `name="mine", trials=5`.

    Raises:
        ConfigError: a recipe or setting is unknown or out of range.
        StudyError: the study exists with other settings, or is unfinished and `resume` is off.
        FftuneError: no trial gave a net.
    """
    from fftune.sweeping.study_kind import kind_of
    from fftune.sweeping.sweep import sweep as sweep_study

    require_word("scale", scale, recipes.Scale)
    config = recipe if isinstance(recipe, Study) else _study(recipe, scale, data, others)
    if kind_of(config).takes_model and net is None and not isinstance(recipe, Study):
        raise ConfigError("net is missing: name the folder of a checkpoint, or give a ModelSpec")
    if net is not None:
        config = _about(config, net, takes_model=kind_of(config).takes_model)
    config = with_checked(config, {**others, **(settings or {})})
    return sweep_study(
        kind_of(config).prepare(config),
        root=storage_root(str(storage) if storage is not None else None),
        backend=backend,
        resources=resources,
        resume=resume,
    )


def reproduce(
    keys: str | Sequence[str],
    *,
    scale: recipes.Scale = "tiny",
    seeds: int | None = None,
    zoo: str | Path | None = None,
    partial: bool = False,
    pictures: Sequence[Literal["png", "pdf"]] = (),
    backend: Backend = "inline",
    resources: Resources | None = None,
    device: Device = "auto",
    threads: int = 1,
    storage: str | Path | None = None,
) -> "Reproduction":
    """Train, attack and lay out tables and figures of both papers.

    >>> found = reproduce("P1.T15")  # doctest: +SKIP
    >>> found.built[0].artifacts  # doctest: +SKIP

    Args:
        keys: one or several, as `fftune reproduce --list` has them; all of a paper's, or `all`.
        scale: as of `train`.
        seeds: training seeds of tables with deviations; default the scale's.
        zoo: file of published nets, for the tables of Wu et al. 2021.
        partial: go on without published nets whose weights are not here; their rows say so.
        pictures: formats in which figures are saved as well.
        backend: "inline" does one task after the other here; "ray" several at once.
        device, threads: of each task; equal threads are part of what makes results equal.
        storage: the folder of results; default `FFTUNE_STORAGE`, else one in the home folder. What
            lies there is not done again.

    Raises:
        ConfigError: a key or setting is unknown or out of range.
        DataError: data or weights are absent; the message says which, and where they go.
    """
    from fftune.papers.declarations import Setup
    from fftune.papers.reproduce import How, keys_of
    from fftune.papers.reproduce import reproduce as reproduce_items
    from fftune.papers.zoo import read_zoo

    require_word("scale", scale, recipes.Scale)
    how = How(backend=backend, resources=resources or Resources(), device=device, threads=threads)
    root = storage_root(str(storage) if storage is not None else None)
    chosen = keys_of([keys] if isinstance(keys, str) else keys)
    nets = read_zoo(Path(zoo)) if zoo is not None else ()
    return reproduce_items(
        chosen,
        Setup(scale=scale, seeds=seeds, zoo=nets),
        root=root,
        how=how,
        pictures=pictures,
        partial=partial,
    )


def _study(recipe: str, scale: recipes.Scale, data: str | None, others: Mapping[str, Any]) -> Study:
    """Settings of a study by name, on its data.

    Raises:
        ConfigError: there is no such recipe, or it does not follow its data.
    """
    if data is not None and recipe not in recipes.FRONTS:
        raise ConfigError(f"data must be left out of {recipe!r}: it is a setting of its base")
    selection = others.get("selection", "validation")
    require_word("selection", selection, Selection)
    return recipes.study(recipe, scale, data=data, selection=selection)


def _about(config: Study, net: ModelSpec | str | Path, *, takes_model: bool) -> Study:
    """A study of a net that exists.

    Raises:
        ConfigError: the study trains its nets, or other processes could not build this one.
    """
    if not takes_model:
        raise ConfigError(f"net must be left out of a study that trains its own ({config.name})")
    found = given_net(net)
    if not isinstance(found.net, ModelSpec):
        raise ConfigError("net must be the folder of a checkpoint, or a ModelSpec")
    base = replace(config.base, net=found.net.absolute())
    if found.config is not None:
        threat = found.config.attack.threat
        attack = replace(base.attack, threat=threat)
        data = given_data(found, None, "test", None)
        base = replace(base, data=data, attack=attack)
        base = with_settings(base, {"norm": threat.norm})
    return replace(config, base=base, name=f"{config.name}-{found.net.label}")


def _training(recipe: str, basis: recipes.Basis) -> TrainConfig:
    """A training by the name of its objective, or by a file of the user's.

    Raises:
        ConfigError: there is no such recipe.
    """
    if recipe == "trades_official":
        return recipes.trades_official(basis)
    if str(recipe).endswith(".py"):
        config = recipes.own(str(recipe))(basis.scale)
        if not isinstance(config, TrainConfig):
            raise ConfigError(f"recipe {recipe!r} returned {type(config).__name__}, no TrainConfig")
        return config
    OBJECTIVES.check("recipe", recipe)
    return recipes.training(recipe, basis)
