"""Training: the loop, and what it leaves behind.

Imports nothing by itself, so that `python -m fftune.train --help` answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fftune.train.checkpoint import Checkpoint
    from fftune.train.epoch import Epoch
    from fftune.train.loop import check, train

__all__ = ["Checkpoint", "Epoch", "check", "train"]

_HOMES = {"Checkpoint": "checkpoint", "Epoch": "epoch", "check": "loop", "train": "loop"}


def __getattr__(name: str) -> Any:
    """Import torch when it is needed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
