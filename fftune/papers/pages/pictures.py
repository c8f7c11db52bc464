"""Figures as PNG and PDF, which the package kaleido draws with a Chrome that is installed."""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fftune.errors import ConfigError
from fftune.names import plain_name
from fftune.papers.artifacts import Built, Figure
from fftune.storage import write_whole

PictureFormat = Literal["png", "pdf"]
SIZE = {"width": 1100, "height": 650, "scale": 2}
"""Pixels of a picture, and the pixels of a PNG in each of them."""


def save_pictures(built: Built, folder: Path, formats: Sequence[PictureFormat]) -> list[str]:
    """Save the figures of an item, each in every format; return the names of the files.

    Raises:
        ConfigError: kaleido, or the Chrome that it needs, is not installed.
    """
    figures = [one for one in built.artifacts if isinstance(one, Figure)]
    if not formats or not figures:
        return []
    require_kaleido()
    names = []
    for figure in figures:
        for kind in formats:
            path = folder / f"{plain_name(figure.name)}.{kind}"
            write_whole(path, partial(_draw, figure, kind))
            names.append(path.name)
    return names


def require_kaleido() -> None:
    """Refuse pictures before any work is done for them.

    Raises:
        ConfigError: kaleido is not installed.
    """
    if find_spec("kaleido") is None:
        raise ConfigError(
            "pictures need the package kaleido, and a Chrome or Chromium that is installed: "
            'pip install "fftune[pictures]"'
        )


def _draw(figure: Figure, kind: PictureFormat, path: Path) -> None:
    try:
        figure.plot.write_image(path, format=kind, **SIZE)
    except RuntimeError as error:  # as plotly tells that kaleido has found no browser
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"pictures could not be drawn of {figure.name}: {reason}") from error
