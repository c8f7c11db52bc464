"""Nets compiled by `torch.compile` before they are recorded, where a run is long enough for it."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fftune.config import TrainConfig
from fftune.devices import policy
from fftune.models.equivalence import first_line
from fftune.objectives import objective_of
from fftune.training.phases import phases_of

log = logging.getLogger(__name__)


class Compiled(nn.Module):
    """A net that is compiled for batches of some sizes, and called as it is with all others.

    Weights are the net's own. One that cannot be compiled as a whole, which shows before anything
    has run, is called as it is from then on.
    """

    def __init__(self, net: nn.Module, rows: frozenset[int], name: str) -> None:
        super().__init__()
        self.net, self.rows, self.name = net, rows, name

        def call(x: Tensor) -> Tensor:
            logits: Tensor = net(x)
            return logits

        # Dynamo remembers by code object: nets that shared one would push each other out.
        call.__code__ = call.__code__.replace(co_name=f"call_{name.replace(' ', '_')}")
        self._call: Callable[[Tensor], Tensor] | None
        self._call = torch.compile(call, dynamic=False, fullgraph=True)

    def forward(self, x: Tensor) -> Tensor:
        if self._call is not None and len(x) in self.rows:
            try:
                return self._call(x)
            except _failures() as error:
                log.debug("compiling failed", exc_info=True)
                log.info("%s runs uncompiled: %s", self.name, first_line(error))
                self._call = None
        logits: Tensor = self.net(x)
        return logits


def compiles(config: TrainConfig, *, crafting: bool, steps: int, device: str) -> bool:
    """True if a net of a run is compiled: that of its joint step, or the one it crafts on.

    `auto` was measured in bf16, and waits for no compiler that the run's steps do not repay.
    """
    if config.compile != "auto":
        return config.compile == "on"
    precision = config.crafts_in if crafting else config.precision
    return precision == "bf16" and steps >= repaid_after(device) * len(phases_of(config))


def repaid_after(device: str) -> float:
    """The least number of steps that repay compiling one net for one shape; see `DevicePolicy`."""
    sizes = policy(device)
    return sizes.compile_seconds / sizes.compile_gain if sizes.compile_gain else float("inf")


def full_rows(
    config: TrainConfig, workers: int, *, crafting: bool, device: str, copies: int = 1
) -> frozenset[int]:
    """Rows of a part of a full step in each phase, for which a net is compiled.

    Args:
        copies: nets side by side, with a row each of every example.
    """
    craft, cuts = objective_of(config).crafting, config.optimizer.accumulate
    parts = [-(-phase.batch_size // workers // cuts) * copies for phase in phases_of(config)]
    if crafting:
        return frozenset(map(policy(device).bucket, parts))  # as searches fill it up
    return frozenset(2 * part if craft is not None and craft.joint else part for part in parts)


def _failures() -> tuple[type[Exception], ...]:
    from torch._dynamo import exc  # imported by the first compiled call: it takes seconds

    return exc.TorchDynamoException, exc.FailOnRecompileLimitHit
