"""Labels as people write them, numbered: class names, numbers from 0 or 1, and ids of anything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fftune.config import nearest
from fftune.errors import DataError
from fftune.names import composed

MOST_CLASSES = 1_000_000
"""Labels from here on are ids of something, not numbers of classes."""
SURELY, SPARSE = 1000, 100
"""Numbers below `SURELY`, or below `SPARSE` times as many as there are, may be those of classes of
which some do not occur."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """The classes of a data set, and the number of each label."""

    classes: tuple[str, ...]
    numbers: dict[Any, int]
    """By label, as `plain_labels` gives it."""
    said: str = ""
    """Sentence on it that a user must know, or empty."""

    def y(self, labels: Sequence[Any], where: str) -> Tensor:
        """(N,) int64, the classes of labels.

        Raises:
            DataError: a label has no number, as in a test part with a class of its own.
        """
        for row, label in enumerate(labels):
            if label not in self.numbers:
                known = nearest(str(label), map(str, self.numbers))
                raise DataError(f"{where}, row {row}: no class {label!r} in training; {known}")
        return torch.tensor([self.numbers[label] for label in labels], dtype=torch.int64)


def plain_labels(labels: Sequence[Any], where: str) -> list[Any]:
    """Labels as they are compared: whole numbers as `int`, names in Unicode's composed form.

    Raises:
        DataError: one is missing, or is neither; or both kinds occur.
    """
    found: list[Any] = []
    for row, label in enumerate(labels):
        if label is None:
            raise DataError(f"{where}, row {row} has no label")
        found.append(_plain(label, f"{where}, row {row}"))
    if len({type(label) for label in found}) > 1:
        raise DataError(f"{where}: labels are numbers in some rows and names in others")
    return found


def _plain(label: Any, where: str) -> int | str:
    shape = getattr(label, "shape", None)
    if shape is not None and math.prod(shape) == 1:  # a tensor, or one of NumPy's numbers
        label = label.item()
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, str):
        return composed(label.strip())
    if isinstance(label, int):
        return int(label)
    if isinstance(label, float) and math.isfinite(label) and label == int(label):
        return int(label)
    raise DataError(f"{where}: a label must be a class name or a whole number, got {label!r:.40}")


def numbering(
    labels: Sequence[Any], where: str, *, names: Sequence[str] = (), count: int = 0
) -> Numbering:
    """Number the classes of labels, as `plain_labels` gave them, of all parts that have them.

    Names are sorted as text, as torchvision's `ImageFolder` does. Numbers with 0 among them are
    those of the classes, of which some may not occur; any others are taken in their order.

    Args:
        names: of the classes in the order of their numbers, where the files say them.
        count: number of classes, where the user says it; 0: it is found.

    Raises:
        DataError: there is no label, or -1 marks images without one, or a number is none of the
            classes.
    """
    distinct = sorted(set(labels))
    if not distinct:
        raise DataError(f"{where} has no rows")
    if isinstance(distinct[0], str):
        return _by_name(distinct, where, names, count)
    if -1 in distinct and (len(distinct) == 1 or 0 in distinct):
        missing = sum(label == -1 for label in labels)
        raise DataError(f"{where}: {missing:,} labels are -1, which marks images without a label")
    known = len(names) or count
    if known:
        if distinct[0] < 0 or distinct[-1] >= known:
            wrong = distinct[0] if distinct[0] < 0 else distinct[-1]
            raise DataError(f"{where}: label {wrong:,} is none of {known:,} classes from 0")
        return _kept(known, names)
    if _are_classes(distinct):
        lacks = distinct[-1] + 1 - len(distinct)
        said = f"{lacks:,} of classes 0 to {distinct[-1]:,} do not occur" if lacks else ""
        return _kept(distinct[-1] + 1, (), said)
    last = len(distinct) - 1
    return Numbering(
        classes=tuple(map(str, distinct)),
        numbers={label: number for number, label in enumerate(distinct)},
        said=f"{_told(distinct)} are classes 0 to {last:,} in their order; "
        f"if they are numbers of classes from 0, add ,classes=NUMBER to the name",
    )


def _by_name(distinct: Sequence[str], where: str, names: Sequence[str], count: int) -> Numbering:
    known = list(map(composed, names))
    if names and not set(distinct) <= set(known):
        strange = next(label for label in distinct if label not in known)
        raise DataError(f"{where}: no class {strange!r}; {nearest(strange, known)}")
    if count not in (0, len(names or distinct)):
        raise DataError(f"{where} has {len(names or distinct)} class names, and not {count}")
    classes = known or distinct
    return Numbering(classes=tuple(classes), numbers={name: i for i, name in enumerate(classes)})


def _kept(count: int, names: Sequence[str], said: str = "") -> Numbering:
    """Numbers of classes that stay as they are."""
    classes = tuple(names) or tuple(map(str, range(count)))
    return Numbering(classes=classes, numbers={i: i for i in range(count)}, said=said)


def _are_classes(distinct: Sequence[int]) -> bool:
    most = min(MOST_CLASSES, max(SURELY, SPARSE * len(distinct)))
    return distinct[0] == 0 and distinct[-1] < most


def _told(distinct: Sequence[int]) -> str:
    if len(distinct) == 1:
        return f"labels {distinct[0]}"
    gaps = distinct[-1] - distinct[0] >= len(distinct)
    words = f"{len(distinct):,} different labels from" if gaps else "labels"
    return f"{words} {distinct[0]} to {distinct[-1]}"
