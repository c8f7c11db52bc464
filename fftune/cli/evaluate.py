"""`python -m fftune.evaluate CHECKPOINT --battery NAME ...`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from fftune.cli.arguments import parse_net
from fftune.cli.help_page import Manual
from fftune.cli.options import announce_imports, parse_known
from fftune.config import (
    Backend,
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    ModelSpec,
    Resources,
    Split,
    ThreatModel,
)
from fftune.config.validation import require_words
from fftune.errors import ConfigError

if TYPE_CHECKING:
    from fftune.evaluation.scheduler import EvalResult
    from fftune.report.evaluations import EvaluationRecord

MANUAL = Manual(
    usage=(
        "CHECKPOINT|RUN|STUDY [--SETTING VALUE ...]",
        "--model FILE.py:FUNCTION --data NAME [--SETTING VALUE ...]",
    ),
    about="""Attack nets; print accuracies and risks; keep a row for every example. RUN and STUDY
are names or folders of a training and a sweep; their data and threat are the defaults.""",
    usual=(
        *("--battery", "--data", "--examples", "--eps", "--norm", "--tier", "--defense"),
        *("--transfer", "--seeds", "--model", "--weights", "--device", "--bar"),
    ),
    short={
        "--battery": "--battery.name",
        "--defense": "--defense.names",
        "--data": "--data.name",
        "--examples": "--battery.examples",
        "--tier": "--battery.tier",
        "--transfer": "--battery.transfer",
        "--device": "--battery.device",
    },
)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Attack nets with a battery; print accuracies and risks, and keep a row for every example.

    The same command run again computes nothing twice: finished blocks of rows are kept.
    """

    battery: BatteryConfig = field(default_factory=BatteryConfig)
    data: DataSpec = field(default_factory=DataSpec)
    threat: Annotated[ThreatModel, tyro.conf.arg(name="")] = field(default_factory=ThreatModel)
    defense: DefenseConfig = field(default_factory=DefenseConfig)
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    backend: Backend | None = None
    """`ray` spreads blocks over actors, each of `--battery.threads` CPUs and `--gpus` GPUs;
    `inline` does one after the other in this process. Default `ray` inside a job, or where an
    address is named; else `inline`. Rows are equal."""
    split: Split = "test"
    """Part of the data whose images are attacked."""
    seeds: int = 1
    """Seeds of the attackers, each a whole run. They begin at `--battery.seed`;
    the worst case under each stands beside the headline, which is that of the first."""
    bar: float | None = None
    """Share of right answers, in (0, 1), that a net must reach; default no verdict. The exit code
    is the verdict: 0 if its accuracy on clean images passes, 3 if it fails, 4 if its 95 % interval
    holds the bar, so that n is too small to tell; of several nets or defenses, the worst. Clean
    images decide, as they are what a deployed net meets; whether the net would also pass on images
    that a false friend has touched stands beside it, and decides nothing."""
    model: str = ""
    """FILE.py:FUNCTION of your own net for images in [0, 1], or a net of ours. A further
    `:NAME` is passed to the function; a net of ours, as in `resnet50`, is for `weights` of
    torchvision's or FastAT's, and as initialised without any. With a CHECKPOINT of your own net:
    the code that it may run."""
    weights: str = ""
    """Its state_dict, where the function loads none."""
    rows: str | None = None
    """Parquet file for the rows of one net; default below the folder of results."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""

    def __post_init__(self) -> None:
        require_words(self)
        self.battery.under_seeds(self.seeds)  # refuses a wrong number
        if self.bar is not None:
            from fftune.verdict import check_bar

            check_bar(self.bar)


def main(arguments: Sequence[str]) -> None:
    """Parse, attack, print, write; with `--bar` the exit code is a verdict."""
    if not arguments:
        raise ConfigError("CHECKPOINT is missing, and so is --model; --help tells more")
    command, nets = _parse(arguments)
    for flag, path, said in (
        ("--defense", "defense.names", command.defense.names),
        ("--transfer", "battery.transfer", command.battery.transfer),
    ):
        if not said and {flag, f"--{path}"} & set(arguments):
            raise ConfigError(f"{path} must have a value")
    command.defense.refuse_idle()
    if command.rows and len(nets) > 1:
        raise ConfigError(f"rows must be left out for a study of {len(nets)} nets")

    from fftune.storage import storage_root

    root = storage_root(command.storage)  # a wrong one is reported before the long imports

    announce_imports()
    from fftune.evaluation.evaluate import evaluate
    from fftune.report.evaluations import EvaluationRecord
    from fftune.tracking.meanwhile import meanwhile

    record = EvaluationRecord(
        root=root,
        threat=command.threat,
        defense=command.defense,
        data=command.data.name,
        rows=Path(command.rows) if command.rows else None,
        bar=command.bar,
    )
    record.check(command.battery)
    run = partial(
        evaluate,
        data=command.data,
        threat=command.threat,
        split=command.split,
        defense=command.defense,
        backend=command.backend or _default_backend(command.resources),
        resources=command.resources,
        root=root,
    )
    results = run(nets, battery=command.battery, beside=partial(meanwhile, record.begin))
    fit = {name: nets[name] for name, result in results.items() if result.error is None}
    seeds = command.battery.under_seeds(command.seeds)
    again = [run(fit, battery=battery) for battery in seeds[1:] if fit]
    for name, result in results.items():
        if result.error is None or len(results) > 1:  # the error of a single net ends the command
            others = [other[name].outcomes for other in again if name in fit]
            more = [rows for rows in others if rows is not None]
            print(record.keep(name, result, more), flush=True)
            record.tell(result, more)
    if told := record.compare(results):
        print(told)
    for one in (results, *again):
        record.finish(one)
    if command.bar is not None:
        _end_by_verdict(record, results)


def _end_by_verdict(record: "EvaluationRecord", results: "Mapping[str, EvalResult]") -> None:
    """Print the verdict on each of several nets; end with the exit code of the worst."""
    from fftune.report.bar_table import bar_line, decided
    from fftune.verdict import EXIT_CODES, worst

    found = {name: record.verdicts(result.outcomes) for name, result in results.items()}
    if len(found) > 1:
        print(*(bar_line(name, judged) for name, judged in found.items()), sep="\n")
    raise SystemExit(EXIT_CODES[worst(map(decided, found.values()))])


def _default_backend(resources: Resources) -> Backend:
    """Ray, if an address of it is named."""
    return "ray" if resources.address or os.environ.get("RAY_ADDRESS") else "inline"


def _parse(arguments: Sequence[str]) -> tuple[Evaluate, dict[str, ModelSpec]]:
    """Parse the command; return it with the nets by name."""
    first = arguments[0]
    if not first.startswith("-") and not (Path(first) / "model.json").exists():
        storage = parse_known(_Storage, arguments[1:]).storage
        checkpoints = study_checkpoints(first, storage)
        if checkpoints:
            one = next(iter(checkpoints.values()))
            command, _ = parse_net(Evaluate, [str(one), *arguments[1:]], MANUAL, prog="evaluate")
            from fftune.models.specs import read_spec, with_named_code

            return command, {
                name: with_named_code(read_spec(path), path, command.model)
                for name, path in checkpoints.items()
            }
    command, spec = parse_net(Evaluate, arguments, MANUAL, prog="evaluate")
    return command, {spec.label: spec}


@dataclass(frozen=True, kw_only=True)
class _Storage:
    storage: str | None = None


def study_checkpoints(study: str, storage: str | None) -> dict[str, Path]:
    """Complete checkpoints of a study or a run by name, as in `thrm-tiny-3`; empty if it is none.

    Args:
        study: its name below `<storage>/studies` or `<storage>/runs`, or its folder.
    """
    from fftune.storage import storage_root

    folder = Path(study)
    if not any((folder / part).is_dir() for part in ("trials", "checkpoint")):
        root = storage_root(storage)
        folder = root / "studies" / study
        if not folder.is_dir():
            folder = root / "runs" / study
    if (folder / "checkpoint/model.json").exists():
        return {folder.name: folder / "checkpoint"}
    found = sorted(folder.glob("trials/**/checkpoint/model.json"), key=_numbers)
    paths = (path.parent for path in found)
    return {
        "-".join((folder.name, *p.relative_to(folder / "trials").parent.parts)): p for p in paths
    }


def _numbers(path: Path) -> list[int]:
    """Numbers of trial and seed, so that trial 10 follows trial 9."""
    return [int(part) for part in path.parts if part.isdigit()]
