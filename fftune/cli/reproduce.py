"""`python -m fftune.reproduce KEY [KEY ...]`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from fftune.cli.help_page import Manual
from fftune.cli.options import DryRun, announce_imports, parse, require_dry_run
from fftune.config import Backend, Device, Resources, require
from fftune.errors import ConfigError, FftuneError
from fftune.recipes import Scale

if TYPE_CHECKING:
    from fftune.papers.declarations import Setup


@dataclass(frozen=True, kw_only=True)
class Reproduce(DryRun):
    """Train, attack and lay out what tables and figures of both papers show.

    The same command run again goes on where it was interrupted, and computes nothing twice.
    """

    keys: tyro.conf.Positional[tuple[str, ...]] = ()
    """Tables and figures, as in `--list`; one key has all of a paper, `all` both."""
    scale: Scale = "tiny"
    """Digits, seconds a net; 5,000 images of CIFAR-10; or as published."""
    list: bool = False
    """List keys, what they are and cost here, and their state, and stop."""
    only: tuple[str, ...] = ()
    """Patterns of the KEYs that are taken, as in 'P1.T*'; default all."""
    seeds: int | None = None
    """Training seeds of tables with deviations, >= 1; default 3 at tiny, 1 at small, 5 at full
    scale."""
    zoo: str | None = None
    """File of published nets whose weights are here, for the tables of Wu et al. 2021; default
    none."""
    partial: bool = False
    """Go on without published nets whose weights are not here; their rows say so."""
    pictures: tuple[Literal["png", "pdf"], ...] = ()
    """Formats in which figures are saved as well; default none. Needs `fftune[pictures]` and a
    Chrome."""
    limits: dict[str, int] = field(default_factory=dict)
    """Examples of a hedge's analyses, as in `analysed 500 pictures 8`; default as the scale has.
    `sweep hedge --help-all showcase` explains them."""
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    backend: Backend | None = None
    """Tasks side by side, or one after the other in this process. A task has `--threads` CPUs and
    `--gpus` GPUs. Default `ray` where an address or GPUs are named, or where this
    machine has cores to spare. Results are equal."""
    device: Device = "auto"
    """Device of the nets: `auto` is CUDA where torch sees it."""
    threads: int = 1
    """CPU threads of a task; equal threads are part of what makes results equal."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""

    def __post_init__(self) -> None:
        DryRun.__post_init__(self)
        require("threads", self.threads >= 1, ">= 1", self.threads)


MANUAL = Manual(
    usage=("KEY [KEY ...] [--SETTING VALUE ...]", "--list"),
    about="""Train, attack and lay out what tables and figures of both papers show. Run again, the
same command goes on where it was, and computes nothing twice.""",
    usual=(
        *("KEY", "--list", "--scale", "--only", "--seeds", "--backend", "--gpus", "--device"),
        *("--threads", "--pictures", "--partial", "--zoo", "--storage", "--dry-run"),
    ),
)


def main(arguments: Sequence[str]) -> None:
    """Parse, plan, reproduce, tell.

    Raises:
        FftuneError: a task failed, or an item could not be built; all others are there.
    """
    command = parse(Reproduce, arguments, prog="reproduce", manual=MANUAL)
    require_dry_run(command)
    for flag in ("only", "pictures", "limits"):
        if f"--{flag}" in arguments and not getattr(command, flag):
            raise ConfigError(f"{flag} must have a value")
    if not (command.keys or command.list):
        raise ConfigError("KEY is missing: name tables or figures, P1, P2 or all; --list tells")
    from fftune.storage import storage_root
    from fftune.tracking.first_look import require_store

    root = storage_root(command.storage)  # a wrong one is refused before the long imports
    announce_imports()
    from fftune.papers.reproduce import How, keys_of, reproduce

    keys, setup = keys_of(command.keys or ("all",), command.only), _setup(command)
    if command.list or command.dry_run:
        print(_plan(command, keys, setup, root))
        return
    require_store(root)
    how = How(
        backend=command.backend,
        resources=command.resources,
        device=command.device,
        threads=command.threads,
    )
    found = reproduce(
        keys, setup, root=root, how=how, pictures=command.pictures, partial=command.partial
    )
    print(found.summary())
    if found.failed:
        raise FftuneError(f"{len(found.failed)} failed: {'; '.join(found.failed)}")


def _setup(command: Reproduce) -> "Setup":
    from fftune.papers.declarations import Setup

    setup = Setup(scale=command.scale, seeds=command.seeds, limits=command.limits)
    if command.zoo is None:
        return setup
    from fftune.papers.zoo import read_zoo

    return replace(setup, zoo=read_zoo(Path(command.zoo)))


def _plan(command: Reproduce, keys: Sequence[str], setup: "Setup", root: Path) -> str:
    from fftune.papers.graph.plan import Plan, absent_weights, dry_run, listing
    from fftune.papers.graph.schedule import wanted
    from fftune.papers.zoo import taken_as_here

    planned = replace(setup, zoo=taken_as_here(setup.scale, setup.zoo))
    plan = Plan.of(wanted(keys, planned), setup.scale)
    if command.list:
        return listing(plan, root)
    told = dry_run(plan, root, command.on, command.cards)
    return "\n".join(filter(None, (told, absent_weights(keys, setup))))
