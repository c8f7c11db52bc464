"""Printed numbers of both papers, cell by cell, from the package's `published.json`.

A path is the table's key, then what its layout names, from the row to the column. Attacks and
defenses have the names that they have in rows, nets of Wu et al. 2021 RobustBench's. Beside tables
there are the counts of their appendix B.10, and two accuracies of appendix E.
"""

# Paths: ("P1.T5", "Quality", "MLP", "D"), ("P1.T10", "THRM", "40", "R_hyp"),
# ("P1.T14", "Naive", "pgd-20"), ("P2.T1", "Standard", "hedge", "apgd-ce"),
# ("P2.T3", "ResNet-50", "none", "2/255 pgd-10"), ("P2.B10", "nat correct"),
# ("P2.E", "Zhang2019Theoretically", "hedge", "fgsm").

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from math import nan
from typing import Any

from fftune.papers.artifacts import Published


def published(*path: str) -> Published | None:
    """Look up a printed number; None: the papers print none there."""
    table, *inside = path
    whole = _tables().get(table, {"cells": {}})
    cell: Any = whole["cells"]
    for name in inside:
        cell = cell.get(name) if isinstance(cell, Mapping) else None
    return _cell(whole, inside, cell) if isinstance(cell, Mapping) and "mean" in cell else None


def _cell(whole: Mapping[str, Any], inside: list[str], cell: Mapping[str, float]) -> Published:
    mean, sd = float(cell["mean"]), float(cell.get("sd", nan))
    tolerance = whole.get("tolerance", whole.get("share", nan) * abs(mean))
    if sd == sd:
        tolerance = max(tolerance, whole.get("deviations", 0) * sd)
    return Published(
        mean=mean,
        sd=sd,
        remark=_said(whole, "remarks", inside),
        tolerance=tolerance,
        runs=whole["runs"],
        exempt=_said(whole, "exempt", inside),
    )


def _said(whole: Mapping[str, Any], what: str, inside: list[str]) -> str:
    """Text that a table has on a cell, or of all the cells below a part of its path."""
    said: Mapping[str, str] = whole.get(what, {})
    parts = ("/".join(inside[:depth]) for depth in range(len(inside), 0, -1))
    return next((said[part] for part in parts if part in said), "")


@cache
def _tables() -> Mapping[str, Any]:
    text = (files("fftune.papers.tables") / "published.json").read_text(encoding="utf-8")
    tables: Mapping[str, Any] = json.loads(text)
    return tables
