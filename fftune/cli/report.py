"""`python -m fftune.report STUDY [STUDY ...]`."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from fftune.cli.options import parse
from fftune.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Report:
    """Lay the fronts of finished studies side by side."""

    studies: tyro.conf.Positional[tuple[str, ...]]
    """Names of studies."""
    storage: str | None = None
    """The folder that holds their results; default `FFTUNE_STORAGE`, else one in the home
    folder."""


def main(arguments: Sequence[str]) -> None:
    """Parse, read, publish."""
    command = parse(Report, arguments, prog="python -m fftune.report")
    from fftune.storage import storage_root

    if not command.studies:
        raise ConfigError("STUDY is missing: name at least one study")
    root = storage_root(command.storage)  # a wrong one is refused before the long imports

    from fftune.report.publish import publish

    print(publish(command.studies, root))
