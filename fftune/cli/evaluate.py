"""`python -m fftune.evaluate CHECKPOINT --battery NAME ...`."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from fftune.cli.arguments import parse_nets
from fftune.cli.help_page import Manual
from fftune.cli.idle import refuse_resources
from fftune.cli.options import DryRun, announce_imports, require_dry_run
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
    to_json,
)
from fftune.errors import ConfigError, ModelError
from fftune.registry import OBJECTIVES, is_of_file

if TYPE_CHECKING:
    from fftune.evaluation.saved_images import ImageFolder
    from fftune.evaluation.scheduler import EvalResult
    from fftune.report.evaluations import EvaluationRecord

log = logging.getLogger("fftune.evaluation")

MANUAL = Manual(
    usage=(
        "CHECKPOINT|RUN|STUDY [--SETTING VALUE ...]",
        "--model FILE.py:FUNCTION --data NAME [--SETTING VALUE ...]",
    ),
    about="""Attack nets; print accuracies and risks; keep a row for every example. A RUN or a
STUDY, by its name or folder, brings its data and its threat.""",
    usual=(
        *("--battery", "--data", "--examples", "--eps", "--norm", "--tier", "--defense"),
        *("--seeds", "--model", "--weights", "--device", "--bar", "--format", "--dry-run"),
    ),
    short={
        "--battery": "--battery.name",
        "--defense": "--defense.names",
        "--data": "--data.name",
        "--examples": "--battery.examples",
        "--tier": "--battery.tier",
        "--transfer": "--battery.transfer",
        "--stored": "--battery.stored",
        "--device": "--battery.device",
    },
)


@dataclass(frozen=True, kw_only=True)
class Evaluate(DryRun):
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
    variants: bool = False
    """Evaluate the other nets of each CHECKPOINT's training as well, which are not as published:
    the average of its weights, and the one that did best on validation images. One of them alone
    is named by RUN@average or RUN@best."""
    split: Split = "test"
    """Part of the data whose images are attacked."""
    seeds: int = 1
    """Seeds of the attackers, one run each. They begin at `--battery.seed`; the worst case under
    each stands beside the headline, which is that of the first."""
    bar: float | None = None
    """Share of right answers, in (0, 1), that a net must reach; default no verdict. The exit code
    is the verdict: 0 if its accuracy on clean images passes, 3 if it fails, 4 if its 95 % interval
    holds the bar, so that n is too small to tell; of several nets or defenses, the worst. Clean
    images decide, as they are what a deployed net meets; whether the net would also pass on images
    that a false friend has touched stands beside it, and decides nothing."""
    model: str = ""
    """FILE.py:FUNCTION of your own net, torchvision:NAME, timm:NAME and others. Your own takes
    images in [0, 1], and a further `:NAME` is passed to it. `torchvision:resnet50`, `timm:NAME`,
    `robustbench:ID` and `hf:OWNER/NAME@REVISION` have their weights from local caches, or are the
    architecture of `weights`; so is a net of ours, as in `resnet18`. A file of TorchScript or
    `torch.export` is whole. With a CHECKPOINT of your own net: the code that it may run."""
    weights: str = ""
    """File of its weights, where the function loads none. Files are taken as training scripts write
    them."""
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
    in all draws of a defense, too."""
    save_images: str | None = None
    """Folder for the perturbed images of every attack, in one folder a net, with an `index.csv` of
    ids, labels and predictions. An image is a PNG where its 8 bits keep the verdict, else a `.npz`
    with the exact float32 points in [0, 1]. Every block is attacked then, kept or not. On Ray all
    nodes must share the folder. Default: none are kept."""
    rows: str | None = None
    """Parquet file for the rows of one net; default below the folder of results."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""

    def __post_init__(self) -> None:
        DryRun.__post_init__(self)
        self.battery.under_seeds(self.seeds)  # refuses a wrong number
        if self.bar is not None:
            from fftune.verdict import check_bar

            check_bar(self.bar)


def main(arguments: Sequence[str]) -> None:
    """Parse, attack, write, print; with `--bar` the exit code is a verdict."""
    command, nets = parse_nets(Evaluate, arguments, MANUAL, prog="evaluate")
    _refuse(command, nets, arguments)
    if command.dry_run:
        print(_cost(command, nets))
        return

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
        ("--stored", "battery.stored", command.battery.stored),
    ):
        if not said and {flag, f"--{path}"} & set(arguments):
            raise ConfigError(f"{path} must have a value")
    require_dry_run(command)
    command.defense.refuse_idle()
    if command.rows and len(nets) > 1:
        raise ConfigError(f"rows must be left out for {len(nets)} nets")
    on_ray = (command.backend or default_backend(command.resources)) == "ray"
    if not on_ray:
        refuse_resources(command.resources, "blocks are attacked without --backend ray")


def _cost(command: Evaluate, nets: Mapping[str, ModelSpec]) -> str:
    """The settings, and what the evaluation would cost."""
    from fftune.evaluation.cost import describe

    cost = describe(
        [*nets.values()],
        command.data,
        command.split,
        command.battery,
        threat=command.threat,
        defense=command.defense,
        seeds=command.seeds,
        on=command.on,
        cards=command.cards,
    )
    return to_json(command) + cost


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
        backend=command.backend or default_backend(command.resources),
        resources=command.resources,
        root=record.root,
    )
    folders = _image_folders(command, nets)
    log = logging.getLogger("fftune.evaluation")
    first, *more = command.battery.under_seeds(command.seeds)
    if more:
        log.info("seed %d of the attackers, 1 of %d", first.seed, command.seeds)
    results = run(nets, battery=first, beside=partial(meanwhile, record.begin), keep=folders)
    for folder in folders.values():
        log.info("%s", folder)
    fit = {name: nets[name] for name, result in results.items() if result.error is None}
    again = []
    for at, battery in enumerate(more if fit else (), start=2):
        log.info("seed %d of the attackers, %d of %d", battery.seed, at, command.seeds)
        again.append(run(fit, battery=battery))
    return results, again


def _image_folders(command: Evaluate, nets: Mapping[str, ModelSpec]) -> "dict[str, ImageFolder]":
    """Folders for the perturbed images of each net; none where they are not kept."""
    if command.save_images is None:
        return {}
    from fftune.evaluation.saved_images import ImageFolder
    from fftune.names import plain_name

    root = Path(command.save_images)
    folders = {name: ImageFolder(folder=root / plain_name(name)) for name in nets}
    for each in folders.values():
        each.check()
    return folders


def _lambda(net: ModelSpec) -> float | None:
    """Weight lambda of a checkpoint's training; None where it is not known, or weighs nothing."""
    folder = Path(net.weights).parent
    if net.lam is not None:
        return net.lam
    if not net.weights or not all((folder / f"{n}.json").exists() for n in ("model", "config")):
        return None
    from fftune.objectives import find_objective

    config = read_settings(TrainConfig, folder / "config.json", error=ModelError)
    known = not is_of_file(config.objective) and config.objective in OBJECTIVES
    return config.lam if not known or find_objective(config.objective).weighted else None


def default_backend(resources: Resources) -> Backend:
    """Ray, if an address of it is named."""
    return "ray" if resources.address or os.environ.get("RAY_ADDRESS") else "inline"
