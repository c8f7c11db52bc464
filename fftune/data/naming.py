"""Names by which parts of a data set, and its columns of images and labels, are known."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from fftune.config import nearest
from fftune.data.official_split import PartName
from fftune.errors import DataError
from fftune.names import composed

TRAIN = ("train", "training", "trn")
TEST = ("test", "testing", "tst", "val", "valid", "validation", "dev", "eval", "evaluation")
"""Names of a part, the first that is there before the others."""
IMAGE = (
    *("image", "img", "images", "imgs", "x", "jpg", "jpeg", "png", "webp", "picture", "photo"),
    *("pixels", "pixel_values", "data", "inputs"),
)
LABEL = (
    *("label", "labels", "fine_label", "fine_labels", "y", "cls", "class", "target", "targets"),
    *("category", "label_id", "class_id", "coarse_label", "coarse_labels"),
)
"""Names of a column, or of an array, the first that is there before the others."""


def natural(name: str) -> tuple[list[str | int], str, str]:
    """A key that sorts `2.png` before `10.png`, as padded and unpadded numbers should.

    It is the same for both of Unicode's forms of a name, and wherever the name stands.
    """
    text = composed(name)
    pieces: list[str | int] = list(re.split("([0-9]+)", text))
    pieces[1::2] = map(int, pieces[1::2])
    return pieces, text, name


def word_of_part(name: str) -> str:
    """The word in a name that tells a part of a data set, as in `x-train-00000`; else empty.

    Args:
        name: of a file or a folder, or a path; the last word counts.
    """
    words = re.split(r"[^a-z]+", PurePath(name).as_posix().casefold())
    return next((word for word in reversed(words) if word in (*TRAIN, *TEST)), "")


def grouped(root: Path, files: Sequence[Path]) -> dict[PartName, list[Path]]:
    """Files by the part that their names, or those of folders below `root`, tell.

    `test` comes before `validation`, which is then left out. Files that tell no part, or that the
    user has named one by one and not as both parts, are one set without official parts.
    """
    words = {file: word_of_part(os.path.relpath(file, root)) for file in files}
    if not root.is_dir():
        words = {file: word_of_part(file.name) for file in files}
    chosen = chosen_parts(words.values())
    if not chosen or (len(chosen) < 2 and not root.is_dir()):
        return {"whole": list(files)}
    return {part: [file for file in files if words[file] == word] for part, word in chosen.items()}


def chosen_parts(found: Iterable[str]) -> dict[PartName, str]:
    """The words of `found` that train and that test: `test` before `validation`."""
    here = set(found)
    pairs: tuple[tuple[PartName, Sequence[str]], ...] = (("train", TRAIN), ("test", TEST))
    first = {part: next((word for word in words if word in here), "") for part, words in pairs}
    return {part: word for part, word in first.items() if word}


def chosen_column(
    columns: Sequence[str], known: Sequence[str], *, said: str, what: str, where: str
) -> str:
    """The column of images, or of labels.

    Args:
        columns: those that can be it, by their types.
        known: names that it may have, whatever their case; a single column may have any.
        said: by the user, or empty.
        what: `image` or `label`.

    Raises:
        DataError: there is none, or several.
    """
    if said:
        if said not in columns:
            raise DataError(f"{where} has no {what} column {said!r}; {nearest(said, columns)}")
        return said
    lower = {name.casefold(): name for name in reversed(columns)}
    if found := next((lower[name] for name in known if name in lower), ""):
        return found
    if len(columns) == 1:
        return columns[0]
    if not columns:
        raise DataError(f"{where} has no column {what}, nor any that could be it")
    shown = ", ".join(columns[:12])
    raise DataError(f"{where}: which column is the {what}? {shown}; add ,{what}=NAME to the name")
