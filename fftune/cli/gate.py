"""`python -m fftune.gate BEFORE AFTER --margin .01`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args

import tyro

from fftune.cli.arguments import parse_nets
from fftune.cli.help_page import Manual, help_is_asked
from fftune.cli.options import announce_imports, parse, parse_known, spelled_out
from fftune.config import (
    BatteryConfig,
    DataSpec,
    GateMeasure,
    ModelSpec,
    ResultForm,
    Split,
    ThreatModel,
    flat,
    require,
)
from fftune.config.validation import read_number, require_word, require_words
from fftune.errors import ConfigError, DataError
from fftune.registry import MODELS, source_prefix

if TYPE_CHECKING:
    from fftune.outcomes import Outcomes

MANUAL = Manual(
    usage=("BEFORE AFTER --margin SHARE [--SETTING VALUE ...]",),
    about="""Compare two nets, the one in use and the one to come after it, on the same images under
the same attacks: CHECKPOINTs, RUNs, what `fftune evaluate --model` takes, or the rows that it wrote
(Parquet, a folder, a name in `rows/`). Exit code 0: no measure lost more than its margin; 3: one
got worse; 4: too few images to tell.""",
    usual=(
        *("--margin", "--measure", "--battery", "--data", "--examples", "--eps"),
        *("--weights", "--device", "--junit", "--format"),
    ),
    short={
        "--battery": "--battery.name",
        "--data": "--data.name",
        "--examples": "--battery.examples",
        "--tier": "--battery.tier",
        "--device": "--battery.device",
    },
)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Compare two nets on the same images: has the new one lost more than is accepted?"""

    margin: tuple[str, ...] = ()
    """Loss that is accepted: `.01` of every measure, `accuracy=.005` of one, or both. It is a
    difference of shares, in [0, 1), and has no default."""
    measure: tuple[GateMeasure, ...] = get_args(GateMeasure)
    """Measures that are compared. The risks are those of each net's own right answers and mistakes.
    The battery needs an adversary for two of them, a false friend for
    one, on all images, as `risks` has them."""
    battery: BatteryConfig = field(default_factory=BatteryConfig)
    data: DataSpec = field(default_factory=DataSpec)
    threat: Annotated[ThreatModel, tyro.conf.arg(name="")] = field(default_factory=ThreatModel)
    split: Split = "test"
    """Part of the data whose images are attacked."""
    model: str = ""
    """FILE.py:FUNCTION that a CHECKPOINT of your own net may run."""
    weights: tuple[str, ...] = ()
    """Files of the weights of two MODELs, BEFORE's first, where their functions load none."""
    weights_key: str = ""
    """Container or prefix in those files, as in `state_dict_ema`, where several fit the net."""
    normalize: str = ""
    """Normalisation put before a MODEL: `none`, `data`, `imagenet` or MEAN/STD."""
    format: ResultForm = "text"
    """Form of the result, which alone goes to stdout. `csv` has one row a measure."""
    junit: str | None = None
    """File for JUnit XML, in which every measure is a test; default none."""
    storage: str | None = None
    """Folder of results, in which finished blocks of rows are kept and RUNs and ROWS are looked
    for; default `FFTUNE_STORAGE`."""

    def __post_init__(self) -> None:
        require_words(self)
        require("measure", bool(self.measure), "at least one", self.measure)
        require("weights", len(self.weights) in (0, 2), "two files", self.weights)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """`--storage` of a command, read before its nets are looked for."""

    storage: str | None = None


class Side(NamedTuple):
    """One of the two nets, or its rows."""

    given: str
    spec: ModelSpec | None = None
    rows: tuple[Path, ...] = ()


OF_ROWS = ("margin", "measure", "split", "format", "junit", "storage")
"""Settings that two files of rows leave open."""


def main(arguments: Sequence[str]) -> None:
    """Parse, attack, compare, print; the exit code is the verdict."""
    command, sides = _parsed(arguments)
    margins = margins_of(command.margin, command.measure)
    if command.junit is not None:
        from fftune.auditing.formats.junit import read_junit
        from fftune.storage import require_replaceable

        require_replaceable(Path(command.junit), "JUnit file", read_junit)
        folder = Path(command.junit).parent
        require("junit", folder.is_dir(), "a file in a folder that exists", command.junit)

    announce_imports()
    from fftune.auditing.formats.junit import junit
    from fftune.auditing.gate import gate
    from fftune.auditing.gate_page import cases, gate_page
    from fftune.storage import write_text

    names = _names(sides)
    before, after = _outcomes(command, sides, names)
    found = gate(before, after, margins, names=names)
    gate_page(found).write(command.format)
    if command.junit is not None:
        write_text(Path(command.junit), junit("fftune.gate", cases(found)))
    raise SystemExit(found.exit_code)


def margins_of(given: Sequence[str], measures: Sequence[GateMeasure]) -> dict[GateMeasure, float]:
    """Margins of measures, as in (".01", "accuracy=.005").

    Raises:
        ConfigError: a measure has none or two, is unknown or not compared; or one is no share.
    """
    from fftune.auditing.gate import check_margin

    found: dict[str, float] = {}
    for word in given:
        name, equals, number = word.rpartition("=")
        if equals:
            require_word("margin", name, GateMeasure)
            require("margin", name in measures, "of a measure that is compared", word)
        require("margin", name not in found, "said once for each measure", word)
        try:
            found[name] = read_number(number)
        except ValueError:
            raise ConfigError(f"margin must be a share, as in .01, got {word!r}") from None
        check_margin(found[name])
    for measure in measures:
        if measure not in found and "" not in found:
            raise ConfigError(
                f"margin of {measure} is missing: name the loss that is accepted, as in "
                "--margin .01"
            )
    return {measure: found[measure if measure in found else ""] for measure in measures}


