"""Data sets by name or path, their stratified splits, and loaders of their batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fftune.data.catalog import load
    from fftune.data.dataset import Dataset, Source
    from fftune.data.loader import Loader, open_loader
    from fftune.data.sampler import is_padding

__all__ = ["Dataset", "Loader", "Source", "is_padding", "load", "open_loader"]

_HOMES = {
    "Dataset": "dataset",
    "Loader": "loader",
    "Source": "dataset",
    "is_padding": "sampler",
    "load": "catalog",
    "open_loader": "loader",
}


def __getattr__(name: str) -> Any:
    """Import torch when it is needed: `python -m fftune.data --help` has to answer at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
