"""Data sets by name or path, their stratified parts, and the batches of them."""

from fftune.config import DataSpec, Split
from fftune.data.catalog import open_parts
from fftune.data.dataset import Dataset, Source
from fftune.data.images import Central
from fftune.data.loaders import Loader, open_loader
from fftune.data.parts import place
from fftune.data.sharding import is_padding

__all__ = ["Dataset", "Loader", "Source", "is_padding", "load", "open_loader"]


def load(spec: DataSpec, split: Split) -> Dataset:
    """One part of a data set, in memory.

    Raises:
        DataError: there is no such data set, or it is too small for the parts asked for.
    """
    part, rows = place(open_parts(spec.name), spec, split)
    frame = Central(spec.image_size) if spec.image_size else None
    return part.framed(frame).read(rows, split)
