"""Weights on disk and their name: a hash of every tensor."""

import argparse
import hashlib
import io
import logging
import pathlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fftune.config.normalisation import Constants
from fftune.errors import ModelError, StorageError
from fftune.models import containers
from fftune.models.containers import Found, Own
from fftune.models.equivalence import first_line
from fftune.storage import sha256, write_whole
from fftune.stored_file import advised, require_plain_file
from fftune.user_code import answering

log = logging.getLogger(__name__)

_SCALAR = np.float64(0).__reduce__()[0]
PLAIN: list[Any] = [
    *(argparse.Namespace, pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType),
]
"""Values that training scripts leave beside the tensors, and that run nothing when they are made:
arguments, paths, NumPy's numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRead:
    """Provenance of a net's weights."""

    told: str
    """File, its sha256, the container, and what was taken off the names."""
    constants: Constants | None = None
    """Mean and deviation of the file's own normalisation, which stands outside the net."""
    normalizes: bool = False
    """The file holds the constants of the net's own first layer, `normalize`."""


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


def read_weights(model: nn.Module, path: str, key: str = "") -> WeightsRead:
    """Fill `model` from a file of weights; nothing in the file is executed.

    It is a safetensors file, or what `torch.save` wrote: a state_dict, alone or inside the
    dictionaries of training scripts; see `containers`. Where this package puts normalisation before
    another net (`normalize` and `net`), that net's own file will do.

    Args:
        key: container or prefix of the tensors that are meant, where several fit.

    Raises:
        ModelError: the file is missing or damaged, or its tensors are of another net.
    """
    found = list(containers.dictionaries(read_tensors(path)))
    own = Own.of(model)
    fitting = [fit for one in found for fit in containers.fits(one, own)]
    told = f"weights {Path(path).name} (sha256 {sha256(Path(path))})"
    if not fitting and model._load_state_dict_pre_hooks:
        _load_by_hooks(model, found, path)
        return WeightsRead(told=told)
    if not fitting:
        raise ModelError(f"weights {path!r} do not fit the net: {containers.misfit(found, own)}")
    try:
        fit, others = containers.chosen(fitting, key)
    except ModelError as error:
        raise ModelError(f"weights {path!r}: {error}") from None
    _load(model, fit.state, path)
    if others:
        log.warning(
            "weights %r: %s is taken; %s would fit too (weights_key chooses)",
            path, repr(fit.name) if fit.name else "its top", ", ".join(map(repr, others)),
        )  # fmt: skip
    normalizes = "normalize.mean" in fit.state and "normalize.mean" not in fit.filled
    more = f", {fit}" if str(fit) else ""
    return WeightsRead(told=told + more, constants=fit.constants, normalizes=normalizes)


def _load(model: nn.Module, state: Any, path: str) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"weights {path!r} cannot be used: {_of_torch(error)}") from None


def _load_by_hooks(model: nn.Module, found: list[Found], path: str) -> None:
    """Load into a net that renames tensors itself, as published architectures do.

    Raises:
        ModelError: none of the dictionaries fits.
    """
    reason = "it holds no tensors by name"
    for one in found:
        for state in containers.under_hooks(one):
            try:
                model.load_state_dict(state)
            except RuntimeError as error:
                reason = _of_torch(error)
            else:
                return
    raise ModelError(f"weights {path!r} do not fit the net: {reason}")


def _of_torch(error: RuntimeError) -> str:
    """Torch's reason, which names the tensors in the lines after the first."""
    lines = [line.strip() for line in str(error).splitlines()[:2]]
    return " ".join(lines)[:240]


def read_tensors(path: str) -> Any:
    """Read a file of weights: a dictionary by names, or what a training script stored.

    Raises:
        ModelError: the file is missing or damaged, or holds what only running code could make.
    """
    return _read_safetensors(path) if path.endswith(".safetensors") else read_plain(path)


def _read_safetensors(path: str) -> dict[str, Tensor]:
    """
    Raises:
        ModelError: the file is missing or damaged.
    """
    from safetensors.torch import load_file

    try:
        require_plain_file(Path(path))
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except Exception as error:  # bytes at random raise almost anything
        line = f"weights {path!r} cannot be used: {first_line(error)}"
        raise ModelError(advised("weights", line, error)) from error


def read_plain(path: str) -> Any:
    """Read what `torch.save` wrote, if that is tensors and plain values; nothing is executed.

    Raises:
        ModelError: the file is missing or damaged, or holds what only running code could make.
    """
    try:
        require_plain_file(Path(path))
        with torch.serialization.safe_globals(PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of TorchScript, which is refused here
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes at random raise almost anything
        raise ModelError(f"weights {path!r} {_refusal(path, error)}") from error


def _refusal(path: str, error: Exception) -> str:
    """The reason of a refusal, without torch's own advice, which is to run the file's code."""
    if isinstance(error, StorageError):
        return f"cannot be used: {error}"
    if code := re.search(r"GLOBAL (\S+)|(TorchScript) archive", str(error)):
        if code[2]:
            return f"hold a TorchScript net, not weights alone: name it by --model {path}"
        return (
            f"hold more than tensors ({code[1]}), and code in a file of weights is never run; save "
            "model.state_dict() alone, or load them in a FILE.py:FUNCTION of yours"
        )
    readable = isinstance(error, OSError | RuntimeError)
    reason = str(error).splitlines()[0] if readable else "torch.save wrote no such file"
    return advised("weights", f"cannot be used: {reason}", error)
