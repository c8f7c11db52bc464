"""A verb's result as people and programs read it: text, Markdown, JSON, CSV."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isnan
from typing import Any, TextIO

from fftune import __version__
from fftune.config import ResultForm
from fftune.expectation import Expectation
from fftune.report.terminal import WIDE, Block, markdown, plain, show
from fftune.risk import Rate

SCHEMA_VERSION = 1
"""Version of the JSON of results; a field may be added to it, none changes its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of a result, with what it is of: a row of CSV, an object of JSON."""

    study: str = ""
    net: str = ""
    """Name of the net, or of the trial's."""
    weights: str = ""
    """Hash of the weights."""
    trial: int | None = None
    lam: float | None = None
    settings: str = ""
    """Other settings that a search chose, as in "optimizer.lr=0.1"."""
    seed: int | None = None
    """Seed of the attackers; of trainings in a study, where None is the mean over seeds."""
    data: str = ""
    split: str = ""
    norm: str = ""
    eps: float | None = None
    battery: str = ""
    figure: str
    """Name of the number, as in "accuracy/pgd-20 adversarial"."""
    value: float | None
    """Fraction for rates; None where it is undefined."""
    low: float | None = None
    high: float | None = None
    """Ends of its 95 % interval; None where there is none."""
    count: int | None = None
    n: int | None = None
    """Examples counted, of how many; None for what counts no examples."""


FIELDS = tuple(f.name for f in fields(Figure))
"""Columns of CSV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPage:
    """Result of a verb: what people read, and the figures in it."""

    verb: str
    blocks: tuple[Block, ...]
    figures: tuple[Figure, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the JSON, which only this verb has."""

    @property
    def plain(self) -> dict[str, Any]:
        """Plain JSON values; what is undefined is null."""
        figures = [asdict(figure) for figure in self.figures]
        head = {"schema_version": SCHEMA_VERSION, "fftune": __version__, "verb": self.verb}
        return head | {"figures": figures} | dict(self.more)

    @property
    def text(self) -> str:
        """The page as plain text of `WIDE` columns."""
        return plain(self.blocks, WIDE)

    def write(self, form: ResultForm, stream: TextIO | None = None) -> None:
        """Write the page to a stream, by default stdout."""
        if form == "text":
            show(self.blocks, stream)
            return
        text = {
            "markdown": lambda: markdown(self.blocks) + "\n",
            "json": lambda: json.dumps(self.plain, indent=2) + "\n",
            "csv": lambda: _csv(self.figures),
        }[form]()
        print(text, end="", file=stream, flush=True)


def told(found: Rate | Expectation) -> str:
    """Format a rate and its interval in percent, as in "29.4 % (26.7 to 32.3)"."""
    if not found.n:
        return "undefined"
    low, high = found.interval
    return f"{100 * found.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def points(value: float, low: float, high: float) -> str:
    """Format a difference of two rates in points of percent, as in "+14.5 (+8.9 to +19.9)"."""
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def measured(found: Rate | Expectation) -> dict[str, Any]:
    """Fields of a `Figure` that a rate or a mean over draws fills."""
    if not found.n:
        return {"value": None, "count": 0 if isinstance(found, Rate) else None, "n": 0}
    low, high = (None if isnan(end) else end for end in found.interval)
    count = found.count if isinstance(found, Rate) else None
    return {"value": found.value, "low": low, "high": high, "count": count, "n": found.n}


def _csv(figures: tuple[Figure, ...]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for figure in figures:
        writer.writerow({k: "" if v is None else v for k, v in asdict(figure).items()})
    return out.getvalue()
