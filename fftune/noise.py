"""Keyed noise: every example has a stream of its own.

Random starts must not depend on who else is in the batch, on the order of the batches, or on
the machine. So nothing is drawn from a shared stream: the noise of an example is a function of
the seed, of what it is for, and of the example's id.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Noise:
    """A tree of streams; `fold` goes down a branch, `uniform` and `normal` read the leaves.

    >>> noise = Noise(0).fold("digits", "test", "pgd", 0)

    Drawn on the CPU with Philox (Salmon et al. 2011), whose streams are independent for
    different keys and equal on every machine.
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def fold(self, *names: str | int) -> "Noise":
        """The branch for what `names` say: data set, split, attack, restart, epoch."""
        return Noise(self.seed, (*self.path, *names))

    def uniform(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(len(ids), *shape) float32, uniform in [0, 1); row i depends on `ids[i]` alone."""
        return self._draw(ids, shape, lambda stream, size: stream.random(size, np.float32))

    def normal(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(len(ids), *shape) float32, standard normal; row i depends on `ids[i]` alone."""
        return self._draw(ids, shape, lambda stream, size: stream.standard_normal(size, np.float32))

    def permutation(self, n: int) -> Tensor:
        """(n,) int64: 0 to n - 1 in the order of this branch."""
        return torch.from_numpy(self._stream(-1).permutation(n))

    def _draw(
        self,
        ids: Tensor,
        shape: tuple[int, ...],
        read: Callable[[np.random.Generator, int], np.ndarray],
    ) -> Tensor:
        out = np.empty((len(ids), int(np.prod(shape))), np.float32)
        for row, i in zip(out, ids.tolist(), strict=True):
            row[:] = read(self._stream(i), row.size)
        return torch.from_numpy(out).reshape(len(ids), *shape)

    def key(self, i: int) -> int:
        """128 bits for what draws from a stream of its own kind."""
        text = repr((self.seed, self.path, i)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")

    def _stream(self, i: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self.key(i)))
