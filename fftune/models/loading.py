"""The one way to a net: by a name of the table, from a source, a user's file, a checkpoint."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fftune.config import Constants, InputSpec, ModelSpec, require
from fftune.config.model import NOT_PUBLISHED, VARIANTS, Origin
from fftune.config.normalisation import DATA, NONE, RULE, constants_of, spelled
from fftune.config.normalisation import Constants as Channels
from fftune.errors import ConfigError, ModelError, UserCodeError
from fftune.models.conditional import ConditionalNet
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize, Normalized
from fftune.models.origins.spec import AS_THEY_ARE, Asked, Built, ModelSource
from fftune.models.specs import OURS
from fftune.models.weights import read_weights, weights_hash
from fftune.registry import MODEL_SOURCES, MODELS, source_prefix
from fftune.user_code import answering, called, defined

log = logging.getLogger(__name__)


class InputsNeededError(ModelError):
    """A net is built for its images, and nobody has said what they are."""

    def __init__(self, factory: str) -> None:
        super().__init__(f"model {factory!r} needs inputs: shape, classes, mean, std")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A net in eval mode, and what it was built from."""

    net: nn.Module
    spec: ModelSpec
    """Its spec with the normalisation and the origin that were found."""
    classes: tuple[str, ...]
    """Class names in the order of its logits, where its source has them."""


