"""Keyed noise: every example has a random stream of its own.

Random starts must not depend on the rest of the batch, on the order of the batches, or on the
machine. So nothing is drawn from a shared stream: the noise of an example is a function of the
seed, of its purpose, and of the example's id.

Draws are made where the ids lie: by numpy on a CPU, by torch elsewhere, and equal to the bit.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.capture import UnrecordableError, captured, recording
from fftune.capture.upload import upload
from fftune.threefry import normals, threefry, uniforms

GENERATOR = 2
"""Raised by every change that moves a draw: 1 was numpy's Philox (fftune 0.1.0), 2 is Threefry."""
CHUNK = 2**15
"""Number of counters drawn at once on a CPU: their words fit into a core's cache."""
DEVICE_CHUNK = 2**20
"""Number of counters drawn at once elsewhere, at most: their words take 16 MiB."""

Words = NDArray[np.uint32]
Read = Callable[[ModuleType, Any], Any]
"""Makes (4, R, E) float32 of as many random words, in numpy or in torch."""


class BatchNoise(Protocol):
    """Noise of the rows of a batch, each row's from a stream of its own."""

    def fold(self, *names: str | int) -> "BatchNoise":
        """Return the branch of these names, for the same rows."""

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, uniform in [0, 1)."""

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, standard normal."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Tree of random streams; `fold` goes down a branch, `uniform` and `normal` draw at its end.

    >>> noise = Noise(0).fold("digits", "test", "pgd", 0)

    Draws are those of Threefry4x32 (`fftune.threefry`), equal on every machine and device: the key
    is a hash of the branch, the counter the example's id and the number of the draw. Keys come
    from the host, without waiting for the device; so a captured function is given what was drawn.
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def fold(self, *names: str | int) -> "Noise":
        """Return the branch of these names: data set, split, attack, restart, epoch."""
        return Noise(self.seed, (*self.path, *names))

    def uniform(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(len(ids), *shape) float32, uniform in [0, 1); row i depends on `ids[i]` alone.

        Args:
            ids: (B,) int64; the result lies on their device.
        """
        return _drawn(uniforms, [self], ids, shape)

    def normal(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(len(ids), *shape) float32, standard normal; row i depends on `ids[i]` alone.

        Args:
            ids: (B,) int64; the result lies on their device.
        """
        return _drawn(_normals, [self], ids, shape)

    def permutation(self, n: int, device: str | torch.device = "cpu") -> Tensor:
        """(n,) int64, a random permutation of 0 to n - 1: the order of 64 random bits each."""
        ids, keys = torch.arange(n, device=device), _keys([self])
        if not _by_numpy(ids):
            words = _words_by_torch(_uploaded(keys, ids), ids, 1)
            high, low = words[:2, :, 0].to(torch.int64)
            signed = (high << 32 | low & 0xFFFF_FFFF) ^ -(2**63)  # the order of unsigned bits
            order: Tensor = signed.argsort(stable=True)
            return order
        bits = np.empty(n, np.uint64)
        for rows, drawn in _words_by_numpy(keys, ids, 1):
            above, below = drawn[:2, :, 0].astype(np.uint64)
            bits[rows] = above << np.uint64(32) | below
        return torch.from_numpy(bits.argsort(kind="stable"))

    def key(self, i: int) -> int:
        """Derive a 128-bit key, for other random generators."""
        return int.from_bytes(_hashed((self.seed, self.path, i)), "little")


@dataclass(frozen=True, slots=True, eq=False)
class ExampleNoise:
    """Noise, and the ids of the examples of a batch, which key it."""

    noise: Noise
    ids: Tensor
    """(B,) int64; draws lie on their device."""

    def __len__(self) -> int:
        return len(self.ids)

    def fold(self, *names: str | int) -> "ExampleNoise":
        """Return the branch of these names, for the same examples."""
        return ExampleNoise(self.noise.fold(*names), self.ids)

    def of_jobs(self, *branch: str | int, jobs: Sequence[int], job: Tensor) -> "JobNoise":
        """Return the noise of rows with jobs: restarts, or classes to aim at, side by side.

        Row i draws as `fold(*branch, jobs[job[i]])` does for the same example.

        Args:
            jobs: numbers of the jobs, distinct or not.
            job: (B,) int64, the place in `jobs` of each row's, on the device of the ids.
        """
        branches = tuple(self.noise.fold(*branch, number) for number in jobs)
        return JobNoise(branches, job, self.ids)

    def select(self, rows: Tensor) -> "ExampleNoise":
        """Return the noise for some rows of the batch, by position or mask; rows may repeat.

        A mask waits for the device, as its length is not known before.
        """
        return ExampleNoise(self.noise, self.ids[rows.to(self.ids.device)])

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, uniform in [0, 1)."""
        return self.noise.uniform(self.ids, shape)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, standard normal."""
        return self.noise.normal(self.ids, shape)


@dataclass(frozen=True, slots=True, eq=False)
class JobNoise:
    """Noise of rows that are examples with a job each; every job has a branch."""

    branches: tuple[Noise, ...]
    job: Tensor
    """(B,) int64, the branch of each row, on the device of the ids."""
    ids: Tensor
    """(B,) int64; draws lie on their device."""

    def __len__(self) -> int:
        return len(self.ids)

    def fold(self, *names: str | int) -> "JobNoise":
        """Return the branch of these names below every job's, for the same rows."""
        return JobNoise(tuple(b.fold(*names) for b in self.branches), self.job, self.ids)

    def select(self, rows: Tensor) -> "JobNoise":
        """Return the noise for some rows of the batch, by position or mask; rows may repeat.

        A mask waits for the device, as its length is not known before.
        """
        rows = rows.to(self.ids.device)
        return JobNoise(self.branches, self.job[rows], self.ids[rows])

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, uniform in [0, 1)."""
        return _drawn(uniforms, self.branches, self.ids, shape, self.job)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, standard normal."""
        return _drawn(_normals, self.branches, self.ids, shape, self.job)


def _drawn(
    read: Read,
    branches: Sequence[Noise],
    ids: Tensor,
    shape: tuple[int, ...],
    job: Tensor | None = None,
) -> Tensor:
    """Draw each row from its branch: the one of its job, or the only one."""
    keys, size = _keys(branches), prod(shape)
    if _by_numpy(ids):
        rows = _rows_by_numpy(read, keys if job is None else keys[job.numpy()], ids, size)
    else:
        table = _uploaded(keys, ids)
        rows = _rows_by_torch(read, table if job is None else table[job], ids, size)
    return rows.reshape(len(ids), *shape)


def _by_numpy(ids: Tensor) -> bool:
    return ids.device.type == "cpu"


def _rows_by_numpy(read: Read, keys: Words, ids: Tensor, size: int) -> Tensor:
    each = -(-size // 4)
    out = np.empty((len(ids), 4, each), np.float32)
    for rows, words in _words_by_numpy(keys, ids, each):
        out[rows] = read(np, words).swapaxes(0, 1)
    return torch.from_numpy(np.ascontiguousarray(out.reshape(len(ids), 4 * each)[:, :size]))


def _words_by_numpy(keys: Words, ids: Tensor, each: int) -> Iterator[tuple[slice, Words]]:
    """Yield (4, rows, each) random words for chunks of rows, as long as are quickest."""
    halves = np.ascontiguousarray(ids.numpy()).view(np.uint32).reshape(len(ids), 2)
    step = max(1, CHUNK // max(each, 1))
    for begin in range(0, len(halves), step):
        rows = slice(begin, begin + step)
        words = np.zeros((4, len(halves[rows]), each), np.uint32)
        words[0] = np.arange(each, dtype=np.uint32)
        words[1:3] = halves[rows].T[:, :, None]
        threefry(np, tuple(words), tuple(_of(rows, keys).T[:, :, None]))  # in place
        yield rows, words


def _rows_by_torch(read: Read, keys: Tensor, ids: Tensor, size: int) -> Tensor:
    if not len(ids):
        return torch.empty(0, size, dtype=torch.float32, device=ids.device)
    parts = -(-len(ids) // max(1, DEVICE_CHUNK // max(-(-size // 4), 1)))
    step = -(-len(ids) // parts)  # parts of one shape are recorded once
    chunks = (slice(begin, begin + step) for begin in range(0, len(ids), step))
    drawn = [_drawn_by_torch(read, _of(rows, keys), ids[rows], size) for rows in chunks]
    return drawn[0] if len(drawn) == 1 else torch.cat(drawn)


@captured
def _drawn_by_torch(read: Read, keys: Tensor, ids: Tensor, size: int) -> Tensor:
    """(R, size) float32; some 200 small operations, in one launch where they are recorded."""
    words = _words_by_torch(keys, ids, -(-size // 4))
    values: Tensor = read(torch, words)
    return values.transpose(0, 1).reshape(len(ids), -1)[:, :size].contiguous()


def _words_by_torch(keys: Tensor, ids: Tensor, each: int) -> Tensor:
    """(4, R, each) int32, random words."""
    words = torch.zeros(4, len(ids), each, dtype=torch.int32, device=ids.device)
    words[0] = torch.arange(each, dtype=torch.int32, device=ids.device)
    words[1:3] = ids.contiguous().view(torch.int32).view(len(ids), 2).T[:, :, None]
    threefry(torch, tuple(words), tuple(keys.T[:, :, None]))  # in place
    return words


def _of(rows: slice, keys: Any) -> Any:
    """The keys of these rows, out of (R, 4), or the one that all have, (1, 4)."""
    return keys if len(keys) == 1 else keys[rows]


def _keys(branches: Sequence[Noise]) -> Words:
    """(J, 4), the key of each branch.

    Raises:
        UnrecordableError: it is asked for by a function that is recorded, whose replays would all
            draw the same.
    """
    if recording():
        raise UnrecordableError("noise takes its keys from the host")
    digests = b"".join(_hashed((noise.seed, noise.path)) for noise in branches)
    return np.frombuffer(bytearray(digests), np.uint32).reshape(-1, 4)


def _uploaded(keys: Words, ids: Tensor) -> Tensor:
    """(J, 4) int32, on the device of the ids."""
    return upload(torch.from_numpy(keys.view(np.int32)), ids.device)


def _hashed(name: object) -> bytes:
    return hashlib.blake2b(repr(name).encode(), digest_size=16).digest()


def _normals(xp: ModuleType, words: Any) -> Any:
    return xp.concatenate(normals(xp, words[:2], words[2:]))
