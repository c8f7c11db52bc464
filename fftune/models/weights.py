"""Weights on disk and their name: a hash of every tensor."""

import hashlib
import io
import re
import textwrap
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fftune.errors import ModelError, StorageError
from fftune.storage import write_whole
from fftune.stored_file import require_plain_file
from fftune.user_code import answering

CONTAINERS = ("state_dict", "model_state_dict", "model", "state")


def weights_hash(model: nn.Module) -> str:
    """16 hex digits of all parameters and buffers: names, types, shapes and bits."""
    digest = hashlib.sha256()
    with answering():
        state = model.state_dict()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state_dict, whole or not at all."""
    write_plain(model.state_dict(), path)


def write_plain(value: object, path: Path) -> None:
    """Write tensors and plain values for `read_plain`, whole or not at all.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    # Torch's own writer calls a full disk "unexpected pos"; Python's says what it is.
    packed = io.BytesIO()
    torch.save(value, packed)
    write_whole(path, lambda part: part.write_bytes(packed.getbuffer()))


def read_weights(model: nn.Module, path: str) -> None:
    """Fill `model` from a state_dict; nothing in the file is executed.

    What training scripts wrap around it is taken off: a dictionary with the state_dict under one
    of `CONTAINERS`, a list of one, the prefix that DataParallel adds. Where this package puts
    normalisation before another net (`normalize` and `net`), that net's own file will do.

    Raises:
        ModelError: the file is missing or damaged, or its tensors are of another net.
    """
    try:
        model.load_state_dict(_named(_unwrapped(read_plain(path)), model))
    except RuntimeError as error:
        # Torch names the tensors that do not fit in the lines after the first.
        lines = [line.strip() for line in str(error).splitlines()[:2]]
        reason = textwrap.shorten(" ".join(lines), 240, placeholder=" ...")
        raise ModelError(f"weights {path!r} cannot be used: {reason}") from None


def read_plain(path: str) -> Any:
    """Read what `torch.save` wrote, if that is tensors and plain values; nothing is executed.

    Raises:
        ModelError: the file is missing or damaged, or holds what only running code could make.
    """
    try:
        require_plain_file(Path(path))
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes at random raise almost anything
        raise ModelError(f"weights {path!r} {_refusal(error)}") from error


def _refusal(error: Exception) -> str:
    """The reason of a refusal, without torch's own advice, which is to run the file's code."""
    if isinstance(error, StorageError):
        return f"cannot be used: {error}"
    if code := re.search(r"GLOBAL (\S+)|(TorchScript) archive", str(error)):
        return (
            f"hold more than tensors ({code[1] or code[2]}), and code in a file of weights is "
            "never run; save model.state_dict() alone, or load them in a FILE.py:FUNCTION of yours"
        )
    readable = isinstance(error, OSError | RuntimeError)
    reason = str(error).splitlines()[0] if readable else "torch.save wrote no such file"
    return f"cannot be used: {reason}"


def _unwrapped(state: Any) -> dict[str, Any]:
    for key in CONTAINERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict | list):
            state = state[key]
    if isinstance(state, list) and len(state) == 1:
        state = state[0]
    if not isinstance(state, dict):
        raise RuntimeError(f"holds {type(state).__name__}, not a state_dict")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _named(state: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """`state` itself, or under the names that its tensors have in `model`."""
    own = model.state_dict()
    inside = {f"net.{key}": value for key, value in state.items()}
    if state.keys() & own.keys() or not inside.keys() & own.keys():
        return state
    return {key: value for key, value in own.items() if key.startswith("normalize.")} | inside