def make_model(
    name: str,
    inputs: InputSpec,
    *,
    seed: int = 0,
    width: int | None = None,
    constants: Constants = "paper",
) -> nn.Module:
    """A freshly initialised net in train mode; the same seed gives the same weights.

    Args:
        name: a name of the table MODELS, `FILE.py:NAME` (`_of_user`), or `PREFIX:NAME` of a
            source of architectures, with normalisation before it.
        width: channels of the first stage or hidden units; None builds the published net. A
            user's function has no other width.

    Raises:
        ConfigError: there is no net of that name, or it cannot take such images or width.
        ModelError: the user's function gives no net.
    """
    require("width", width is None or width >= 1, ">= 1", width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if ".py:" in name or source_prefix(name):
            spec = ModelSpec(factory=name, inputs=inputs, width=width, constants=constants)
            with answering(f"model {name!r}"):
                return loaded(spec, bare=True).net.train()
        MODELS.check("model", name)
        entry: ModelEntry = MODELS[name]
        return entry(inputs, width=width, constants=constants)


def load_model(spec: ModelSpec) -> nn.Module:
    """The net of a spec, in eval mode; see `loaded`."""
    return loaded(spec).net


def loaded(spec: ModelSpec, *, bare: bool = False) -> Loaded:
    """Build the net of a spec and fill it with its weights.

    Args:
        bare: the architecture alone, into which other weights will be read.

    Raises:
        InputsNeededError: the net is built for its images, and the spec does not describe them.
        ModelError: the net cannot be built, the weights are missing, damaged, of another net, or
            not those of the hash; or nobody says which normalisation it expects.
    """
    if spec.conditioning and not bare:
        top = spec.conditioning.top
        raise ModelError(
            f"weights {spec.weights!r} are one net for every lambda from 0 to {top:g}: name one of "
            "them, as in CHECKPOINT@lam=20"
        )
    fresh = bare or bool(spec.weights)
    built = _built(spec, fresh=fresh)
    constants, why = _normalisation(spec, built, fresh=fresh)
    told = [f"{VARIANTS[spec.variant]}, {NOT_PUBLISHED}"] if spec.variant else []
    told += [built.told] if built.told else []
    with answering(f"model {spec.factory!r}"):
        net = built.net if constants is None else Normalized(built.net, *constants)
        if spec.weights and not bare:
            read = read_weights(net, spec.weights, spec.weights_key)
            told += [] if spec.hash else [read.told]
            why = "its weights" if read.normalizes and why == NOBODY else why
            if read.constants and not spec.normalize:
                constants, why = read.constants, "a normalizer in its weights"
                net = _before(net, *read.constants)
        if not bare:
            _require_hash(net, spec)
        net = net.eval()
    if why == NOBODY and not bare:
        _tell_guess(spec)
    if (told and why) or spec.normalize:
        told.append(_pixels(net, why))
    if not _is_ours(spec):
        spec = replace(spec, normalize=spelled(_constants(net)))
    origin = Origin(version=built.version, told="; ".join(told)) if told else None
    return Loaded(net=net, spec=replace(spec, origin=origin), classes=built.classes)


def load_conditional(spec: ModelSpec) -> ConditionalNet:
    """The net of a spec for all lambdas, in eval mode.

    Raises:
        ModelError: it is a net of its own lambda; or see `loaded`.
    """
    if spec.conditioning is None:
        raise ModelError(f"weights {spec.weights!r} are no net for all lambdas, but for one alone")
    net = ConditionalNet(loaded(replace(spec, conditioning=None), bare=True).net, spec.conditioning)
    read_weights(net, spec.weights, spec.weights_key)
    _require_hash(net, spec)
    return net.eval()


def _require_hash(net: nn.Module, spec: ModelSpec) -> None:
    if spec.hash and (found := weights_hash(net)) != spec.hash:
        raise ModelError(f"weights {spec.weights!r} have hash {found}, expected {spec.hash}")


def _before(net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """The net with this normalisation before it, in the place of its own where it has one."""
    if isinstance(getattr(net, "normalize", None), Normalize):
        net.normalize = Normalize(mean, std)
        return net
    return Normalized(net, mean, std)


def _constants(net: nn.Module) -> Channels | None:
    """The normalisation that was put before a net."""
    if not isinstance(net, Normalized):
        return None
    mean, std = (part.flatten().tolist() for part in (net.normalize.mean, net.normalize.std))
    return tuple(mean), tuple(std)


def _pixels(net: nn.Module, why: str) -> str:
    layer = getattr(net, "normalize", None)
    if not isinstance(layer, Normalize):
        return f"takes pixels in [0, 1] ({why})"
    mean, std = (
        " ".join(f"{one:.4g}" for one in part.flatten().tolist())
        for part in (layer.mean, layer.std)
    )
    return f"takes pixels in [0, 1], normalised by mean {mean}, deviation {std} ({why})"


NOBODY = "the data's own, as nobody says which the weights were trained with"
"""Says which normalisation stands before a net whose source says none."""


def _is_ours(spec: ModelSpec) -> bool:
    return spec.factory.startswith(OURS)


def _built(spec: ModelSpec, *, fresh: bool) -> Built:
    """The net in its own convention.

    Raises:
        InputsNeededError, ModelError, ConfigError: see `loaded`.
    """
    if _is_ours(spec):
        return Built(net=_of_ours(spec), version="", told="", said_by=OURS)
    prefix = source_prefix(spec.factory)
    if not prefix:
        return _of_user(spec, fresh=fresh)
    if spec.width is not None:
        raise ConfigError(f"width must be left out for {spec.factory!r}, got {spec.width!r}")
    source: ModelSource = MODEL_SOURCES[prefix]
    if source.sized and spec.weights and spec.inputs is None:
        raise InputsNeededError(spec.factory)
    name = spec.factory.removeprefix(f"{prefix}:")
    return source.build(Asked(name=name, inputs=spec.inputs, fresh=fresh))


def _of_ours(spec: ModelSpec) -> nn.Module:
    inputs = spec.inputs
    if inputs is None:
        raise InputsNeededError(spec.factory)
    channels = inputs.shape[0]
    nothing = (0.0,) * channels, (1.0,) * channels
    mean, std = constants_of(spec.normalize) or (
        nothing if spec.normalize == NONE else (inputs.mean, inputs.std)
    )
    name, inputs = spec.factory.removeprefix(OURS), replace(inputs, mean=mean, std=std)
    return make_model(name, inputs, width=spec.width, constants=spec.constants)


def _normalisation(spec: ModelSpec, built: Built, *, fresh: bool) -> tuple[Channels | None, str]:
    """Constants of the normalisation to put before a net, and who says so.

    Raises:
        InputsNeededError: they are the data's, which are not known yet.
        ModelError: nobody says which the net expects.
    """
    named = spec.normalize
    if _is_ours(spec):  # it is inside
        return None, "--normalize" if named else ""
    if named not in ("", DATA):
        return constants_of(named), "--normalize"
    if not named and (built.constants is not None or built.said_by):
        return built.constants, built.said_by
    if not named and not fresh:
        raise ModelError(
            f"model {spec.factory!r} does not say which normalisation it expects; name it by "
            f"--normalize: {RULE}"
        )
    if spec.inputs is None:
        raise InputsNeededError(spec.factory)
    return (spec.inputs.mean, spec.inputs.std), "--normalize" if named else NOBODY


def _tell_guess(spec: ModelSpec) -> None:
    """Warn that the data's own normalisation was taken.

    Raises:
        ModelError: the data, as tensors in memory, have none.
    """
    nobody = f"nobody says which normalisation weights {spec.weights!r} were trained with"
    if spec.inputs is None or not any(spec.inputs.mean):
        raise ModelError(f"{nobody}; name it by --normalize: {RULE}")
    log.warning("%s: the data's own is taken; --normalize names another: %s", nobody, RULE)


def _of_user(spec: ModelSpec, *, fresh: bool) -> Built:
    """The net of `path/to/file.py:NAME`, a function that is called without arguments.

    `path/to/file.py:NAME:TEXT` calls it with that text. The file is run, as importing it would;
    its neighbours can be imported, as from a script. NAME may also be a `ModelEntry`, which is
    built for `inputs`, as the nets of this package are, or a `ModelSource`, for which TEXT is the
    name of a net.

    Raises:
        ConfigError: another width is asked for than the function's own.
        ModelError: there is no such file or function, it fails, or returns something else.
    """
    file = source_of(spec.factory)
    if file is None:
        raise ModelError(MODELS.refusal(spec.factory))
    name, colon, text = spec.factory.rpartition(".py:")[2].partition(":")
    arguments: list[Any] = [text] if colon else []
    named: dict[str, Any] = {}
    try:
        found = defined(file, name, "function")
        if isinstance(found, ModelEntry):
            if spec.inputs is None:
                raise InputsNeededError(spec.factory)
            arguments = [spec.inputs]
            named = {"width": spec.width, "constants": spec.constants}
        elif spec.width is not None:
            own = f"width must be left out for a net of one's own, got {spec.width!r}"
            raise ConfigError(f"{own} ({spec.factory})")
        elif isinstance(found, ModelSource):
            if found.sized and spec.weights and spec.inputs is None:
                raise InputsNeededError(spec.factory)
            arguments = [Asked(name=text, inputs=spec.inputs, fresh=fresh)]
        net = called(file, lambda: found(*arguments, **named))
    except UserCodeError as error:
        raise ModelError(f"model {spec.factory!r}: {error}") from error
    if isinstance(net, Built):
        return net
    if not isinstance(net, nn.Module):
        raise ModelError(f"model {spec.factory!r} returned {type(net).__name__}, not a module")
    return Built(net=net, version="", told="", said_by=AS_THEY_ARE)


def source_of(factory: str) -> Path | None:
    """The file that a user's net comes from; None for a factory that names no file."""
    path, found, _ = factory.rpartition(".py:")
    return Path(f"{path}.py") if found and path else None
