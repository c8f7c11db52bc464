"""`python -m fftune.evaluate CHECKPOINT --battery NAME ...`."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from fftune.cli.arguments import parse_net
from fftune.cli.options import announce_imports, parse_known
from fftune.config import (
    Backend,
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    ModelSpec,
    Resources,
    ResultForm,
    Split,
    ThreatModel,
    TrainConfig,
    read_settings,
    require,
)
from fftune.config.validation import require_words
from fftune.errors import ConfigError, ModelError
from fftune.registry import OBJECTIVES, is_of_file

if TYPE_CHECKING:
    from fftune.evaluation.saved_images import ImageFolder
    from fftune.evaluation.scheduler import EvalResult
    from fftune.report.evaluations import EvaluationRecord

log = logging.getLogger("fftune.evaluation")

USAGE = """usage: python -m fftune.evaluate CHECKPOINT [--battery NAME] [--defense NAME ...]
                                             [--SETTING VALUE ...]
       python -m fftune.evaluate STUDY|RUN ...
       python -m fftune.evaluate --model FILE.py:FUNCTION|torchvision:NAME|... [--weights FILE]
                                 --data NAME ...

CHECKPOINT is the folder of a trained net, RUN the name or the folder of a training, STUDY that of a
sweep, of which all nets are evaluated; their data and threat are the defaults.

the usual flags:
  --data NAME --examples N           images of the test split, evenly spread; default all
  --eps 8/255 --norm linf|l2         the attackers' ball
  --battery NAME --tier LENGTH       which attacks; the ensembles' length: screen, escalating, full
  --defense NAME ...                 score them behind defences, too, beside attackers that know
                                     them: hedge, hedge_one_class, random, anti_adversary, jpeg,
                                     bit_depth, smoothing, FILE.py:NAME
  --transfer NET ...                 try points of other nets, too: folders of checkpoints,
                                     FILE.py:FUNCTION
  --seeds N                          run under N seeds of the attackers
  --format text|markdown|json|csv    form of the result on stdout; default text
  --details                          print searches, convergence and every draw of defences, too
  --save-images DIR                  keep the perturbed images, with an index of their verdicts

With `--bar .999` the exit code is a verdict: 0 if the net's accuracy on clean images passes the
bar, 3 if it fails, 4 if its 95 % interval holds the bar, so that n is too small to tell; of several
nets or defences, the worst. Clean images decide, as they are what a deployed net meets; whether the
net would also pass on images that a false friend has touched stands beside it, and decides nothing.

`python -m fftune.evaluate --model FILE.py:FUNCTION --help` lists every setting."""

SHORT = {
    "--battery": "--battery.name",
    "--defense": "--defense.names",
    "--data": "--data.name",
    "--examples": "--battery.examples",
    "--tier": "--battery.tier",
    "--transfer": "--battery.transfer",
    "--device": "--battery.device",
}


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
    seeds: int = 1
    """Seeds of the attackers, from `--battery.seed` on, each of which runs the whole battery: its
    worst case stands beside the headline, which is that of the first."""
    bar: float | None = None
    """Share of right answers, in (0, 1), that a net must reach: print who passes on clean images,
    who would pass once touched by a false friend, and end with the verdict's exit code."""
    model: str = ""
    """A net that is no CHECKPOINT: `path/to/FILE.py:FUNCTION` of your own, which takes images in
    [0, 1] (a further `:NAME` is passed to it); a file of TorchScript or `torch.export`;
    `torchvision:resnet50`, `timm:NAME`, `robustbench:ID` or `hf:OWNER/NAME@REVISION` with
    their weights from local caches, or with `weights` as their architecture; or a net of ours, as
    in `resnet18`, with `weights`. With a CHECKPOINT of your own net: the code that it may run."""
    weights: str = ""
    """File of its weights, as training scripts write them, where the function does not load it."""
    weights_key: str = ""
    """Container or prefix in that file, as in `state_dict_ema`, where several fit the net."""
    normalize: str = ""
    """Normalisation put before the net: `none`, `data`, `imagenet` or MEAN/STD. Default what its
    source says; a net of your own takes images in [0, 1]."""
    format: ResultForm = "text"
    """Form of the result, which alone goes to stdout. `text`: tables as wide as the terminal, of
    100 columns in a pipe; `markdown`: the same for a page; `json`: every figure with its n and
    95 % interval, and the settings; `csv`: one row a figure. Default text."""
    details: bool = False
    """Print protocols, the searches' shares and passes, convergence, and what every attack comes to
    in all draws of a defence, too."""
    save_images: str | None = None
    """Folder for the perturbed images of every attack, in one folder a net, with an `index.csv` of
    ids, labels and predictions. An image is a PNG where its 8 bits keep the verdict, else a `.npz`
    with the exact float32 points in [0, 1]. Every block is attacked then, kept or not. Default:
    none are kept."""
    rows: str | None = None
    """Parquet file for the rows of one net; default below the folder of results."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`, else one in the home folder."""

    def __post_init__(self) -> None:
        require_words(self)
        self.battery.under_seeds(self.seeds)  # refuses a wrong number
        if self.bar is not None:
            from fftune.verdict import check_bar

            check_bar(self.bar)


