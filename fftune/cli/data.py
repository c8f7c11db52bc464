"""`python -m fftune.data list|write|verify|sign|inspect|touch ...`: data sets and who vouches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from fftune.cli import data_inspect, data_sign, data_touch
from fftune.cli.help_page import Manual, listed
from fftune.cli.options import parse
from fftune.config import (
    PERTURBED,
    DataSpec,
    Norm,
    Selection,
    ThreatModel,
    WriteConfig,
    nearest,
    told_radius,
)
from fftune.config.attack import default_eps
from fftune.config.data import data_name
from fftune.config.validation import require, require_words
from fftune.errors import ConfigError
from fftune.invocation import spoken

if TYPE_CHECKING:
    from fftune.data.beton.manifest import Made, Manifest
    from fftune.data.dataset import Source
    from fftune.data.inventory import Entry


@dataclass(frozen=True, kw_only=True)
class List:
    """Show the known data sets, and all that lie in `FFTUNE_DATA`, and how large they are."""


@dataclass(frozen=True, kw_only=True)
class Poison:
    """The ball of a poison around its image."""

    norm: Norm = "linf"
    """Norm of the ball."""
    eps: float | None = None
    """Radius of the ball, in pixels of [0, 1]; default 8/255 for linf, 0.5 for l2."""

    def __post_init__(self) -> None:
        require_words(self)
        self.ball()

    def ball(self) -> ThreatModel:
        """The ball with its radius, said or not; inside [0, 1], as only pixels can be stored."""
        eps = default_eps(self.norm) if self.eps is None else self.eps
        return ThreatModel(norm=self.norm, eps=eps)


@dataclass(frozen=True, kw_only=True)
class Write:
    """Write a data set as beton files (FFCV's), each with a manifest that says what is in it."""

    name: tyro.conf.Positional[str]
    """A data set that `fftune data list` shows, folder:PATH, FILE.py:NAME or synthetic:SETTINGS."""
    source: Path | None = None
    """The folder that holds it; default where `fftune data list` looks for it."""
    out: Path | None = None
    """Folder in which the set gets its own; default `FFTUNE_DATA`, where every command finds it by
    name."""
    part: Literal["train", "test", "whole"] | None = None
    """One part, with its substandard copy if it is one that trains; default: all."""
    kind: Literal["quality", "noise", "mislabeling", "poisoning", "helped"] = "quality"
    """The training data: as they are, or changed. What validates or tests is never changed; beside
    the changed `train.beton` the examples are kept as they were. The set is then called
    `NAME-KIND`, or `NAME-poisoning-l2`."""
    net: str | None = None
    """Naturally trained net of poisoning and helped: a checkpoint folder or FILE.py:FUNCTION;
    default none."""
    model: str = ""
    """FILE.py:FUNCTION of that checkpoint, where it is of code of yours."""
    threat: Poison = field(default_factory=Poison)
    """The ball of poisoning and helped."""
    constants: Literal["paper", "code"] = "paper"
    """Source of poisoning's settings. `code` starts its search at the image, and truncates what it
    finds to whole levels, as the authors' code does."""
    seed: int = 0
    """Seed of what is random."""
    phase: Literal[1, 2, 3] | None = None
    """One of FastAT's three phases on ImageNet, whose image sizes are written; default none."""
    train_size: int | None = None
    """Examples to train on, for the manifest's record of splits; default: all."""
    validation_size: int = 0
    """Examples to select models by, for the same record."""
    split_seed: int = 0
    """Seed by which the examples of a set are divided into its parts, for the same record."""
    selection: Selection = "validation"
    """Part that selects models, for the same record; `test` is optimistic."""
    write: Annotated[WriteConfig, tyro.conf.arg(name="")] = field(default_factory=WriteConfig)

    def __post_init__(self) -> None:
        require_words(self)


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Read beton files whole: checksum, counts and, where they are raw, every pixel's hash.

    With a signature: compare every image and label of one data set, of any form, with what was
    signed. The exit code is then the verdict: 0 if all is as it was, 3 if not.
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Beton files, folders of them, or names of data sets."""
    signature: str = ""
    """File that `fftune data sign` wrote, with its manifest beside it; default none."""
    public_key: str = ""
    """File of the public key, in PEM, of whoever should have signed."""


Command = List | Write | Verify | data_sign.Sign | data_inspect.Inspect | data_touch.Touch
MANUALS = {
    "list": Manual(usage=("",), about=List.__doc__ or ""),
    "write": Manual(
        usage=("NAME [--source FOLDER] [--kind KIND] [--SETTING VALUE ...]",),
        about=Write.__doc__ or "",
        usual=(
            *("NAME", "--source", "--out", "--part", "--kind", "--net", "--seed", "--train-size"),
            *("--validation-size", "--phase", "--mode", "--image-size", "--skip-bad"),
        ),
    ),
    "verify": Manual(
        usage=("NAME ...", "SET --signature FILE --public-key FILE"), about=Verify.__doc__ or ""
    ),
    "sign": data_sign.MANUAL,
    "inspect": data_inspect.MANUAL,
    "touch": data_touch.MANUAL,
}
VERBS: dict[str, type[Command]] = {
    "list": List,
    "write": Write,
    "verify": Verify,
    "sign": data_sign.Sign,
    "inspect": data_inspect.Inspect,
    "touch": data_touch.Touch,
}


def main(arguments: Sequence[str]) -> None:
    """Parse, and do it."""
    if not arguments:
        raise ConfigError(f"VERB is missing: name one of {', '.join(VERBS)}; or --help")
    if arguments[0] in ("-h", "--help", "--help-all"):
        lines = listed({verb: manual.about for verb, manual in MANUALS.items()})
        print(f"usage: {spoken('data', 'VERB')} ...", "", *lines, sep="\n")
        return
    verb, *flags = arguments
    if verb not in VERBS:
        raise ConfigError(f"unknown verb {verb!r}; {nearest(verb, VERBS)}")
    match parse(VERBS[verb], flags, prog=f"data {verb}", manual=MANUALS[verb]):
        case Write() as command:
            _write(command)
        case Verify() as command:
            _verify(command)
        case data_sign.Sign() as command:
            data_sign.sign(command)
        case data_inspect.Inspect() as command:
            data_inspect.inspect(command)
        case data_touch.Touch() as command:
            data_touch.touch(command)
        case _:
            _list()


def _list() -> None:
    from fftune.data.catalog import data_root
    from fftune.data.engines.ffcv_decoder import why_missing
    from fftune.data.inventory import inventory

    print(f"data sets in {data_root()} (FFTUNE_DATA names another folder)")
    print(f"FFCV: {why_missing() or 'usable'}")
    print(f"{'set':24s} {'classes':>7s} {'train':>19s} {'test':>17s}  stored as")
    for entry in inventory():
        print(f"{entry.name:24s} {_found(entry)}")


def _found(entry: "Entry") -> str:
    """The columns of a set."""
    if entry.damage:
        return f"damaged: {entry.damage}"
    if not entry.counts:
        return f"{'-':>7s} {'-':>19s} {'-':>17s}  -"
    counts = {part: f"{count:,}" for part, count in entry.counts.items()}
    if entry.official:
        counts = {part: f"{count} of {entry.official[part]:,}" for part, count in counts.items()}
    train, test = counts.get("train", counts.get("whole", "-")), counts.get("test", "-")
    return f"{entry.classes:7d} {train:>19s} {test:>17s}  {entry.storage}"


def _write(command: Write) -> None:
    from fftune.data.conversion import Conversion, convert

    conversion = Conversion(
        name=data_name(command.name),
        source=command.source,
        out=command.out,
        part=command.part,
        kind=command.kind,
        net=command.net,
        model=command.model,
        threat=command.threat.ball(),
        constants=command.constants,
        seed=command.seed,
        phase=command.phase,
        spec=DataSpec(
            name=command.name,
            train_size=command.train_size,
            validation_size=command.validation_size,
            split_seed=command.split_seed,
        ),
        selection=command.selection,
        write=command.write,
    )
    for at, (path, manifest) in enumerate(convert(conversion)):
        if at == 0:
            print(_classes(manifest.source))
        print(f"{path}: {_summary(manifest)}")


def _verify(command: Verify) -> None:
    if not command.names:
        raise ConfigError("names must hold a beton, a folder or a data set")
    if command.signature or command.public_key:
        require("names", len(command.names) == 1, "one data set beside a signature", command.names)
        data_sign.verify(command.names[0], command.signature, command.public_key)
        return
    from fftune.data.conversion import beton_files, check_beton

    said = ""
    for path in (path for name in command.names for path in beton_files(name)):
        manifest = check_beton(path)
        if (classes := _classes(manifest.source)) != said:
            print(classes)
            said = classes
        print(f"ok {path}: {_summary(manifest)}")


def _classes(source: "Source", most: int = 12) -> str:
    """The number of classes, and the first of them in the order of their labels."""
    names = ", ".join(source.classes[:most])
    more = ", ..." if len(source.classes) > most else ""
    return f"{len(source.classes)} classes in order: {names}{more}"


def _summary(manifest: "Manifest") -> str:
    shape = "x".join(map(str, manifest.shape)) if manifest.shape else "mixed sizes"
    words = [
        f"{manifest.count:,} examples of {len(manifest.source.classes)} classes, {shape}",
        f"{manifest.bytes / 1e6:.1f} MB",
        f"content {manifest.content}",
    ]
    if manifest.made:
        words.append(_making(manifest.made))
    if manifest.converted:
        words.append(f"{manifest.converted:,} grey images made colour")
    if manifest.skipped:
        skipped = f"{len(manifest.skipped):,} bad images skipped"
        words.append(f"{skipped}: {'; '.join(manifest.skipped)}")
    return ", ".join(words)


def _making(made: "Made") -> str:
    """The kind of a substandard part, and all that it depends on."""
    words = [f"{made.kind} of {made.parent}", f"seed {made.seed}"]
    if made.kind in PERTURBED:
        radius = f"{made.threat.norm} eps {told_radius(made.threat.eps)}"
        words[1:1] = [radius, f"constants {made.constants}"]
    return ", ".join(words)
