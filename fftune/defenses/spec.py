"""The protocol of a test-time defense, and the record that a defense has in the registry.

A defense changes the images before a net predicts them, or is a whole net around a net. `answered`
asks either; verdicts and adaptive attackers go through it alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fftune.config import DefenseConfig, ThreatModel
from fftune.errors import ConfigError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.registry import DEFENSES, code_of, label, require_call


class Purify(Protocol):
    """Function that changes inputs before a net predicts them."""

    def __call__(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """Return (B, C, H, W) inputs for the net.

        Args:
            model: takes (B, C, H, W) in [0, 1], returns (B, K) logits.
            x: (B, C, H, W) float, pixels in [0, 1], attacked or not; must not be changed.
            noise: the defender's randomness; attackers draw from another branch.
            ids: (B,) int64, the examples' ids, which key all random draws, so that an example
                is purified alike whatever else is in the batch.
        """
        ...


class Wrap(Protocol):
    """Function that answers in a net's stead: a net around a net."""

    def __call__(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """Return (B, K) logits: of probabilities or shares of votes, the logarithm.

        Arguments are those of `Purify`. The model may be asked as often as need be, always about
        all B examples in their order, as some nets that attackers hand over keep count of them.
        """
        ...


class Defense(Protocol):
    """A test-time defense with its settings: a frozen dataclass of plain values and dataclasses.

    Its fields travel to workers and are hashed; those of another defense must differ. It has one
    of `purify` and `wrap`, as a method or a property.
    """

    @property
    def purify(self) -> Purify | None:
        """The function that changes inputs; None where it wraps the net."""
        return None

    @property
    def wrap(self) -> Wrap | None:
        """The function that answers in the net's stead; None where it changes inputs."""
        return None

    @property
    def passes(self) -> int:
        """Forward passes through the net beside the one that predicts; 0 asks no more of it."""
        return 0

    @property
    def needs_gradients(self) -> bool:
        """True: each of the passes takes a gradient, and nets without any are refused."""
        return False

    @property
    def differentiable(self) -> bool:
        """True: adaptive attackers differentiate the defense itself; else they take its derivative
        for the identity (BPDA): that of the net at purified images, or of the net that is wrapped.
        """
        return False

    @property
    def stochastic(self) -> bool:
        """False: it draws nothing of its noise, so that one draw stands for all."""
        return True

    @property
    def surrogate(self) -> "Defense | None":
        """The defense that adaptive attackers search through in its stead; None: itself."""
        return None

    @property
    def cheaper(self) -> "Defense | None":
        """A defense of fewer passes near to it, through which the strongest adaptive attack
        searches; it judges what it finds behind the whole defense. None: there is none.
        """
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseSpec:
    """Record of a defense: an entry of `fftune.registry.DEFENSES`, or `NAME` of `FILE.py:NAME`.

    Give `purify` or `wrap` for a defense without settings, or `make` for one that follows those of
    `DefenseConfig`.
    """

    purify: Purify | None = None
    wrap: Wrap | None = None
    """A net around the net, instead of `purify`."""
    passes: int = 0
    """Forward passes through the net for each example, beside the one that predicts it."""
    needs_gradients: bool = False
    """True: each of these passes takes a gradient."""
    differentiable: bool = False
    """True: autograd can pass through the function, and adaptive attackers do; else they take its
    derivative for the identity (BPDA), which finds too little behind whatever moves or mixes
    pixels."""
    stochastic: bool = True
    """False: it draws nothing of its noise, so that attackers average over one draw alone."""
    surrogate: Defense | None = None
    """Defense that adaptive attackers search through in its stead, as another record without
    `make`: mean probabilities for a vote, say. Their points are judged behind the vote itself."""
    cheaper: Defense | None = None
    """Defense of fewer passes near to it; see `Defense.cheaper`."""
    reads: tuple[str, ...] | None = None
    """Settings that it reads of the hedges' `norm`, `eps_d`, `steps`, `step_size` and `clamp`;
    None: any."""
    make: Callable[[DefenseConfig, ThreatModel], Defense] | None = None
    """Builds the defense from settings and the attackers' ball, which some settings follow."""

    def __post_init__(self) -> None:
        if [self.purify, self.wrap, self.make].count(None) != 2:
            raise ConfigError("DefenseSpec must have one of purify, wrap and make")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDefense(Defense):
    """A defense without settings, looked up by its name wherever it is applied."""

    name: str
    """Name in the registry."""
    code: str = ""
    """Digest of the user's file that holds it, which tells its versions apart."""

    @property
    def purify(self) -> Purify | None:
        """The function that changes inputs, if the record holds one."""
        return defense_spec(self.name).purify

    @property
    def wrap(self) -> Wrap | None:
        """The function that answers in the net's stead, if the record holds one."""
        return defense_spec(self.name).wrap

    @property
    def passes(self) -> int:
        """Forward passes through the net for each example, beside the one that predicts it."""
        return defense_spec(self.name).passes

    @property
    def needs_gradients(self) -> bool:
        """True: each of these passes takes a gradient."""
        return defense_spec(self.name).needs_gradients

    @property
    def differentiable(self) -> bool:
        """True: autograd can pass through the function."""
        return defense_spec(self.name).differentiable

    @property
    def stochastic(self) -> bool:
        """False: the function draws nothing of its noise."""
        return defense_spec(self.name).stochastic

    @property
    def surrogate(self) -> Defense | None:
        """The defense that adaptive attackers search through in its stead."""
        return defense_spec(self.name).surrogate

    @property
    def cheaper(self) -> Defense | None:
        """The defense of fewer passes that the record holds."""
        return defense_spec(self.name).cheaper


def answered(defense: Defense, model: nn.Module, x: Tensor, noise: ExampleNoise) -> Tensor:
    """(B, K) logits of a net behind a defense, under one draw of its noise.

    Args:
        x: (B, C, H, W), pixels in [0, 1].
        noise: the defender's, for the examples of the batch.

    Raises:
        ConfigError: the defense returns what are no images of this shape, or no logits, or
            changes the images it is given.
    """
    if defense.wrap is None:
        x_def = purified(defense, model, x, noise)
        # Only attackers differentiate: a verdict asks the net as one without a defense does.
        with torch.set_grad_enabled(torch.is_grad_enabled() and x_def.requires_grad):
            logits: Tensor = model(x_def)
        return logits
    found = _told(defense, defense.wrap, model, x, noise)
    if fault := _fault(found, len(x)):
        raise ConfigError(f"{_named(defense)} must return logits of ({len(x)}, K), got {fault}")
    wrapped: Tensor = found
    return wrapped


def _fault(found: Any, count: int) -> str:
    """Fault of what a wrap returned, which is to be (count, K) logits; else ""."""
    if not isinstance(found, Tensor):
        return type(found).__name__
    if found.dim() != 2 or len(found) != count:
        return f"{tuple(found.shape)}"
    if not found.is_floating_point():
        return f"values of {found.dtype}"
    values = found.detach()
    if not bool(values.isfinite().all()):
        return "values that are not finite"
    sums = values.double().sum(1)
    if count > 3 and bool((values >= 0).all()) and torch.allclose(sums, torch.ones_like(sums)):
        return "probabilities, whose logarithm are logits"
    return ""


def purified(defense: Defense, model: nn.Module, x: Tensor, noise: ExampleNoise) -> Tensor:
    """Purify a batch by a defense that is no wrapped net.

    Args:
        x: (B, C, H, W), pixels in [0, 1].
        noise: the defender's, for the examples of the batch.

    Raises:
        ConfigError: the defense returns images of another shape, or changes those it is given.
    """
    assert defense.purify is not None  # it has one of purify and wrap
    x_def = _told(defense, defense.purify, model, x, noise)
    if not isinstance(x_def, Tensor) or x_def.shape != x.shape:
        got = tuple(x_def.shape) if isinstance(x_def, Tensor) else type(x_def).__name__
        raise ConfigError(f"{_named(defense)} must return images of {tuple(x.shape)}, got {got}")
    changed: Tensor = x_def
    return changed


def _told(
    defense: Defense, ask: Purify | Wrap, model: nn.Module, x: Tensor, noise: ExampleNoise
) -> Any:
    """Ask a defense, which must leave x alone: other draws and defenses are given it, too."""
    version = x._version
    found: Any = ask(model, x, noise=noise.noise, ids=noise.ids)
    if x._version != version:
        raise ConfigError(f"{_named(defense)} must not change the images that it is given")
    return found


def require_finite(defense: Defense, logits: Tensor) -> None:
    """Raise `ConfigError` where a net behind a defense answers with what names no class."""
    if not bool(logits.isfinite().all()):
        raise ConfigError(f"{_named(defense)} leads the net to logits that are not finite")


def _named(defense: Defense) -> str:
    """The defense as messages call it."""
    name = defense.name if isinstance(defense, NamedDefense) else type(defense).__name__
    return f"defense {name!r}"


def defense_spec(name: str) -> DefenseSpec:
    """The record of a defense by its name; a plain `purify` function gets a record of defaults.

    Raises:
        ConfigError: there is no such defense, or it is no function.
    """
    entry: Any = DEFENSES[name]
    if isinstance(entry, DefenseSpec):
        return entry
    if not callable(entry):
        kind = type(entry).__name__
        raise ConfigError(f"defense {name!r} must be a DefenseSpec or a function, got {kind}")
    require_call(f"defense {name!r}", entry, None, None, noise=None, ids=None)
    return DefenseSpec(purify=entry)


def defenses_of(config: DefenseConfig, threat: ThreatModel) -> dict[str, Defense]:
    """The named defenses but "none", by the names that rows print.

    Args:
        threat: the attackers', which settings that are not given follow.
    """
    found: dict[str, Defense] = {}
    for name in config.names:
        if name != "none":
            found[label(name)] = _defense(name, config, threat)
    return found


def _defense(name: str, config: DefenseConfig, threat: ThreatModel) -> Defense:
    spec = defense_spec(name)
    if spec.make is None:
        return NamedDefense(name=name, code=code_of(name))
    return spec.make(config, threat)