def main(arguments: Sequence[str]) -> None:
    """Parse, attack, write, print; with `--bar` the exit code is a verdict."""
    if not arguments or list(arguments) in (["-h"], ["--help"]):
        print(USAGE)
        if not arguments:
            raise ConfigError("CHECKPOINT is missing, and so is --model")
        return
    command, nets = _parse(arguments)
    _refuse(command, nets, arguments)

    from fftune.storage import storage_root
    from fftune.tracking.first_look import require_store

    root = storage_root(command.storage)  # a wrong one is reported before the long imports
    require_store(root)

    announce_imports()
    from fftune.report.evaluation_result import evaluation_result
    from fftune.report.evaluations import EvaluationRecord

    record = EvaluationRecord(
        root=root,
        threat=command.threat,
        defense=command.defense,
        data=command.data.name,
        rows=Path(command.rows) if command.rows else None,
        bar=command.bar,
    )
    record.check(command.battery)
    results, again = _attack(command, nets, record)
    kept = []
    for name, result in results.items():
        others = [other[name].outcomes for other in again if name in other]
        more = [rows for rows in others if rows is not None]
        if (net := record.keep(result, more, _lambda(nets[name]))) is not None:
            kept.append(net)
            record.tell(net)
    failed = {name: found.error for name, found in results.items() if found.error is not None}
    for name, error in failed.items() if len(results) > 1 else ():  # that of one net ends it all
        log.error("%s: %s", name, error)
    if kept:
        evaluation_result(record, kept, failed, details=command.details).write(command.format)
    for one in (results, *again):
        record.finish(one)
    if command.bar is not None:
        raise SystemExit(record.exit_code(results))


def _refuse(command: Evaluate, nets: Mapping[str, ModelSpec], arguments: Sequence[str]) -> None:
    """Refuse settings that contradict each other, before the long imports.

    Raises:
        ConfigError: the message names the setting.
    """
    for flag, path, said in (
        ("--defense", "defense.names", command.defense.names),
        ("--transfer", "battery.transfer", command.battery.transfer),
    ):
        if not said and {flag, f"--{path}"} & set(arguments):
            raise ConfigError(f"{path} must have a value")
    command.defense.refuse_idle()
    if command.rows and len(nets) > 1:
        raise ConfigError(f"rows must be left out for a study of {len(nets)} nets")
    if command.save_images is not None:
        on_ray = (command.backend or _default_backend(command.resources)) == "ray"
        require("save_images", not on_ray, "left out on Ray", command.save_images)


def _attack(
    command: Evaluate, nets: Mapping[str, ModelSpec], record: "EvaluationRecord"
) -> "tuple[dict[str, EvalResult], list[dict[str, EvalResult]]]":
    """Attack the nets under the first seed, and those that were fit under each further one."""
    from fftune.evaluation.evaluate import evaluate
    from fftune.tracking.meanwhile import meanwhile

    run = partial(
        evaluate,
        data=command.data,
        threat=command.threat,
        split=command.split,
        defense=command.defense,
        backend=command.backend or _default_backend(command.resources),
        resources=command.resources,
        root=record.root,
    )
    folders = _image_folders(command, nets)
    keep = {name: folder.keep for name, folder in folders.items()}
    beside = partial(meanwhile, record.begin)
    results = run(nets, battery=command.battery, beside=beside, keep=keep)
    for folder in folders.values():
        log.info("%s", folder)
    fit = {name: nets[name] for name, result in results.items() if result.error is None}
    seeds = command.battery.under_seeds(command.seeds)
    return results, [run(fit, battery=battery) for battery in seeds[1:] if fit]


def _image_folders(command: Evaluate, nets: Mapping[str, ModelSpec]) -> "dict[str, ImageFolder]":
    """Folders for the perturbed images of each net; none where they are not kept."""
    if command.save_images is None:
        return {}
    from fftune.evaluation.saved_images import ImageFolder
    from fftune.names import plain_name

    root = Path(command.save_images)
    return {name: ImageFolder(folder=root / plain_name(name)) for name in nets}


def _lambda(net: ModelSpec) -> float | None:
    """Weight lambda of a checkpoint's training; None where it is not known, or weighs nothing."""
    folder = Path(net.weights).parent
    if not net.weights or not all((folder / f"{n}.json").exists() for n in ("model", "config")):
        return None
    from fftune.objectives import find_objective

    config = read_settings(TrainConfig, folder / "config.json", error=ModelError)
    known = not is_of_file(config.objective) and config.objective in OBJECTIVES
    return config.lam if not known or find_objective(config.objective).weighted else None


def _default_backend(resources: Resources) -> Backend:
    """Ray, if an address of it is named."""
    return "ray" if resources.address or os.environ.get("RAY_ADDRESS") else "inline"


def _parse(arguments: Sequence[str]) -> tuple[Evaluate, dict[str, ModelSpec]]:
    """Parse the command; return it with the nets by name."""
    prog = "python -m fftune.evaluate"
    first = arguments[0]
    if not first.startswith("-") and not (Path(first) / "model.json").exists():
        storage = parse_known(_Storage, arguments[1:]).storage
        checkpoints = study_checkpoints(first, storage)
        if checkpoints:
            one = next(iter(checkpoints.values()))
            command, _ = parse_net(Evaluate, [str(one), *arguments[1:]], SHORT, prog=prog)
            from fftune.models.specs import read_spec, with_named_code

            return command, {
                name: with_named_code(read_spec(path), path, command.model)
                for name, path in checkpoints.items()
            }
    command, spec = parse_net(Evaluate, arguments, SHORT, prog=prog)
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
