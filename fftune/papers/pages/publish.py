"""Tables and figures of the papers in MLflow: one run for each key of a scale."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fftune.names import plain_name
from fftune.papers.artifacts import Built, Cell, Row, Table
from fftune.papers.declarations import Setup
from fftune.papers.pages.layout import verdict
from fftune.papers.pages.page import standalone
from fftune.papers.pages.render import render, render_item
from fftune.tracking.runs import TrackedRun, has_run, in_place_of, open_to_write
from fftune.tracking.store import Tracking

LONGEST = 250
"""Characters of a metric's name that MLflow takes."""


def log(built: Iterable[Built], setup: Setup, root: Path) -> None:
    """Log items to the experiment `papers-SCALE`.

    A run is replaced only by one of the same key and scale, and only if something in it is new.

    Raises:
        StorageError: MLflow does not answer, or its store is of no use.
    """
    tracking = open_to_write(root, f"papers-{setup.scale}")
    for one in built:
        if not one.error:
            _log(tracking, one, setup)


def _log(tracking: Tracking, built: Built, setup: Setup) -> None:
    tables = [one for one in built.artifacts if isinstance(one, Table)]
    files = {
        f"{plain_name(built.key)}.txt": render_item(built, setup),
        f"{plain_name(built.key)}.html": standalone(built, setup),
    }
    if tables:
        files[f"{plain_name(built.key)}.csv"] = render(tables, "csv")
    same = {"fftune.kind": "paper", "fftune.key": built.key, "fftune.scale": setup.scale}
    content = {"fftune.content": hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]}
    with in_place_of(tracking, same):
        if has_run(tracking, same | content):
            return
        run = TrackedRun(
            tracking,
            built.key,
            tags=same | content | _found(built),
            params={"title": built.title},
            replaces=same,
        )
        run.metrics({name: value for table in tables for name, value in _metrics(table)})
        for name, text in files.items():
            run.text(name, text)
        run.end()


def _found(built: Built) -> dict[str, str]:
    """Tags that say how many claims of the paper are found, and which."""
    tags = {}
    for answer in ("found", "not found", "undecided"):
        claims = [
            one.claim
            for artifact in built.artifacts
            for one in artifact.directions
            if verdict(one) == answer
        ]
        if claims:
            tags[f"fftune.{answer.replace(' ', '_')}"] = "; ".join(claims)
    return tags


def _metrics(table: Table) -> Iterator[tuple[str, float]]:
    """Our numbers, as in `T10/THRM lambda 20/F`, and their differences from published ones."""
    for row in table.rows:
        for (group, column), cell in zip(table.columns, row.cells, strict=True):
            if cell.ours is None or cell.ours.mean != cell.ours.mean:
                continue
            name = _name(table, row, group, column)
            yield name, cell.ours.mean
            if (difference := _difference(cell)) is not None:
                yield f"difference/{name}"[:LONGEST], difference


def _name(table: Table, row: Row, group: str, column: str) -> str:
    label = f"{table.corner} {row.label}" if row.label[:1].isdigit() else row.label
    parts = (table.name.partition(".")[2], f"{row.block} {group} {label}", column)
    plain = (re.sub(r"[^\w .\-]", "_", " ".join(part.split())) for part in parts)
    return "/".join(filter(None, plain))[:LONGEST]


def _difference(cell: Cell) -> float | None:
    """Ours less theirs, where the two can be compared."""
    if cell.ours is None or cell.published is None or cell.verdict not in ("within", "outside"):
        return None
    return cell.ours.mean - cell.published.mean
