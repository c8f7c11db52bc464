"""Tables, figures and galleries, which items come to, with their remarks and directions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any, Literal

Verdict = Literal["within", "outside", "not comparable", "none"]
"""Relation of a cell to the published one; `none`: nothing was published there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One of our numbers, in percent unless a table says otherwise; nan: undefined."""

    mean: float
    sd: float = nan
    """Standard deviation over seeds (n - 1); nan for one seed."""
    low: float = nan
    high: float = nan
    """95 % interval."""
    seeds: int = 1
    n: int = 0
    """Examples of one seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A printed number."""

    mean: float
    sd: float = nan
    remark: str = ""
    """A known error of the paper's at this cell; empty: none."""
    tolerance: float = nan
    """Distance from it that is tolerated at the full scale, in its own unit; nan: any."""
    runs: int = 1
    """Trainings that it is the mean of."""
    exempt: str = ""
    """Reason why nothing can be compared with it; empty: it is a target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One of our numbers beside the published one."""

    ours: Measure | None = None
    """Our number, or None with a `reason`."""
    published: Published | None = None
    verdict: Verdict = "none"
    reason: str = ""
    """Cause of a missing number, or of two that cannot be compared."""
    remark: str = ""
    """Warning about our number; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table."""

    label: str
    cells: tuple[Cell, ...]
    block: str = ""
    """Rows of one block stand together, as the three defenses of one net do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """A claim of a paper about which of two is larger, and whether it is seen here."""

    claim: str
    found: bool | None
    """Answer, or None where intervals overlap or numbers are missing."""
    seen: str
    """The numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in its paper's layout."""

    name: str
    """Name for files, as in `P1.T10`."""
    title: str
    columns: tuple[tuple[str, str], ...]
    """(group, column) of each cell; an empty group is none."""
    rows: tuple[Row, ...]
    unit: str = "%"
    corner: str = ""
    """Heading of the labels."""
    notes: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure that can be explored."""

    name: str
    title: str
    plot: Any
    """A `plotly.graph_objects.Figure`."""
    notes: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image with its caption."""

    png: str
    """Base64 of a PNG."""
    caption: str = ""
    colour: Literal["red", "green", ""] = ""
    """Red: a wrong label; green: a mistake that is concealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A row of pictures."""

    label: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures in rows."""

    name: str
    title: str
    strips: tuple[Strip, ...]
    columns: tuple[str, ...] = ()
    """Headings above the pictures."""
    notes: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ()


Artifact = Table | Figure | Gallery


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An item with what it came to."""

    key: str
    title: str
    artifacts: Sequence[Artifact] = field(default_factory=tuple)
    error: str = ""
    """Cause of a failure; empty: it was built."""
    exact: bool = False
    """Nothing was trained or attacked for it: it is in closed form, the same at every scale."""
