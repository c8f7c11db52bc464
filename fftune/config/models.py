"""A net that anybody can build again."""

from dataclasses import dataclass

from fftune.config.vocabulary import Constants


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a net must know of its data: (C, H, W), the classes, and how to normalise."""

    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A net that anybody can build again: its factory, its inputs and its weights' hash."""

    factory: str
    """`fftune:NAME`, a net of this package, or `path/to/file.py:FUNCTION`, one of the user's:
    it is called without arguments and takes images in [0, 1]."""
    inputs: InputSpec | None = None
    """What a net of this package is built for; a user's own knows by itself."""
    width: int | None = None
    """Channels of its first stage; none is the published net."""
    constants: Constants = "paper"
    weights: str = ""
    """Path of a state_dict; empty where the user's function has loaded them already."""
    hash: str = ""
    """`weights_hash` of the net; another one is refused. Empty takes the net as it is."""
