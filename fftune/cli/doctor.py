"""`python -m fftune.doctor CHECKPOINT`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Annotated

import tyro

from fftune.cli.arguments import parse_nets
from fftune.cli.help_page import Manual
from fftune.cli.options import announce_imports
from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    Device,
    ModelSpec,
    ResultForm,
    Split,
    ThreatModel,
    told_radius,
)
from fftune.config.validation import require, require_words
from fftune.errors import ConfigError
from fftune.progress import Progress
from fftune.registry import DEFENSES, label

MANUAL = Manual(
    usage=(
        "CHECKPOINT|RUN [--SETTING VALUE ...]",
        "--model FILE.py:FUNCTION --data NAME [--SETTING VALUE ...]",
    ),
    about="""Look for the five behaviours of obfuscated gradients, and for flaws of the evaluation;
exit code 1 where a check fails. With --devices, --block-sizes or --both-orders: list instead the
verdicts that these do not share, each with its margins.""",
    usual=(
        *("--data", "--examples", "--eps", "--norm", "--defense", "--model", "--weights"),
        *("--device", "--devices", "--block-sizes", "--both-orders", "--battery"),
    ),
    short={
        "--data": "--data.name",
        "--examples": "--battery.examples",
        "--device": "--battery.device",
        "--battery": "--battery.name",
    },
)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Look for the five behaviours of obfuscated gradients, and for flaws of the evaluation."""

    battery: BatteryConfig = field(default_factory=lambda: BatteryConfig(examples=200))
    """Examples, seed, threads and device. The doctor brings its own attacks, except where it
    compares verdicts."""
    data: DataSpec = field(default_factory=DataSpec)
    threat: Annotated[ThreatModel, tyro.conf.arg(name="")] = field(default_factory=ThreatModel)
    defense: str = "none"
    """Look for the five under this defense; `none` is the bare net."""
    settings: DefenseConfig = field(default_factory=DefenseConfig)
    """Settings of the defense; its names and repeats are not used."""
    split: Split = "test"
    """Part of the data whose images are attacked."""
    model: str = ""
    """FILE.py:FUNCTION of your own net. Or any other that `fftune evaluate --model` takes; with a
    CHECKPOINT of your own net, the code that it may run."""
    weights: str = ""
    """File of its weights, where the function loads none. Files are taken as training scripts write
    them."""
    weights_key: str = ""
    """Container or prefix in that file, as in `state_dict_ema`, where several fit the net."""
    normalize: str = ""
    """Normalisation put before the net: `none`, `data`, `imagenet` or MEAN/STD. Default what its
    source says; a net of your own takes images in [0, 1]."""
    format: ResultForm = "text"
    """Form of the result, which alone goes to stdout; checks are told on stderr as they end.
    `text`: tables as wide as the terminal; `markdown`; `json`; `csv`: one row a check. Default
    text."""
    storage: str | None = None
    """Folder of results, in which a RUN is looked for; default `FFTUNE_STORAGE`."""
    devices: tuple[Device, ...] = ()
    """Compare the battery's verdicts on these devices. Default: on none."""
    block_sizes: tuple[int, ...] = ()
    """Compare them in blocks of so many examples. Default: in one."""
    both_orders: bool = False
    """Compare them with those in reverse order."""

    def __post_init__(self) -> None:
        require_words(self)
        require(
            "block_sizes", all(size >= 1 for size in self.block_sizes), ">= 1", self.block_sizes
        )
        if self.defense != "none":
            DEFENSES.check("defense", self.defense)


def main(arguments: Sequence[str]) -> None:
    """Parse, check, print; exit code 1 where a check fails."""
    command, nets = parse_nets(Doctor, arguments, MANUAL, prog="doctor")
    if len(nets) > 1:
        raise ConfigError(f"CHECKPOINT must be one net, got {len(nets)}: {', '.join(nets)}")
    (spec,) = nets.values()
    if command.devices or command.block_sizes or command.both_orders:
        _compare(command, spec)
        return

    announce_imports()
    from fftune.doctor.examination import examined
    from fftune.report.doctor_page import doctor_page

    found = examined(
        spec,
        command.data,
        command.split,
        command.battery,
        threat=command.threat,
        defense=command.defense,
        settings=command.settings,
    )
    doctor_page(found).write(command.format)
    if not found.passed:
        raise SystemExit(1)


def _compare(command: Doctor, spec: ModelSpec) -> None:
    """Print the verdicts that devices, sizes of blocks and orders do not share."""
    announce_imports()
    from fftune.data.model_spec import load_for
    from fftune.data.subset import sample
    from fftune.doctor.agreement import agreements, ways

    chosen = ways(
        command.battery, command.devices, command.block_sizes, backwards=command.both_orders
    )
    images = cache(partial(sample, command.data, command.split, command.battery.examples))
    net, _ = load_for(spec, images)
    dataset = images()
    ball = f"{command.threat.norm}, eps {told_radius(command.threat.eps)}"
    battery = f"battery {label(command.battery.name)}, seed {command.battery.seed}"
    print(f"{command.split}, n = {len(dataset):,}; {dataset.source.name}, {ball}; {battery}")
    first = None
    with Progress("doctor", unit="ways", total=len(chosen)) as progress:
        for found in agreements(net, dataset, command.battery, chosen, threat=command.threat):
            first = first or found
            print(*found.lines(first), sep="\n", flush=True)
            progress.update(progress.done + 1, note=str(found.way))
