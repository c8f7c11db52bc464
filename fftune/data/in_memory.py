"""Tensors, arrays and loaders of the user's as a data set."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fftune.config import Split
from fftune.data.dataset import Dataset, Source
from fftune.data.items import Items, is_one_by_one, items_of, part_of
from fftune.data.labels import numbering
from fftune.data.naming import IMAGE, LABEL, chosen_column
from fftune.errors import DataError

LEVELS = 255


def dataset_of(
    data: Any,
    *,
    classes: int | Sequence[str] | None = None,
    split: Split = "test",
    name: str = "tensors",
) -> Dataset:
    """Collect images and labels into a data set, pixel by pixel as they are.

    Args:
        data: `(x, y)`, `(ids, x, y)`, or an iterable of such batches, as a DataLoader is. `x` is
            (N, C, H, W), floats in [0, 1] or uint8; `y` is (N,) integers from 0; `ids` are (N,)
            integers, each once, 0 to N - 1 where they are left out. Batches may be mappings, whose
            images and labels are found by name. Or a torch data set, or one of the `datasets`
            library, whose examples are collected one by one (`items.items_of`), with the names of
            its classes; of a mapping of such parts, as a `DatasetDict` is, that of the split.
        classes: their number, or their names; default what the labels need.

    Raises:
        DataError: the data are none of these, or values are out of range.
    """
    data = part_of(data, split, "data")
    if is_one_by_one(data):
        items = items_of(data, "data")
        classes = classes if classes is not None else items.classes or None
        data = _arrays(items, classes)
        if items.labels and isinstance(items.labels[0], str):
            classes = classes or tuple(sorted(set(items.labels)))
    ids, x, y = _collected(data)
    order = ids.argsort()
    pixels, levels = _as_stored(x[order])
    channels = x.shape[1]
    source = Source(
        name=name,
        classes=_names(classes, y),
        levels=levels,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    return Dataset(source=source, split=split, ids=ids[order], pixels=pixels, y=y[order])


def _arrays(items: Items, classes: int | Sequence[str] | None) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,) of examples that were collected one by one."""
    x = torch.from_numpy(np.ascontiguousarray(items.images.transpose(0, 3, 1, 2)))
    labels = items.labels
    if isinstance(labels[0], str):
        names = sorted(set(labels)) if classes is None or isinstance(classes, int) else classes
        labels = numbering(labels, "data", names=names).y(labels, "data").tolist()
    return x, torch.tensor(labels)


def _collected(data: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`ids` (N,) int64, `x` (N, C, H, W), `y` (N,) int64 on the CPU, checked."""
    if isinstance(data, tuple | list) and _is_batch(data):
        batches = [data]
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes | Tensor | dict):
        batches = [_as_pair(batch) for batch in data]
    else:
        raise DataError(f"data must be (x, y), (ids, x, y) or a DataLoader, got {_kind(data)}")
    if not batches:
        raise DataError("data hold no example")
    for batch in batches:
        if not (isinstance(batch, tuple | list) and _is_batch(batch)):
            raise DataError(f"a batch must be (x, y) or (ids, x, y), got {_kind(batch)}")
    if len({len(batch) for batch in batches}) > 1:
        raise DataError("batches must be all (x, y) or all (ids, x, y), got both")
    try:
        *ids, x, y = (
            torch.cat([torch.as_tensor(batch[part]).detach().cpu() for batch in batches])
            for part in range(len(batches[0]))
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"data cannot be put together: {str(error).splitlines()[0]}") from error
    _check(x, y)
    return _checked_ids(ids[0] if ids else torch.arange(len(x)), len(x)), x, y.long()


def _as_pair(batch: Any) -> Any:
    """A batch, of a mapping the images and labels that it holds under their usual names."""
    if not isinstance(batch, Mapping):
        return batch
    shapes = {name: getattr(value, "shape", ()) for name, value in batch.items()}
    images = [name for name, shape in shapes.items() if len(shape) == 4]
    labels = [name for name, shape in shapes.items() if len(shape) == 1]
    image = chosen_column(images, IMAGE, said="", what="image", where="a batch")
    label = chosen_column(labels, LABEL, said="", what="label", where="a batch")
    return batch[image], batch[label]


def _is_batch(value: Sequence[Any]) -> bool:
    """Two or three tensors or arrays."""
    return len(value) in (2, 3) and all(hasattr(part, "shape") for part in value)


def _check(x: Tensor, y: Tensor) -> None:
    for name, tensor in (("x", x), ("y", y)):
        if tensor.is_nested or tensor.layout is not torch.strided:
            raise DataError(f"{name} must be a dense tensor")
    if x.ndim != 4 or not len(x):
        raise DataError(f"x must be (N, C, H, W) with N >= 1, got shape {tuple(x.shape)}")
    if y.shape != x.shape[:1] or y.is_floating_point() or y.is_complex():
        raise DataError(f"y must be {len(x)} integers, got {y.dtype} of shape {tuple(y.shape)}")
    if int(y.min()) < 0:
        raise DataError(f"y must be >= 0, got {int(y.min())}")
    if x.dtype == torch.uint8:
        return
    if not x.is_floating_point():
        raise DataError(f"x must be floats in [0, 1] or uint8, got {x.dtype}")
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):  # also catches nan
        raise DataError(
            f"x must lie in [0, 1], got {low:.4g} to {high:.4g}: normalisation belongs into the net"
        )


def _checked_ids(ids: Tensor, count: int) -> Tensor:
    whole = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    if ids.shape != (count,) or not whole:
        raise DataError(f"ids must be {count} integers, got {ids.dtype} of {tuple(ids.shape)}")
    if len(ids.unique()) != count:
        raise DataError("ids must be given once each: they key the attacks' noise")
    return ids.long()


def _as_stored(x: Tensor) -> tuple[Tensor, int]:
    """Pixels and the value that stands for 1: bytes where no bit is lost, else float32."""
    if x.dtype == torch.uint8:
        return x.contiguous(), LEVELS
    x = x.to(torch.float32)
    pixels = (x * LEVELS).round().to(torch.uint8)
    if torch.equal(pixels.to(torch.float32) / LEVELS, x):
        return pixels.contiguous(), LEVELS
    return x.contiguous(), 1


def _names(classes: int | Sequence[str] | None, y: Tensor) -> tuple[str, ...]:
    if classes is None:
        classes = int(y.max()) + 1
    return tuple(map(str, range(classes) if isinstance(classes, int) else classes))


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__
