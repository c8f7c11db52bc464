"""`python -m fftune.doctor CHECKPOINT`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Annotated

import tyro

from fftune.cli.arguments import parse_net
from fftune.cli.help_page import Manual
from fftune.cli.options import announce_imports
from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    Device,
    ModelSpec,
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
    """FILE.py:FUNCTION of your own net. With its CHECKPOINT, the code that it may run."""
    weights: str = ""
    """Its state_dict, where the function loads none."""
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
    if not arguments:
        raise ConfigError("CHECKPOINT is missing, and so is --model; --help tells more")
    command, spec = parse_net(Doctor, arguments, MANUAL, prog="doctor")
    if command.devices or command.block_sizes or command.both_orders:
        _compare(command, spec)
        return

    announce_imports()
    from fftune.data.model_spec import load_for
    from fftune.data.subset import sample
    from fftune.doctor.behaviours import behaviours
    from fftune.doctor.check import LEVEL, MARGIN
    from fftune.doctor.sound import checks_of
    from fftune.evaluation.evaluate import has_gradients

    progress = Progress("doctor", unit="parts", total=2, fractions=True)
    progress.update(note="the evaluation")
    with progress:
        images = cache(partial(sample, command.data, command.split, command.battery.examples))
        net, _ = load_for(spec, images)
        dataset = images()
        followed = has_gradients(net, dataset, command.battery)
        checks = checks_of(net, dataset, command.battery, threat=command.threat)
    ball = f"{command.threat.norm}, eps {told_radius(command.threat.eps)}"
    print(f"the evaluation, {command.split}, n = {len(dataset):,}; {dataset.source.name}, {ball}")
    print(*(f"  {check}" for check in checks), sep="\n")
    if not followed:
        print("obfuscated gradients: not looked for, as the net has none at all")
        raise SystemExit(1)
    progress.update(1, note="obfuscated gradients")
    with progress:
        found = behaviours(
            net,
            dataset,
            command.battery,
            threat=command.threat,
            defense=command.defense,
            settings=command.settings,
        )
        progress.update(2)
    print(f"obfuscated gradients, defense {command.defense}")
    print(*(f"  {check}" for check in found), sep="\n")
    print(
        f"An attack counts as better from {MARGIN:.0%} of the examples and p < {LEVEL} (McNemar) "
        "on. To pass proves nothing."
    )
    if not all(check.passed for check in (*checks, *found)):
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
