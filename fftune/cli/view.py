"""`python -m fftune.view STUDY|ROWS`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from fftune.cli.help_page import Manual
from fftune.cli.options import announce_imports, parse
from fftune.config import require
from fftune.config.validation import require_words
from fftune.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class View:
    """Write a folder that shows a study or rows in a browser, without a server or a network.

    Fronts with a slider that picks a trade-off, tables that sort and filter, risks by class, and
    single images. Open `index.html` in it.
    """

    name: tyro.conf.Positional[str] = ""
    """Name of a study, or its folder; or a Parquet file of rows, as `evaluate` writes it."""
    images: str = ""
    """Images to show: a folder of `evaluate --save-images`, or a number N; default none. A number
    is for a study of trainings: its attacks are run again on N images a net, those that say most
    first."""
    out: str | None = None
    """Folder to write, replaced if it is a view; default `view` beside the study's report, or
    NAME-view beside the rows."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""

    def __post_init__(self) -> None:
        require_words(self)
        require("name", bool(self.name), "a STUDY or a file of ROWS", self.name)
        if self.images.isascii() and self.images.isdigit():
            require("images", int(self.images) >= 1, ">= 1", self.images)


MANUAL = Manual(
    usage=("STUDY|ROWS [--SETTING VALUE ...]",),
    about="""Write a folder that shows a study or rows in a browser, without a server or a network:
fronts with a slider that picks a trade-off, tables that sort and filter, risks by class, single
images. Open `index.html` in it.""",
)


def main(arguments: Sequence[str]) -> None:
    """Parse, read, write, print the address of the page."""
    if not arguments:
        raise ConfigError("STUDY is missing: name a study, or a file of rows; or --help")
    command = parse(View, arguments, prog="view", manual=MANUAL)
    announce_imports()
    from fftune.viewer.view import view_rows, view_study

    given, out = Path(command.name), Path(command.out) if command.out else None
    count = int(command.images) if command.images.isdigit() else None
    saved = Path(command.images) if command.images and count is None else None
    if given.is_file():
        if count is not None:
            raise ConfigError(
                f"images must be a folder of saved images for rows, got {command.images!r}: rows "
                "do not hold their net; `fftune evaluate ... --save-images DIR` writes one"
            )
        print(view_rows(given, saved=saved, out=out).as_uri())
        return
    from fftune.cli.train_command import train_command
    from fftune.storage import storage_root

    if (given / "front.json").is_file():
        studies, name = given.absolute().parent, given.absolute().name
    else:
        studies, name = storage_root(command.storage, written=False) / "studies", command.name
    page = view_study(studies, name, trained=train_command, saved=saved, count=count, out=out)
    print(page.as_uri())
