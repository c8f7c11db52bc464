"""Keyed noise: every example has a random stream of its own.

Random starts must not depend on the rest of the batch, on the order of the batches, or on the
machine. So nothing is drawn from a shared stream: the noise of an example is a function of the
seed, of its purpose, and of the example's id.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.threefry import normals, threefry, uniforms

GENERATOR = 2
"""Raised by every change that moves a draw: 1 was numpy's Philox (fftune 0.1.0), 2 is Threefry."""
CHUNK = 2**15
"""Number of counters drawn at once: their words fit into a core's cache."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Tree of random streams; `fold` goes down a branch, `uniform` and `normal` draw at its end.

    >>> noise = Noise(0).fold("digits", "test", "pgd", 0)

    Draws are those of Threefry4x32 (`fftune.threefry`), equal on every machine: the key is a hash
    of the branch, the counter the example's id and the number of the draw.
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def fold(self, *names: str | int) -> "Noise":
        """Return the branch of these names: data set, split, attack, restart, epoch."""
        return Noise(self.seed, (*self.path, *names))

    def uniform(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(len(ids), *shape) float32, uniform in [0, 1); row i depends on `ids[i]` alone."""
        return self._drawn(ids, shape, lambda words: uniforms(np, words))

    def normal(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(len(ids), *shape) float32, standard normal; row i depends on `ids[i]` alone."""

        def read(words: NDArray[np.uint32]) -> NDArray[np.float32]:
            return np.concatenate(normals(np, words[:2], words[2:]))

        return self._drawn(ids, shape, read)

    def permutation(self, n: int) -> Tensor:
        """(n,) int64, a random permutation of 0 to n - 1: the order of 64 random bits each."""
        bits = np.empty(n, np.uint64)
        for rows, words in self._words(torch.arange(n), 1):
            high, low = words[:2, :, 0].astype(np.uint64)
            bits[rows] = high << np.uint64(32) | low
        return torch.from_numpy(bits.argsort(kind="stable"))

    def key(self, i: int) -> int:
        """Derive a 128-bit key, for other random generators."""
        text = repr((self.seed, self.path, i)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")

    def _drawn(
        self,
        ids: Tensor,
        shape: tuple[int, ...],
        read: Callable[[NDArray[np.uint32]], NDArray[np.float32]],
    ) -> Tensor:
        size = prod(shape)
        each = -(-size // 4)
        out = np.empty((len(ids), 4, each), np.float32)
        for rows, words in self._words(ids, each):
            out[rows] = read(words).swapaxes(0, 1)
        flat = np.ascontiguousarray(out.reshape(len(ids), 4 * each)[:, :size])
        return torch.from_numpy(flat).reshape(len(ids), *shape)

    def _words(self, ids: Tensor, each: int) -> Iterator[tuple[slice, NDArray[np.uint32]]]:
        """Yield (4, rows, each) random words for chunks of rows, as long as are quickest."""
        text = repr((self.seed, self.path)).encode()
        digest = hashlib.blake2b(text, digest_size=16).digest()
        key = tuple(np.frombuffer(digest, np.uint32)[:, None])
        halves = np.ascontiguousarray(ids.numpy()).view(np.uint32).reshape(len(ids), 2)
        step = max(1, CHUNK // max(each, 1))
        for begin in range(0, len(halves), step):
            rows = slice(begin, begin + step)
            words = np.zeros((4, len(halves[rows]), each), np.uint32)
            words[0] = np.arange(each, dtype=np.uint32)
            words[1:3] = halves[rows].T[:, :, None]
            threefry(np, tuple(words), key)  # in place
            yield rows, words


@dataclass(frozen=True, slots=True, eq=False)
class ExampleNoise:
    """Noise, and the ids of the examples of a batch, which key it."""

    noise: Noise
    ids: Tensor
    """(B,) int64, on the CPU."""

    def __len__(self) -> int:
        return len(self.ids)

    def fold(self, *names: str | int) -> "ExampleNoise":
        """Return the branch of these names, for the same examples."""
        return ExampleNoise(self.noise.fold(*names), self.ids)

    def select(self, rows: Tensor) -> "ExampleNoise":
        """Return the noise for some rows of the batch, by position or mask; rows may repeat."""
        return ExampleNoise(self.noise, self.ids[rows.cpu()])

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, uniform in [0, 1)."""
        return self.noise.uniform(self.ids, shape)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, standard normal."""
        return self.noise.normal(self.ids, shape)
