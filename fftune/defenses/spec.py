"""The protocol of a test-time defence, and the record that a defence has in the registry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from fftune.config import DefenseConfig, HedgeConfig, ThreatModel
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


class Defense(Protocol):
    """A test-time defence with its settings: a frozen dataclass of plain values and dataclasses.

    Its fields travel to workers and are hashed; those of another defence must differ. A costly
    defence may have a property `surrogate`, a cheaper `Defense` near to it; see `surrogate_of`.
    """

    @property
    def purify(self) -> Purify:
        """The function that changes inputs."""
        ...

    @property
    def passes(self) -> int:
        """Forward passes through the net that purifying takes; 0 asks nothing of the net."""
        ...

    @property
    def needs_gradients(self) -> bool:
        """True: each of the passes takes a gradient, and nets without any are refused."""
        ...

    @property
    def differentiable(self) -> bool:
        """True: adaptive attackers differentiate `purify` itself; else they take its derivative
        for the identity (BPDA).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseSpec:
    """Record of a defence: an entry of `fftune.registry.DEFENSES`, or `NAME` of `FILE.py:NAME`.

    Give `purify` for a defence without settings, or `make` for one that follows those of
    `DefenseConfig`.
    """

    purify: Purify | None = None
    passes: int = 0
    """Forward passes through the net that `purify` takes for each example."""
    needs_gradients: bool = False
    """True: each of these passes takes a gradient."""
    differentiable: bool = False
    """True: autograd can pass through `purify`, and adaptive attackers do; else they take its
    derivative for the identity (BPDA), which finds too little behind whatever moves or mixes
    pixels."""
    make: Callable[[HedgeConfig], Defense] | None = None
    """Builds the defence from `DefenseConfig.hedge`, instead of `purify`."""

    def __post_init__(self) -> None:
        if (self.purify is None) == (self.make is None):
            raise ConfigError("DefenseSpec must have one of purify and make")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDefense:
    """A defence without settings, looked up by its name wherever it is applied."""

    name: str
    """Name in the registry."""
    code: str = ""
    """Digest of the user's file that holds it, which tells its versions apart."""

    @property
    def purify(self) -> Purify:
        """The function that the record holds."""
        purify = defense_spec(self.name).purify
        assert purify is not None  # `defenses_of` makes no other
        return purify

    @property
    def passes(self) -> int:
        """Forward passes through the net for each example."""
        return defense_spec(self.name).passes

    @property
    def needs_gradients(self) -> bool:
        """True: each of these passes takes a gradient."""
        return defense_spec(self.name).needs_gradients

    @property
    def differentiable(self) -> bool:
        """True: autograd can pass through the function."""
        return defense_spec(self.name).differentiable


def surrogate_of(defense: Defense) -> Defense:
    """The cheaper defence that the strongest attackers differentiate; most are their own.

    They judge what they find behind the whole defence, so that a poor surrogate makes a weaker
    attack, never a false success.
    """
    found: Defense = getattr(defense, "surrogate", defense)
    return found


def purified(defense: Defense, model: nn.Module, x: Tensor, noise: ExampleNoise) -> Tensor:
    """Purify a batch.

    Args:
        x: (B, C, H, W), pixels in [0, 1].
        noise: the defender's, for the examples of the batch.

    Raises:
        ConfigError: the defence returns images of another shape.
    """
    x_def = defense.purify(model, x, noise=noise.noise, ids=noise.ids)
    if not isinstance(x_def, Tensor) or x_def.shape != x.shape:
        got = tuple(x_def.shape) if isinstance(x_def, Tensor) else type(x_def).__name__
        raise ConfigError(f"defense must return images of shape {tuple(x.shape)}, got {got}")
    return x_def


def defense_spec(name: str) -> DefenseSpec:
    """The record of a defence by its name; a plain `purify` function gets a record of defaults.

    Raises:
        ConfigError: there is no such defence, or it is no function.
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
    """The named defences but "none", by the names that rows print.

    Args:
        threat: the attackers', which settings that are not given follow.
    """
    found: dict[str, Defense] = {}
    for name in config.names:
        if name != "none":
            found[label(name)] = _defense(name, config.hedge(threat))
    return found


def _defense(name: str, hedge: HedgeConfig) -> Defense:
    spec = defense_spec(name)
    return NamedDefense(name=name, code=code_of(name)) if spec.make is None else spec.make(hedge)
