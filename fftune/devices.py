"""Sizes that a device wants of searches and evaluations: measured, each with its source."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePolicy:
    """Sizes and habits that follow the device; none of them may change what a number means."""

    width: int
    """Rows of a full batch of a search on images of 3 x 32 x 32; wider ones are hardly faster for
    each example."""
    block_size: int
    """Examples of a block where an evaluation does not say: the unit of work."""
    chunk: int
    """Iterations of a search between two looks at what is decided, and in one recording."""
    pixels: float = 0.0
    """Share of the device's free memory that the pixels of a split may take, to stay there."""
    buckets: tuple[int, ...] = ()
    """Sizes that a batch may have, ascending; empty: any. Few sizes are recorded few times."""
    piece: int = 0
    """Rows of every pass of a verdict, the last one padded, so that a row's logits depend on the
    row alone; 0: a block at once, where equal blocks give equal bits."""
    precision: Literal["auto", "fp32"] = "auto"
    """Precision of searches for a first success where an evaluation says `auto`; "auto": bf16 if
    the hardware multiplies it."""
    compile_seconds: float = 0.0
    """Seconds that compiling a net for one shape takes."""
    compile_gain: float = 0.0
    """Seconds that a recorded step gains by a compiled net; 0: not measured, nothing is gained."""
    bf16_again: bool = False
    """Search once more in fp32 for what survives a search in bf16."""

    def full(self, values: int) -> int:
        """Rows of a full batch of images of so many values: as many values as `width` images of
        3 x 32 x 32 have, but no fewer rows than on a CPU, nor more than `width`.
        """
        return min(self.width, max(self.width * 3 * 32 * 32 // max(values, 1), LEAST))

    def most(self, values: int, rows: int) -> int:
        """Rows of `rows` that are searched at once: all, but where shapes are few, a full batch."""
        return min(self.full(values), rows) if self.buckets else rows

    def bucket(self, rows: int) -> int:
        """The least size of a batch that holds these rows: themselves above the largest bucket."""
        return next((size for size in self.buckets if size >= rows), rows)


LEAST = 128
"""Least number of rows of a full batch."""
CPU = DevicePolicy(width=128, block_size=256, chunk=1)
"""Every iteration looks: what is decided leaves at once, as passes are what costs. In bf16 such
searches left the same 116 of 400 images as in fp32, under three seeds."""
CUDA = DevicePolicy(
    width=4096,
    block_size=1000,
    chunk=5,
    pixels=0.25,
    buckets=(32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096),
    piece=256,
    compile_seconds=18.0,
    compile_gain=0.0027,
    precision="fp32",
    bf16_again=True,
)
"""H200, torch 2.11, 1,000 images of a small ResNet. Tier `escalating` took 12.6 s with blocks of
256 and width 128, 6.0 s with blocks of 1,000, 4.4 s with width 4,096 too. AutoAttack without FAB
left 29.3 and 29.4 % robust in fp32 with TF32 convolutions, as torch's defaults have them, 30.0 and
30.1 % in bf16 (two draws each; 3.7 and 2.6 s): bf16 alone finds less. Compiling ResNet-18 took 14
to 18 s; crafting a batch of 128 on it in bf16, recorded, then took 11.3 ms in place of 14.0.
`piece` is a choice, not a measured one: passes of verdicts are few beside those of searches. So is
`pixels`: a quarter holds CIFAR (0.15 GB), SVHN (0.23) and Tiny-ImageNet (1.2) on any card of 8 GB,
and where four trials open such a set at once, each takes a quarter of what the last left, which
leaves a third."""
_POLICIES = {"cpu": CPU, "cuda": CUDA}


def policy(device: str) -> DevicePolicy:
    """The policy of a device by its type; that of a CPU for types that nobody has measured."""
    return _POLICIES.get(device, CPU)


def narrow(device: str) -> bool:
    """Halve a full batch on a type of device, for this process, as memory has run out.

    Returns:
        False where it is as small as it gets, or rows would move in more than rounding.
    """
    now = policy(device)
    if not now.buckets or now.width <= LEAST:
        return False
    _POLICIES[device] = replace(now, width=max(now.width // 2, LEAST))
    return True
