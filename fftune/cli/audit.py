"""`python -m fftune.audit CHECKPOINT --bar RATE=SHARE ...`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from fftune.auditing.bars import SETTINGS, Bar, read_bar_file, read_bars
from fftune.auditing.formats import AuditForm
from fftune.cli.arguments import parse_nets
from fftune.cli.evaluate import default_backend
from fftune.cli.help_page import Manual, help_is_asked
from fftune.cli.idle import refuse_resources
from fftune.cli.options import announce_imports, spelled_out
from fftune.config import (
    Backend,
    BatteryConfig,
    DataSpec,
    ModelSpec,
    Resources,
    Split,
    ThreatModel,
    require,
)
from fftune.config.validation import require_words
from fftune.errors import ConfigError, StorageError
from fftune.invocation import typed

log = logging.getLogger("fftune.evaluation")

MANUAL = Manual(
    usage=(
        "CHECKPOINT|RUN --bar RATE=SHARE [--SETTING VALUE ...]",
        "--model FILE.py:FUNCTION --data NAME --bars FILE [--SETTING VALUE ...]",
    ),
    about="""Judge a net by bars: PASS, FAIL or INCONCLUSIVE, with exit code 0, 3 or 4. Attacks as
many examples as these need. Rates: accuracy, robust_accuracy (at least), natural_risk,
adversarial_risk, hypocritical_risk, inflation (at most).""",
    usual=(
        *("--bar", "--bars", "--data", "--battery", "--tier", "--eps", "--norm", "--examples"),
        *("--model", "--weights", "--format", "--out"),
    ),
    short={
        "--battery": "--battery.name",
        "--data": "--data.name",
        "--seed": "--battery.seed",
        "--tier": "--battery.tier",
        "--transfer": "--battery.transfer",
        "--device": "--battery.device",
    },
)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Judge a net by bars: PASS, FAIL or INCONCLUSIVE.

    The same command run again goes on where it was interrupted: finished blocks are kept.
    """

    bar: tuple[str, ...] = ()
    """RATE=SHARE that the net must keep to, as in `accuracy=.95` or `inflation=1/8`. It may be
    named again for other rates. Accuracies must be at least that, risks at most. Default: those of
    `bars`."""
    bars: str | None = None
    """TOML file, as `audit.toml`, with a table [bars]. It may hold data, split, eps, norm,
    battery, tier, examples, seed and alpha. Flags win. Default: none."""
    battery: BatteryConfig = field(default_factory=lambda: BatteryConfig(name="audit"))
    data: DataSpec = field(default_factory=DataSpec)
    threat: Annotated[ThreatModel, tyro.conf.arg(name="")] = field(default_factory=ThreatModel)
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    backend: Backend | None = None
    """`ray` attacks several blocks at once; it stops at the same one. `inline` does one after the
    other in this process. Default `ray` inside a job, or where an address is named; else
    `inline`."""
    split: Split = "test"
    """Part of the data that the audit speaks of."""
    alpha: float = 0.05
    """Largest share of audits, in (0, 1), with a wrong PASS, and with a wrong FAIL, of all bars
    together."""
    examples: int | None = None
    """Most examples to attack. Default: as many as it takes, all at the most."""
    model: str = ""
    """FILE.py:FUNCTION of your own net, or any other that `fftune evaluate --model` takes; with a
    CHECKPOINT of your own net, the code that it may run."""
    weights: str = ""
    """File of its weights, where the function loads none. Files are taken as training scripts write
    them."""
    weights_key: str = ""
    """Container or prefix in that file, as in `state_dict_ema`, where several fit the net."""
    normalize: str = ""
    """Normalisation put before the net: `none`, `data`, `imagenet` or MEAN/STD. Default what its
    source says; a net of your own takes images in [0, 1]."""
    signature: str | None = None
    """Signature of the data by `fftune data sign`, as in FILE.json.sig. Default: the data are taken
    as they are, and the page says that nobody vouches for them."""
    public_key: str | None = None
    """File of the public key of whoever signed, in PEM. Default: none."""
    format: AuditForm = "text"
    """Form of the audit, which alone goes to stdout. `text`: a table and sentences; `markdown`: the
    same; `json`: the exact record; `junit`: a test for each bar, for CI; `cyclonedx`: a bill of
    materials (ML-BOM 1.6); `model-card`: `README.md` for the Hugging Face hub. Default text."""
    out: str | None = None
    """Folder for page, record and rows. Default: one below `audits` in the folder of results."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""

    def __post_init__(self) -> None:
        require_words(self)
        require("alpha", 0 < self.alpha < 1, "a probability in (0, 1), as in .05", self.alpha)
        few = self.examples is None or self.examples >= 1
        require("examples", few, ">= 1", self.examples)


def main(arguments: Sequence[str]) -> None:
    """Parse, audit, write, print; the exit code is the verdict."""
    words, of_file = _with_file(_gathered(spelled_out(arguments, MANUAL.short)))
    command, nets = parse_nets(Audit, words, MANUAL, prog="audit")
    if len(nets) > 1:
        raise ConfigError(f"CHECKPOINT must be one net, got {len(nets)}: {', '.join(nets)}")
    bars = {bar.measure: bar for bar in (*of_file, *read_bars(command.bar))}
    if not bars:
        raise ConfigError("bar is missing: name one, as in --bar hypocritical_risk=.3")
    backend = command.backend or default_backend(command.resources)
    if backend == "inline":
        refuse_resources(command.resources, "blocks are attacked without --backend ray")
    _audit(command, nets, tuple(bars.values()), backend, typed("audit", *arguments))


def _audit(
    command: Audit,
    nets: dict[str, ModelSpec],
    bars: tuple[Bar, ...],
    backend: Backend,
    again: str,
) -> None:
    from fftune.storage import in_home, storage_root
    from fftune.tracking.first_look import require_store

    root = storage_root(command.storage)  # a wrong one is reported before the long imports
    require_store(root)
    if command.out is not None and not Path(command.out).absolute().parent.is_dir():
        raise StorageError(f"out: there is no folder {str(Path(command.out).parent)!r}")

    announce_imports()
    from fftune.auditing.keeping import require_place

    if command.out is not None:
        require_place(Path(command.out))
    from fftune.auditing.audit import Asked, audited
    from fftune.auditing.formats import written
    from fftune.auditing.keeping import keep, tell, tracking_of
    from fftune.data.signing import signature_of
    from fftune.tracking.meanwhile import meanwhile

    files = (
        None if one is None else in_home(one) for one in (command.signature, command.public_key)
    )
    signature = signature_of(command.data, command.split, *files)
    tracking = partial(tracking_of, root, command.data.name)
    ((name, spec),) = nets.items()
    found = audited(
        name,
        spec,
        command.data,
        Asked(bars=bars, alpha=command.alpha, examples=command.examples),
        command.battery,
        threat=command.threat,
        split=command.split,
        signature=signature,
        backend=backend,
        resources=command.resources,
        root=root,
        command=again,
        beside=partial(meanwhile, tracking),
    )
    folder = Path(command.out) if command.out else root / "audits" / found.name
    page = keep(found, folder)
    tell(tracking(), found, folder)
    log.info("the page is %s", page)
    print(written(found.record, command.format), end="", flush=True)
    raise SystemExit(found.record.exit_code)


def _gathered(arguments: Sequence[str]) -> list[str]:
    """The arguments with the values of every `--bar` after a single one, at the end."""
    rest, bars, left = [], [], list(arguments)
    while left:
        flag, equals, value = (argument := left.pop(0)).partition("=")
        if flag != "--bar":
            rest.append(argument)
        elif equals:
            bars.append(value)
        else:
            while left and not left[0].startswith("-"):
                bars.append(left.pop(0))
            if not bars:
                raise ConfigError("bar must have a value, as in hypocritical_risk=.3")
    return [*rest, "--bar", *bars] if bars else rest


def _with_file(arguments: list[str]) -> tuple[list[str], tuple[Bar, ...]]:
    """The arguments with those settings of a file of bars that no flag says, and its bars."""
    given = [argument.partition("=") for argument in arguments]
    flags = [flag for flag, _, _ in given]
    if "--bars" not in flags or help_is_asked(arguments):
        return arguments, ()
    at = flags.index("--bars")
    path = given[at][2] if given[at][1] else "".join(arguments[at + 1 : at + 2])
    file = read_bar_file(Path(path))
    added = []
    for name in SETTINGS:
        flag = MANUAL.short.get(f"--{name}", f"--{name}")
        if name in file.settings and flag not in flags:
            added += [flag, file.settings[name]]
    return [*arguments, *added], file.bars
