"""The record of a source of nets: how `PREFIX:NAME` becomes a module, and what is told of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fftune.config import InputSpec
from fftune.config.normalisation import Constants

if TYPE_CHECKING:
    from torch import nn

AS_THEY_ARE = "the convention of nets that users write"
"""Says that a net takes pixels in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A net that is asked for by a name after a prefix."""

    name: str
    inputs: InputSpec | None
    """Images and number of classes of the data, where they are known already."""
    fresh: bool
    """The architecture alone is asked for, with fresh weights, into which others are read: for
    `inputs`, or without them as it was published. Else the net comes with its name's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A net in its own calling convention, and what is known of it."""

    net: "nn.Module"
    version: str
    """Library, revision or digest on which its code depends: part of the key of its rows."""
    told: str
    """Its provenance, in words that a table prints: version, file, sha256 of its weights."""
    constants: Constants | None = None
    """Normalisation that the net expects of images in [0, 1]; None: it takes them as they are."""
    said_by: str = ""
    """Whoever says so, in the same words. Empty: nobody does; then a fresh net gets the data's own
    normalisation, and any other is refused until the user names one."""
    classes: tuple[str, ...] = ()
    """Class names in the order of its logits, where the source has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A kind of nets that go by `PREFIX:NAME`, or by `FILE.py:SOURCE:NAME` in a user's file."""

    build: Callable[[Asked], Built]
    """The net; it raises `ModelError` in one line, with what to do where a file is missing. Nothing
    is downloaded."""
    sized: bool = True
    """A fresh net is built for `Asked.inputs`; False: it has its own images and classes."""
    runs_file: bool = False
    """NAME is a file with code, which the description of a checkpoint may not name by itself."""

    def __call__(self, asked: Asked) -> Built:
        """The net that is asked for."""
        return self.build(asked)
