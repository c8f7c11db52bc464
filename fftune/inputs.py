"""Nets and data in the forms in which people have them: names, files, modules, tensors."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    ModelSpec,
    Norm,
    Split,
    ThreatModel,
    TrainConfig,
    read_settings,
    require,
)
from fftune.config.data import of_another
from fftune.config.normalisation import DATA, constants_of
from fftune.config.overrides import with_checked
from fftune.config.validation import read_number
from fftune.data import Dataset
from fftune.data.held import hold
from fftune.data.in_memory import dataset_of
from fftune.data.model_spec import with_inputs
from fftune.errors import ConfigError, ModelError
from fftune.models import eval_mode
from fftune.models.layers import Normalized
from fftune.models.specs import named_spec, read_spec, with_named_code, with_named_data
from fftune.models.variants import checkpoint_at
from fftune.training.checkpoint import Checkpoint

AnyNet = nn.Module | Checkpoint | ModelSpec | str | Path
"""A net in any of the forms that people have."""


class GivenNet(NamedTuple):
    """A net, what it is called, and the training that made it, where that is known."""

    net: nn.Module | ModelSpec | str
    name: str
    weights: str = ""
    weights_key: str = ""
    normalize: str = ""
    config: TrainConfig | None = None
    place: Path | None = None
    """Folder of the checkpoint that says all this, and may be from elsewhere."""


def given_net(
    net: Any, weights: str = "", *, weights_key: str = "", normalize: str = ""
) -> GivenNet:
    """Sort out which of its forms a net has.

    Args:
        weights, weights_key, normalize: of a net by name; see `config.ModelSpec`. A module in
            memory may be normalised too.

    Raises:
        ModelError: it is none of them, or weights are given to a net that has its own.
        ConfigError: the normalisation is none, or the net brings its own.
    """
    folder = checkpoint_at(str(net)) if isinstance(net, str | Path) else None
    if isinstance(net, str | Path) and folder is None:
        if isinstance(net, Path) and not net.is_file():
            read_spec(net)  # says that there is no complete checkpoint
        return GivenNet(str(net), "", weights, weights_key, normalize)
    if isinstance(net, nn.Module) and normalize and not weights:
        constants = constants_of(normalize)
        if normalize == DATA:
            raise ConfigError("normalize must be numbers or a name for a net in memory")
        inside = net if constants is None else Normalized(net, *constants)
        return GivenNet(inside, type(net).__name__)
    require("normalize", not normalize, "left out for a net that has its own", normalize)
    if weights:
        raise ModelError("weights must be left out for a net that has its own")
    if folder is not None:
        spec = read_spec(folder)
        config = read_settings(TrainConfig, folder / "config.json", error=ModelError)
        spec = with_named_code(spec, folder)
        return GivenNet(spec, spec.label, config=config, place=folder)
    if isinstance(net, Checkpoint):
        return GivenNet(net.model, net.config.objective, config=net.config)
    if isinstance(net, ModelSpec):
        return GivenNet(net, net.label)
    if isinstance(net, nn.Module):
        return GivenNet(net, type(net).__name__)
    raise ModelError(f"net must be a module, a name or a checkpoint, got {type(net).__name__}")


def given_others(
    nets: AnyNet | Sequence[AnyNet],
) -> tuple[tuple[str, ...], tuple[tuple[str, nn.Module | ModelSpec], ...]]:
    """Sort nets that points are crafted on into places, and named ones in memory or described.

    Raises:
        ModelError: one is no net.
    """
    # A string is a sequence, and one net.
    several = nets if isinstance(nets, Sequence) and not isinstance(nets, str) else (nets,)
    places, others = [], []
    for one in several:
        if isinstance(one, str | Path):
            places.append(str(one))
            continue
        try:
            found = given_net(one)
        except ModelError as error:
            raise ModelError(f"transfer: {error}") from None
        assert not isinstance(found.net, str)  # a name is a place
        others.append((found.name, found.net))
    return tuple(places), tuple(others)


def given_battery(
    battery: str | BatteryConfig, settings: Mapping[str, Any], transfer: Sequence[str]
) -> BatteryConfig:
    """A battery by its name or its settings, with others replaced and places of nets added.

    Raises:
        ConfigError: it is none, or a setting is unknown or out of range.
    """
    battery = BatteryConfig(name=battery) if isinstance(battery, str) else battery
    require("battery", isinstance(battery, BatteryConfig), "a name or a BatteryConfig", battery)
    battery = with_checked(battery, settings)
    return replace(battery, transfer=(*battery.transfer, *transfer))


def given_defense(defense: str | Sequence[str] | DefenseConfig) -> DefenseConfig | None:
    """Defenses by a name, names or settings; None where there are none."""
    if isinstance(defense, str):
        defense = (defense,)
    if not isinstance(defense, DefenseConfig):
        defense = DefenseConfig(names=tuple(defense))
    return defense if defense.names else None


def given_data(found: GivenNet, data: Any, split: Split, classes: Any) -> DataSpec | Dataset:
    """The images, named or in memory."""
    data = f"folder:{data}" if isinstance(data, Path) else data
    if found.place is not None and found.config is not None and isinstance(data, str | None):
        return with_named_data(found.config.data, found.place, data)
    if data is None and found.config is not None:
        return found.config.data
    if data is None:
        raise ConfigError("data is missing: name a data set, or give (x, y) or a DataLoader")
    if isinstance(data, DataSpec | Dataset):
        return data
    if isinstance(data, str):
        if found.config is not None:
            return of_another(found.config.data, data)
        return DataSpec(name=data)
    dataset = dataset_of(data, classes=classes, split=split)
    named = dataset.source.classes != tuple(map(str, range(len(dataset.source.classes))))
    if classes is None and not named and isinstance(found.net, nn.Module):
        names = tuple(map(str, range(_outputs(found.net, dataset))))
        return replace(dataset, source=replace(dataset.source, classes=names))
    return dataset


def named_data(data: Any) -> str | None:
    """The name of data for a training, which those in memory are given."""
    if data is None or isinstance(data, str):
        return data
    return f"folder:{data}" if isinstance(data, Path) else hold(data)


def _outputs(net: nn.Module, dataset: Dataset) -> int:
    """Count the logits of a net; where it does not answer, the classes of the labels."""
    _, x, _ = next(dataset.batches(1))
    with torch.no_grad(), eval_mode(net), contextlib.suppress(Exception):
        logits = net(x.to(next((p.device for p in net.parameters()), x.device)))
        if isinstance(logits, Tensor) and logits.ndim == 2:
            return int(logits.shape[1])
    return len(dataset.source.classes)


def built_for(found: GivenNet, images: DataSpec | Dataset, split: Split) -> nn.Module | ModelSpec:
    """The net, or how to build it for these images."""
    if not isinstance(found.net, str):
        return found.net
    spec = named_spec(
        found.net, found.weights, weights_key=found.weights_key, normalize=found.normalize
    )
    if isinstance(images, DataSpec):
        return with_inputs(spec, images, split)
    return spec if ".py:" in found.net else replace(spec, inputs=images.inputs)


def threat_of(found: GivenNet, eps: float | str | None, norm: Norm | None) -> ThreatModel:
    """The ball: what is not given is the checkpoint's, else the norm's own.

    Args:
        eps: in pixels of [0, 1]; a text may be a fraction, as in "8/255".

    Raises:
        ConfigError: the radius is no number, or out of range; or there is no such norm.
    """
    if isinstance(eps, str):
        try:
            eps = read_number(eps)
        except ValueError:
            rule = "a number, or a fraction as in 8/255"
            raise ConfigError(f"eps must be {rule}, got {eps!r}") from None
    own = found.config.attack.threat if found.config else ThreatModel()
    if norm is not None and norm != own.norm:
        own = ThreatModel(norm=norm)
    return own if eps is None else replace(own, eps=eps)
