"""`python -m fftune.report STUDY [STUDY ...]`, `--table KIND NET ...`, `--gallery CHECKPOINT`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from fftune.cli.checkpoints import checkpoints_of
from fftune.cli.help_page import Manual
from fftune.cli.options import parse
from fftune.config import Device, Split, require
from fftune.config.validation import require_words
from fftune.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from fftune.papers.artifacts import Artifact


@dataclass(frozen=True, kw_only=True)
class Report:
    """Lay the fronts of finished studies side by side; or evaluated nets in a table; or images."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of studies. With `--table`: nets by the names that they were evaluated under, names of
    evaluations in `rows/`, studies, Parquet files of rows or folders of them."""
    table: Literal["attacks", "defenses", "certified"] | None = None
    """Print a table instead: of attacks on nets, of their defenses, or of what is certified;
    default fronts."""
    format: Literal["text", "markdown", "latex", "json", "csv"] | None = None
    """Form of the result on stdout; default text. `text`: tables as wide as the terminal; `json`:
    every figure with its n and 95 % interval, of studies alone; `csv`: one row a figure; `latex`:
    of a `--table` alone."""
    split: Split | None = None
    """Part of the data whose images the table counts; default test."""
    gallery: str | None = None
    """A checkpoint of which images are shown, before and after a false friend; default none."""
    model: str = ""
    """FILE.py:FUNCTION of the gallery's net, where its checkpoint is of code of yours."""
    ids: tuple[int, ...] = ()
    """Ids of the gallery's images; default the first mistakes that are concealed."""
    device: Device | None = None
    """Device of the gallery's net; default CUDA where torch sees it."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""

    def __post_init__(self) -> None:
        require_words(self)
        require("table", not (self.table and self.gallery), "left out with --gallery", self.table)
        for flag, needed in (
            ("split", "table"),
            *(("ids", "gallery"), ("device", "gallery"), ("model", "gallery")),
        ):
            given = getattr(self, flag)
            fits = not given or getattr(self, needed) is not None
            require(flag, fits, f"left out without --{needed}", given)
        wrong = {"latex": not self.table, "json": bool(self.table)}.get(self.format or "", False)
        rule = "one of text, markdown, csv, json, or with --table latex instead of json"
        require("format", not wrong, rule, self.format)
        require(
            "format", not (self.gallery and self.format), "left out with --gallery", self.format
        )
        require("names", not (self.gallery and self.names), "left out with --gallery", self.names)


MANUAL = Manual(
    usage=(
        "STUDY [STUDY ...]",
        "--table attacks|defenses|certified NET [NET ...] [--format FORMAT]",
        "--gallery CHECKPOINT|RUN [--ids N ...]",
    ),
    about="Lay the fronts of studies side by side; or evaluated nets in a table; or images.",
)


def main(arguments: Sequence[str]) -> None:
    """Parse, read, publish."""
    command = parse(Report, arguments, prog="report", manual=MANUAL)
    from fftune.storage import storage_root

    if not (command.names or command.gallery):
        what = "NET is missing: name at least one net" if command.table else _STUDY
        raise ConfigError(what)
    # A wrong one is refused before the long imports.
    root = storage_root(command.storage, written=False)

    if command.table:
        from fftune.papers.pages.render import blocks_of, render
        from fftune.report.terminal import show

        form = command.format or "text"
        assert form != "json"  # refused above
        found = _tables(command, root)
        if form == "text":
            show([block for one in found for block in blocks_of(one)])
        else:
            print(render(found, form), end="")
    elif command.gallery:
        (checkpoint,) = _one_checkpoint(command.gallery, command.storage)
        print(_gallery(command, checkpoint, root))
    else:
        from fftune.report.publish import publish

        form = command.format or "text"
        assert form != "latex"  # refused above
        publish(command.names, root).write(form)


def _one_checkpoint(name: str, storage: str | None) -> list[Path]:
    found = checkpoints_of([name], storage)
    if len(found) > 1:
        raise ConfigError(f"gallery must be one net, got {len(found)}: {', '.join(found)}")
    return [*found.values()]


_STUDY = "STUDY is missing: name at least one study"


def _tables(command: Report, root: Path) -> "list[Artifact]":
    from fftune.papers.tables.evaluated_nets import read_evaluated
    from fftune.papers.tables.net_tables import attack_table, certified_table, defense_tables

    evaluated = read_evaluated(command.names, root, command.split or "test")
    if command.table == "defenses":
        return list(defense_tables(evaluated))
    return [attack_table(evaluated) if command.table == "attacks" else certified_table(evaluated)]


def _gallery(command: Report, checkpoint: Path, root: Path) -> str:
    """Write the page of a gallery; return where it is."""
    from fftune.config import TrainConfig, read_settings
    from fftune.models.specs import read_spec, with_named_code, with_named_data
    from fftune.papers.artifacts import Built
    from fftune.papers.false_friends.galleries import gallery
    from fftune.papers.pages.page import plain_page

    spec = read_spec(checkpoint)  # first, as the settings of a damaged one would be guesses
    config = read_settings(TrainConfig, checkpoint / "config.json", error=ModelError)
    shown = gallery(
        with_named_code(spec, checkpoint, command.model),
        with_named_data(config.data, checkpoint),
        config.attack.threat,
        command.ids or None,
        command.device or "auto",
    )
    return str(plain_page(Built(key=shown.name, title=shown.title, artifacts=(shown,)), root))
