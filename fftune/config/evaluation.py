"""What a net is attacked with."""

from dataclasses import dataclass

from fftune.config.literals import Battery, Device, Precision, Tier
from fftune.config.validation import require


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryConfig:
    """A named set of attacks, run on every example of a split, a block at a time."""

    name: Battery = "risks"
    steps: int = 20
    """Of `risks` and `targets`; the other batteries are as their sources have them."""
    tier: Tier = "standard"
    """How long the ensembles search; see `fftune.evaluation.tiers`."""
    examples: int | None = None
    """How many examples of the split, evenly spread over its ids; none is all."""
    block_size: int = 256
    """The unit of work: consecutive ids that are attacked together, wherever they run."""
    seed: int = 0
    threads: int = 1
    """CPU threads of torch; equal threads are part of what makes rows equal."""
    device: Device = "auto"
    """`auto` is CUDA where torch sees it."""
    precision: Precision = "auto"
    """Of the `strong` searches, whose successes are confirmed in fp32 on the untouched net;
    `auto` is bf16 where the hardware has it."""

    def __post_init__(self) -> None:
        require("steps", self.steps >= 0, ">= 0", self.steps)
        few = self.examples is None or self.examples >= 1
        require("examples", few, ">= 1", self.examples)
        require("block_size", self.block_size >= 1, ">= 1", self.block_size)
        require("threads", self.threads >= 1, ">= 1", self.threads)