def _parsed(arguments: Sequence[str]) -> tuple[Gate, list[Side]]:
    """The command, and its two sides, with the data and the threat of checkpoints among them."""
    flags, named = spelled_out(arguments, MANUAL.short), []
    while flags and not flags[0].startswith("-"):
        named.append(flags.pop(0))
    if help_is_asked(flags) or len(named) != 2:
        parse(Gate, flags, prog="gate", default=Gate(), manual=MANUAL)  # answers a call for help
        if len(named) < 2:
            missing = "AFTER is missing" if named else "BEFORE is missing, and so is AFTER"
            raise ConfigError(f"{missing}: name two nets, or rows of them; --help tells more")
        raise ConfigError(f"BEFORE and AFTER must be two nets, or rows of them, got {len(named)}")
    storage = parse_known(Stored, flags).storage
    rows = [_rows(name, storage) for name in named]
    trained = [
        name for name, found in zip(named, rows, strict=True) if not found and not _is_model(name)
    ]
    if trained:
        command, _ = parse_nets(Gate, [*trained, *flags], MANUAL, prog="gate")
    else:
        command = parse(Gate, flags, prog="gate", default=Gate(), manual=MANUAL)
    if all(rows):
        _refuse_attacking(command)
    sides = []
    for at, (name, found) in enumerate(zip(named, rows, strict=True)):
        spec = None if found else _spec(command, name, at, flags, checkpoint=name in trained)
        sides.append(Side(name, spec, tuple(found)))
    return command, sides


def _is_model(name: str) -> bool:
    """A name is that of a net, and not of a checkpoint."""
    if (Path(name) / "model.json").is_file():
        return False
    return ".py:" in name or bool(source_prefix(name)) or name in MODELS or Path(name).is_file()


def _rows(name: str, storage: str | None) -> list[Path]:
    """Files of rows that a name stands for; none where it is a net."""
    from fftune.storage import storage_root

    given = Path(name)
    if given.is_file():
        return [given] if given.suffix == ".parquet" else []
    if given.is_dir() and not any((given / f).exists() for f in ("model.json", "checkpoint")):
        return sorted(given.glob("*.parquet"))
    stored = storage_root(storage, written=False) / "rows" / f"{name}.parquet"
    return [stored] if stored.is_file() else []


def _spec(
    command: Gate, name: str, at: int, flags: Sequence[str], *, checkpoint: bool
) -> ModelSpec:
    """The net of a name.

    Raises:
        ConfigError: it stands for several nets, or for none.
        ModelError: there is no complete checkpoint.
    """
    if checkpoint:
        _, found = parse_nets(Gate, [name, *flags], MANUAL, prog="gate")
        if len(found) > 1:
            which = "AFTER" if at else "BEFORE"
            raise ConfigError(f"{which} must be one net, got {len(found)}: {', '.join(found)}")
        return next(iter(found.values()))
    from fftune.models.specs import named_spec

    weights = command.weights[at] if command.weights else ""
    return named_spec(name, weights, weights_key=command.weights_key, normalize=command.normalize)


def _refuse_attacking(command: Gate) -> None:
    """Refuse settings of attacks where both nets have rows, which were made with theirs.

    Raises:
        ConfigError: the message names the setting.
    """
    default = flat(Gate())
    for path, value in flat(command).items():
        if path.partition(".")[0] not in OF_ROWS:
            require(path, value == default[path], "left out for rows", value)


def _names(sides: Sequence[Side]) -> tuple[str, str]:
    """Names of both nets, that tell them apart."""
    labels = [side.spec.label if side.spec else Path(side.given).stem for side in sides]
    given = [side.given for side in sides]
    for one, two in (labels, given):
        if one != two:
            return one, two
    return f"{labels[0]} (before)", f"{labels[1]} (after)"


def _outcomes(
    command: Gate, sides: Sequence[Side], names: tuple[str, str]
) -> "tuple[Outcomes, Outcomes]":
    """Rows of both nets, read or made."""
    from fftune.outcomes import Outcomes

    nets = {
        name: side.spec for name, side in zip(names, sides, strict=True) if side.spec is not None
    }
    attacked = _attacked(command, nets) if nets else {}
    before, after = (
        attacked[name] if name in attacked else _of_split(Outcomes.read(*side.rows), command, name)
        for name, side in zip(names, sides, strict=True)
    )
    return before, after


def _of_split(rows: "Outcomes", command: Gate, name: str) -> "Outcomes":
    """
    Raises:
        DataError: there are none.
    """
    splits = rows.values("split")
    if command.split not in splits:
        others = ", ".join(sorted(splits)) or "none"
        raise DataError(f"rows of {name!r} are not of split {command.split}, only of {others}")
    return rows.where(split=command.split)


def _attacked(command: Gate, nets: Mapping[str, ModelSpec]) -> "dict[str, Outcomes]":
    from fftune.evaluation.evaluate import evaluate
    from fftune.storage import storage_root

    results = evaluate(
        nets,
        command.data,
        command.battery,
        threat=command.threat,
        split=command.split,
        root=storage_root(command.storage),
    )
    return {name: result.complete() for name, result in results.items()}
