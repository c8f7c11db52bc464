"""The record of an attack: one frozen value beside its search function that says all of it."""

import typing
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from fftune.config import AttackConfig, Goal, Loss, Norm, Protocol
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise
from fftune.registry import ATTACKS, require_call

BACKWARD_COST = 2
"""Cost of one backward pass, in forward passes."""


LOSSES: tuple[Loss, ...] = ("ce", "margin", "dlr", "kl", "linear")
"""Losses of an attack whose record names none."""
EVERY_LOSS: tuple[Loss, ...] = (*LOSSES, "probability_margin")


class SearchFunction(typing.Protocol):
    """Signature that all search functions share; see `pgd`."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        config: AttackConfig,
        goal: Goal,
        loss: Loss,
        noise: Noise,
        ids: Tensor,
    ) -> Tensor: ...


def gradient_steps(config: AttackConfig) -> float:
    """Cost of a search that takes a gradient at each step of each restart, in forward passes."""
    return config.steps * config.restarts * (1 + BACKWARD_COST)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSpec:
    """Search function of an attack, and all that batteries, tables and schedulers must know of it.

    An entry of `fftune.registry.ATTACKS`, of an entry point `fftune.attacks`, or `NAME` in
    `--attack.search FILE.py:NAME`.
    """

    run: SearchFunction
    losses: tuple[Loss, ...] = LOSSES
    """Losses that it climbs, its default first. A goal may allow fewer; see `losses.is_defined`."""
    norms: tuple[Norm, ...] = ("linf", "l2")
    """Norms of the balls that it can search."""
    restarts: bool = False
    """Tries `AttackConfig.restarts` random starts one after another; else more than one is
    refused."""
    protocols: tuple[Protocol, ...] = ("last_iterate",)
    """Points that it can hand over, its default first; see `AttackConfig.protocol`."""
    reads: tuple[str, ...] | None = None
    """Settings that it reads of `steps`, `step_size`, `start` and `targets`; None: any."""
    minimal: bool = False
    """Looks for the nearest success; where none lies in the ball it returns x itself, and the
    row's status is "not-found"."""
    gradient_free: bool = False
    """Asks for no gradients, so that a net without any can be attacked."""
    keeps_last: bool = False
    """Climbs a gradient and returns its last or best iterate whether it succeeded or not, as the
    attacks that Wu et al. 2021 plot hedges against."""
    may_unclamp: bool = False
    """Can search the ball without the walls of [0, 1] (`ThreatModel.clamp` off)."""
    cost: Callable[[AttackConfig], float] = gradient_steps
    """Forward passes that an example takes if it never succeeds early, roughly; a backward pass
    counts `BACKWARD_COST`. Longest tasks are scheduled first."""
    revision: int = 0
    """Raised by a change of the search that moves its rows: cached blocks of older revisions are
    not used again."""


def check_search(config: AttackConfig, loss: Loss) -> None:
    """Refuse settings that an attack would pass over in silence.

    Raises:
        ConfigError: the attack does not climb this loss, has one start, or cannot hand over such
            a point.
    """
    spec, name = attack_spec(config.search), config.search
    if loss not in spec.losses:
        known = ", ".join(spec.losses)
        raise ConfigError(f"loss {loss!r} is none of attack {name!r}, which climbs {known}")
    if config.restarts > 1 and not spec.restarts:
        raise ConfigError(f"restarts must be 1 for attack {name!r}, got {config.restarts}")
    if config.protocol is not None and config.protocol not in spec.protocols:
        known, got = ", ".join(spec.protocols), config.protocol
        raise ConfigError(f"protocol {got!r} is none of attack {name!r}, which knows {known}")


def protocol_of(config: AttackConfig) -> Protocol:
    """Point that the attack of these settings hands over, its default resolved."""
    return config.protocol or attack_spec(config.search).protocols[0]


def attack_spec(search: str) -> AttackSpec:
    """The record of an attack by its name; a plain search function gets a record of defaults.

    Raises:
        ConfigError: there is no such attack, or it is no function.
    """
    entry = ATTACKS[search]
    if isinstance(entry, AttackSpec):
        return entry
    if not callable(entry):
        kind = type(entry).__name__
        raise ConfigError(f"attack {search!r} must be an AttackSpec or a function, got {kind}")
    call = dict.fromkeys(("config", "goal", "loss", "noise", "ids"))
    require_call(f"attack {search!r}", entry, None, None, None, **call)
    return AttackSpec(run=entry)
