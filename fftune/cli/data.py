"""`python -m fftune.data list|write|verify ...`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fftune.cli.options import parse
from fftune.config import DataSpec, Norm, Selection, ThreatModel, WriteConfig, nearest
from fftune.config.attack import default_eps
from fftune.errors import ConfigError

PHASES: dict[int, WriteConfig] = {
    1: WriteConfig(shorter_side=160, image_size=128),
    2: WriteConfig(shorter_side=352, image_size=224),
    3: WriteConfig(sizes="mixed", image_size=288, image_resize=False),
}
"""FastAT trains ImageNet at 128, 224 and 288 pixels, from images of 160, 352 and all (Wong et al.
2020)."""


@dataclass(frozen=True, kw_only=True)
class List:
    """Show which data sets are found where (`FFTUNE_DATA`), and how large they are."""


@dataclass(frozen=True, kw_only=True)
class Poison:
    """How far a poison may be from its image."""

    norm: Norm = "linf"
    eps: float | None = None
    """None stands for the norm's own: 8/255 for linf, .5 for l2."""

    def __post_init__(self) -> None:
        self.ball()

    def ball(self) -> ThreatModel:
        """With its radius, whoever has said it; inside [0, 1], as only pixels can be stored."""
        eps = default_eps(self.norm) if self.eps is None else self.eps
        return ThreatModel(norm=self.norm, eps=eps)


@dataclass(frozen=True, kw_only=True)
class Write:
    """Write a data set as betons, FFCV's files, each with a sidecar that says what is in it."""

    name: tyro.conf.Positional[str]
    """A set that `list` shows, folder:PATH or synthetic:SETTINGS."""
    source: Path | None = None
    """The folder that holds it; by default it is looked for where `list` says."""
    out: Path | None = None
    """Where its folder is put; default `FFTUNE_DATA`, where every command finds it by name."""
    part: Literal["train", "test", "whole"] | None = None
    """Only this part, with its substandard copy if it is one that trains."""
    kind: Literal["quality", "noise", "mislabeling", "poisoning"] = "quality"
    """Substandard kinds change what trains, never what validates or tests: beside the changed
    `train.beton` the examples are kept as they were. `NAME-KIND` is what the set is called, or
    `NAME-poisoning-l2`."""
    net: str | None = None
    """Of poisoning: a naturally trained net, as a checkpoint folder or FILE.py:FACTORY."""
    threat: Poison = field(default_factory=Poison)
    """Of poisoning."""
    constants: Literal["paper", "code"] = "paper"
    """Of poisoning: `code` starts its search at the image, and truncates what it finds to whole
    levels, as the authors' code does."""
    seed: int = 0
    """Of noise, mislabeling, poisoning."""
    phase: Literal[1, 2, 3] | None = None
    """The sizes of one of FastAT's three phases on ImageNet."""
    train_size: int | None = None
    """Examples to train on, for the sidecar's record of splits; none stands for all."""
    validation_size: int = 0
    """Examples to select models by, likewise."""
    split_seed: int = 0
    selection: Selection = "validation"
    """`test` records that models will be selected by the test set, which is optimistic."""
    write: Annotated[WriteConfig, tyro.conf.arg(name="")] = field(default_factory=WriteConfig)

    @property
    def spec(self) -> DataSpec:
        """The splits to record."""
        return DataSpec(
            name=self.name,
            train_size=self.train_size,
            validation_size=self.validation_size,
            split_seed=self.split_seed,
        )


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Read betons whole: checksum, counts and, where they are raw, every pixel's hash."""

    names: tyro.conf.Positional[tuple[str, ...]]
    """Betons, folders of them, or names of data sets."""


VERBS: dict[str, type[List] | type[Write] | type[Verify]] = {
    "list": List,
    "write": Write,
    "verify": Verify,
}


def main(arguments: Sequence[str]) -> None:
    """Parse, and do it."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = (f"  {verb:8s}{cls.__doc__}" for verb, cls in VERBS.items())
        print("usage: python -m fftune.data VERB ...\n\n" + "\n".join(lines))
        if not arguments:
            raise ConfigError(f"VERB is missing; {nearest('', VERBS)}")
        return
    verb, *flags = arguments
    if verb not in VERBS:
        raise ConfigError(f"no verb {verb!r}; {nearest(verb, VERBS)}")
    command = parse(VERBS[verb], flags, prog=f"python -m fftune.data {verb}")
    from fftune.data import commands as do

    match command:
        case List():
            do.show(command)
        case Write():
            do.write(command)
        case Verify():
            do.verify(command)
