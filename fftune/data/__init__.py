"""Data sets by name, their stratified parts, and the batches of them."""

from fftune.config import DataSpec, Split, nearest
from fftune.data.dataset import Dataset, Source
from fftune.data.digits import digits
from fftune.data.splits import stratified
from fftune.errors import DataError

__all__ = ["SOURCES", "Dataset", "Source", "load"]

SOURCES = {"digits": digits}
"""Each gives its whole official set."""


def load(spec: DataSpec, split: Split) -> Dataset:
    """One part of a data set.

    Raises:
        DataError: there is no such data set, or it is too small for the parts asked for.
    """
    if spec.name not in SOURCES:
        raise DataError(f"data.name: no data set {spec.name!r}; {nearest(spec.name, SOURCES)}")
    whole = SOURCES[spec.name]()
    sizes = {"train": spec.train_size, "validation": spec.validation_size}
    parts = stratified(whole.y, sizes, rest="test", seed=spec.split_seed)
    return whole.select(parts[split], split)
