"""Weights in the caches of other libraries: looked for, never fetched."""

from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from fftune.errors import ModelError, StorageError
from fftune.named_code import may_run
from fftune.storage import sha256
from fftune.stored_file import require_plain_file


def hub_checkpoints() -> Path:
    """Folder in which torch keeps the weights that torchvision and others fetch."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def first_file(places: Iterable[Path], what: str, otherwise: str) -> Path:
    """The first of these files that is there.

    Args:
        what: is missing, as in "weights of torchvision:resnet50".
        otherwise: what the user can do, as a clause.

    Raises:
        ModelError: none is there.
    """
    looked = list(places)
    for place in looked:
        if place.is_file():
            return place
    where = " nor ".join(repr(str(place)) for place in looked) or "any cache"
    raise ModelError(f"{what} are not in {where}, and nothing is downloaded; {otherwise}")


def named_file(name: str, kind: str) -> Path:
    """The path of a file that holds a whole net, code and all, which the user must have named.

    Raises:
        ModelError: only what is stored names it (`fftune.named_code`), or it is no plain file.
    """
    path = Path(name)
    if not may_run(path):
        raise ModelError(
            f"{kind} {name!r}: only what is stored names this file, which is not run by itself; if "
            f"you trust it, add --code {quote(name)}"
        )
    try:
        require_plain_file(path)
    except StorageError as error:
        raise ModelError(f"{kind} {error}") from error
    return path


def told_file(path: Path) -> str:
    """Name and digest of a file, as in "resnet50.pth (sha256 ...)"."""
    return f"{path.name} (sha256 {sha256(path)})"
