"""Training: the loop, and what it leaves behind."""

from fftune.train.checkpoint import Checkpoint
from fftune.train.loop import Epoch, prepare, train

__all__ = ["Checkpoint", "Epoch", "prepare", "train"]
