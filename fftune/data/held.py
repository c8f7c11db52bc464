"""Data sets in the memory of this process, under names by which its trainings find them."""

import hashlib
from typing import Any

from fftune.data.dataset_spec import DatasetSpec
from fftune.data.official_split import Parts
from fftune.data.sources.arrays import parts_from
from fftune.errors import DataError

_HELD: dict[str, Parts] = {}


def hold(data: Any) -> str:
    """Keep examples until the process ends; the same examples have the same name.

    Args:
        data: in the forms of `arrays.parts_from`.

    Returns:
        A name for `DataSpec`, as in `memory:0123456789abcdef`.

    Raises:
        DataError: the data have none of these forms.
    """
    parts = parts_from(data, name="memory", spec=DatasetSpec())
    digest = hashlib.sha256()
    for part, examples in parts.items():
        digest.update(f"{part} {len(examples)}".encode())
        digest.update(examples.y.numpy().data)
        for i in range(len(examples)):
            digest.update(examples.images.read(i).pixels.data)
    name = f"memory:{digest.hexdigest()[:16]}"
    _HELD[name] = parts
    return name


def held(name: str) -> Parts:
    """Examples that `hold` has named.

    Raises:
        DataError: another process has held them.
    """
    if name not in _HELD:
        raise DataError(f"data.name: {name!r} was in the memory of another process; name the data")
    return _HELD[name]
