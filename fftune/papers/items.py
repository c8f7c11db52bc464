"""Items: the tables and figures of the papers, entries of `registry.PAPERS`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fftune.papers.artifacts import Artifact
from fftune.papers.declarations import Need, Setup
from fftune.papers.results import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A table or a figure of a paper: what it needs, and how it is built from that.

    `build` asks the results for what `needs` has listed, and gets None for what failed.
    """

    key: str
    """Name, as in `P1.T10`."""
    title: str
    """Subject, in one line."""
    needs: Callable[[Setup], Iterable[Need]]
    build: Callable[[Results], Iterable[Artifact]]
