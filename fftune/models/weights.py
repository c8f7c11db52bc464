"""Weights on disk and their name: a hash of every tensor."""

import hashlib
import pickle
from pathlib import Path

import torch
from torch import nn

from fftune.errors import ModelError
from fftune.storage import write_whole


def weights_hash(model: nn.Module) -> str:
    """16 hex digits of all parameters and buffers: names, types, shapes and bits."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def save_weights(model: nn.Module, path: Path) -> None:
    """The state_dict, whole or not at all."""
    write_whole(path, lambda part: torch.save(model.state_dict(), part))


def read_weights(model: nn.Module, path: str) -> None:
    """Fill `model` from a state_dict; nothing in the file is executed.

    Raises:
        ModelError: the file is missing or damaged, or its tensors are of another net.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except (OSError, EOFError, pickle.UnpicklingError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"weights {path!r} cannot be used: {reason}") from None
