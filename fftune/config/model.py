"""Specification of a net that can be built again."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from fftune.config.conditioning import Conditioning
from fftune.config.literals import Constants
from fftune.config.normalisation import constants_of
from fftune.config.serialization import SINCE
from fftune.config.validation import require, require_words
from fftune.names import plain_name

VARIANTS = {
    "average": "moving average of the weights",
    "best": "best on validation images",
}
"""Nets that a training leaves beside the last one, which papers take, by their folders."""
NOT_PUBLISHED = "not as published: papers take the last net"
"""Mark of all `VARIANTS` in output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Inputs of a net: (C, H, W), the number of classes, and the normalisation."""

    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require_words(self)
        channels, *sides = self.shape
        require("shape", channels >= 1 and min(sides) >= 1, ">= 1 each", self.shape)
        require("classes", self.classes >= 1, ">= 1", self.classes)
        for name in ("mean", "std"):
            values = getattr(self, name)
            require(name, len(values) == channels, f"of {channels} channels", values)
        require("std", all(value > 0 for value in self.std), "> 0", self.std)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Provenance of a net, as it was found when the net was loaded."""

    version: str
    """Libraries, revisions and digests on which its code depends: part of its rows' key."""
    told: str
    """The same in words: also files with their sha256, and the normalisation that was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A net that can be built again: its factory, its inputs and its weights' hash."""

    factory: str
    """`fftune:NAME`, a net of this package; `path/to/file.py:FUNCTION`, one of the user's: it is
    called without arguments and takes images in [0, 1]; or `PREFIX:NAME` of a source in
    `registry.MODEL_SOURCES`, as in `torchvision:resnet50`."""
    inputs: InputSpec | None = None
    """Inputs that a net of this package is built for; a user's function knows its own."""
    width: int | None = None
    """Channels of its first stage; default those of the published net."""
    constants: Constants = "paper"
    """Source of the net's constants, where its paper and the authors' code differ."""
    weights: str = ""
    """Path of a state_dict; empty where the user's function has loaded them already."""
    hash: str = ""
    """`weights_hash` of the net; another one is refused. Empty takes the net as it is."""
    weights_key: str = field(default="", metadata={SINCE: 5})
    """Container or prefix of the tensors in the file of weights, where several fit."""
    normalize: str = field(default="", metadata={SINCE: 5})
    """Normalisation put before the net; see `config.normalisation`. Empty: the source's own."""
    origin: Origin | None = field(default=None, metadata={SINCE: 5})
    """Its provenance; None: it was not loaded yet, or there is nothing to tell."""
    conditioning: Conditioning | None = field(default=None, metadata={SINCE: 7})
    """Its dependence on lambda, where it is one net for all; None: there is none."""
    lam: float | None = field(default=None, metadata={SINCE: 7})
    """Weight lambda at which it was read off one net for all; None: it was trained alone."""

    def __post_init__(self) -> None:
        require_words(self)
        require("width", self.width is None or self.width >= 1, ">= 1", self.width)
        constants_of(self.normalize)  # refuses what is none

    @property
    def label(self) -> str:
        """The net's name in output: that of its function, or of the run that left its checkpoint.

        A number alone says nothing: a trial's net is called by its study too. The name can be that
        of a file: letters, digits, '.', '_' and '-'.
        """
        if not self.weights:
            # The last part of an argument that is a path is what tells it from others.
            last = self.factory.rpartition(":")[2].replace("\\", "/").rpartition("/")[2]
            function = self.factory.rpartition(".py:")[2].partition(":")[0]
            return plain_name(f"{function}-{last}" if last.isdecimal() else last)
        path = Path(self.weights).absolute()
        if path.parent.name.startswith("lam="):
            whole = replace(self, weights=str(path.parents[1] / path.name))
            return plain_name(f"{whole.label}-{path.parent.name}")
        if self.variant:
            return plain_name(f"{_telling(path.parents[1])}-{self.variant}")
        inside = path.parent.name == "checkpoint" and len(path.parents) > 2
        return plain_name(_telling(path.parents[1] if inside else path.with_name(path.stem)))

    @property
    def variant(self) -> str:
        """Key of `VARIANTS`, told by the folder of its weights; empty for any other net."""
        path = Path(self.weights).absolute()
        found = path.name == "weights.pt" and path.parent.name in VARIANTS
        return path.parent.name if found and len(path.parents) > 2 else ""

    def absolute(self) -> "ModelSpec":
        """The spec with absolute paths, for a process with another working directory."""
        file, own, function = self.factory.rpartition(".py:")
        factory = f"{Path(file).absolute()}{own}{function}" if own else self.factory
        weights = str(Path(self.weights).absolute()) if self.weights else ""
        return replace(self, factory=factory, weights=weights)


def _telling(path: Path) -> str:
    """A path's name, after those of the folders around it as long as they are numbers alone."""
    names = [path.name]
    for folder in path.parents:
        if names[0].isdecimal() and folder.name not in ("", "trials", "seeds"):
            names.insert(0, folder.name)
    return "-".join(names)
