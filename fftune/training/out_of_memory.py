"""Memory that ends: which errors say so, and what the user can do about it."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fftune.capture import forget
from fftune.config import TrainConfig
from fftune.errors import FftuneError, OutOfMemoryError

SAYINGS = re.compile(
    r"out of memory|allocate memory|not enough memory|cudaErrorMemoryAllocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUSOLVER_STATUS_ALLOC_FAILED"
)
"""Words of runtime errors that mean the same as `torch.OutOfMemoryError`."""
ADVICE = (
    "optimizer.accumulate computes a batch of a training in more parts (BatchNorm then sees "
    "smaller batches, which changes the result); battery.block_size makes blocks of an "
    "evaluation smaller"
)
"""Advice for a process of which nobody has said what ran out."""
ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+ \w+)")


def ran_out(error: BaseException | None) -> bool:
    """Tell if an error, or one that it was raised for, says that memory was too small."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and SAYINGS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def described(error: BaseException | None) -> str:
    """Describe an error for which `ran_out` holds: our words, or bytes asked for, and advice."""
    return _own_words(error) or f"{_asked(error)}: {ADVICE}"


def _own_words(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, OutOfMemoryError):
            return str(error)
        error = error.__cause__ or error.__context__
    return ""


def _asked(error: BaseException | None) -> str:
    """Describe how many bytes were asked for, where the error says it."""
    while error is not None:
        if found := ASKED.search(str(error)):
            return f"out of memory, {found[1]} more were asked for"
        error = error.__cause__ or error.__context__
    return "out of memory"


@contextmanager
def within_memory(config: TrainConfig) -> Iterator[None]:
    """Say what makes a training smaller where the memory is too small for a step of it.

    Raises:
        OutOfMemoryError: the block ran out of memory.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemoryError) or not ran_out(error):
            raise
        reason, optimizer = _asked(error), config.optimizer
        share = optimizer.batch_size // config.workers
        if optimizer.accumulate >= share:
            raise OutOfMemoryError(
                f"{reason}: it is too small for one example of model {config.model!r}, and "
                f"optimizer.accumulate cannot cut a batch of {share} further"
            ) from error
        raise OutOfMemoryError(
            f"{reason}: optimizer.accumulate > {optimizer.accumulate} computes a batch in more "
            "parts; BatchNorm then sees smaller batches, which changes the result"
        ) from error


@contextmanager
def room_on(device: str) -> Iterator[None]:
    """Say in one line that a device is too small for what is asked of a net before its blocks.

    Raises:
        OutOfMemoryError: the block ran out of memory.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FftuneError) or not ran_out(error):
            raise
        raise OutOfMemoryError(
            f"out of memory on {device}: it is too small for the net and a few images"
        ) from error


def free_memory(error: BaseException | None = None) -> None:
    """Give back what ran out: recordings, and all that only the frames of an error refer to."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    forget()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
