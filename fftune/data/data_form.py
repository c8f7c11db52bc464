"""Forms in which people keep images and labels: the record of one, and how a place is written."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fftune.data.dataset_spec import Floats
from fftune.data.official_split import Parts
from fftune.errors import DataError
from fftune.names import plain_name
from fftune.registry import is_of_file
from fftune.storage import in_home

_SETTING = re.compile(r",(image|label|classes)=([^,=]+)$")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder or files with images, and what is known of them before they are seen."""

    path: Path
    """A folder, a file, or a pattern of files, as in `x-{000..012}.tar` and `x-*.parquet`."""
    image: str = ""
    """Column of the images; empty: it is found by its name and its values."""
    label: str = ""
    """Column of the labels; empty: it is found by its name."""
    count: int = 0
    """Number of classes, where labels are numbers from 0 that do not all occur; 0: it is found."""
    title: str = ""
    """Name of the set; empty: that of its folder or file."""
    mean: Floats = ()
    std: Floats = ()
    """Normalisation of a set that is known, a value a channel."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings that the user has written behind the path, by name."""

    @classmethod
    def of(cls, text: str) -> "Place":
        """A place as it is written: `PATH`, or `PATH,label=NAME,image=NAME,classes=NUMBER`.

        Raises:
            DataError: the number is none.
        """
        settings: dict[str, str] = {}
        while (found := _SETTING.search(text)) and not os.path.exists(in_home(text)):
            settings[found[1]] = found[2]
            text = text[: found.start()]
        count = settings.get("classes", "0")
        try:
            in_home(text).exists()
        except OSError as error:
            raise DataError(f"data.name: {text[:60]!r}...: {error.strerror}") from None
        if not text:
            raise DataError("data.name must have a path behind its colon")
        if not count.isdecimal():
            raise DataError(f"data.name: classes must be a whole number, got {count!r}")
        return cls(
            path=in_home(text),
            image=settings.get("image", ""),
            label=settings.get("label", ""),
            count=int(count),
            settings=settings,
        )

    @property
    def name(self) -> str:
        """Name of the set: its folder's, or its file's without the suffix."""
        if self.title:
            return self.title
        path = self.path if self.path.name not in ("", "..") else self.path.absolute()
        if is_pattern(path):
            return plain_name(re.split(r"[*?{\[]", path.name)[0] or path.parent.name)
        return path.name if path.is_dir() else path.stem

    def normalisation(self, channels: int) -> tuple[Floats, Floats]:
        """Mean and deviation: those of the set, else ImageNet's for colours and 0.5 for grey.

        Raises:
            DataError: the set has another number of channels.
        """
        if self.mean:
            if len(self.mean) != channels:
                told = f"{channels} channels, {self.name!r} has {len(self.mean)}"
                raise DataError(f"{str(self.path)!r} has images of {told}")
            return self.mean, self.std
        return (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,), (0.5,))

    def refuse_settings(self, *known: Literal["image", "label", "classes"]) -> None:
        """Refuse what the user has said and this form cannot heed.

        Raises:
            DataError: there is such a setting.
        """
        for setting in self.settings:
            if setting not in known:
                raise DataError(f"data.name: {str(self.path)!r} has no use for {setting!r}")


def file_name_of(name: str) -> str:
    """Name for files that are made of a data set, as `photos` for `folder:a/photos`.

    Args:
        name: of a data set, as in `DataSpec.name`; that of a user's function is its own.
    """
    if is_of_file(name):
        return name.rpartition(":")[2]
    kind, _, rest = name.partition(":")
    return plain_name(Place.of(rest).name) if kind in ("folder", "hf") else kind


def is_pattern(path: Path) -> bool:
    """Tell if a path stands for several files, as in `x-{000..012}.tar`."""
    return any(c in path.name for c in "*?{[") and not path.exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataForm:
    """A form of the table DATA_FORMS, in whose order a place is compared with each.

    The record stands in a file of `fftune/data/sources/`, beside the function that reads it.
    """

    files: str
    """Kind of its files, for messages, as in "Parquet files"."""
    finds: Callable[[Path], bool]
    """Tells by names, and at most by headers, if a path has this form."""
    read: Callable[[Place], Parts]
    """Lists the images, none of them decoded. Each part says in its `origin` what was found, and
    counts what is left out."""
    last: bool = False
    """Is it compared after all others, as any folder may be one of classes?"""
