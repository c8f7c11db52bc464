"""Printed numbers: all are there, they agree with each other, and known errors are flagged."""

import json
import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import pytest

from fftune.papers.tables.published import published


def paths() -> list[tuple[str, ...]]:
    """Paths of all printed numbers."""
    text = (files("fftune.papers.tables") / "published.json").read_text(encoding="utf-8")
    tables = json.loads(text)
    return [(key, *path) for key in tables for path in below(tables[key]["cells"])]


def below(cells: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, inside in cells.items():
        if "mean" in inside:
            yield (name,)
        else:
            yield from ((name, *path) for path in below(inside))


def value(*path: str) -> float:
    found = published(*path)
    assert found is not None
    return found.mean


def test_every_table_has_its_cells() -> None:
    """Counted by hand on the papers' pages."""
    counts: dict[str, int] = {}
    for key, *_ in paths():
        counts[key] = counts.get(key, 0) + 1
    first = {"P1.T1": 45, "P1.T2": 45, "P1.T3": 54, "P1.T5": 45, "P1.T6": 45, "P1.T7": 45}
    first |= {"P1.T8": 36, "P1.T9": 12, "P1.T14": 25, "P1.T15": 10, "P1.T16": 16}
    fronts = {f"P1.T{number}": 108 for number in (10, 11, 12, 13)}
    second = {"P2.T1": 9 * 33, "P2.T2": 4 * 33, "P2.T3": 24, "P2.T4": 9 * 30, "P2.T5": 17 * 33}
    second |= {"P2.T6": 4, "P2.T7": 63, "P2.T8": 4, "P2.B10": 6, "P2.E": 2}
    assert counts == first | fronts | second


@pytest.mark.parametrize(
    ("path", "mean", "sd"),
    [
        (("P1.T5", "Noise", "WRN-28-10", "F"), 98.42, 1.66),
        (("P1.T3", "Quality (NT)", "CIFAR-10", "D"), 94.38, math.nan),
        (("P1.T10", "TRADES", "0", "R_hyp"), 100.0, math.nan),
        (("P1.T14", "Naive", "cw-100"), 88.23, math.nan),
        (("P1.T15", "R_nat", "bayes"), 12.5, math.nan),
        (("P2.T1", "Zhang2019Theoretically", "hedge", "worst"), 56.21, math.nan),
        (("P2.T3", "ResNet-101", "hedge", "4/255 pgd-100"), 38.54, math.nan),
        (("P2.T4", "Standard", "hedge", "cw"), 0.42, math.nan),
        (("P2.E", "Zhang2019Theoretically", "hedge", "fgsm"), 68.21, math.nan),
    ],
)
def test_cells_are_found_by_path(path: tuple[str, ...], mean: float, sd: float) -> None:
    found = published(*path)
    assert found is not None
    assert (found.mean, str(found.sd)) == (mean, str(sd))


@pytest.mark.parametrize("path", [("P1.T4",), ("P1.T5", "Quality"), ("P1.T5", "x", "y", "D")])
def test_nothing_is_printed_there(path: tuple[str, ...]) -> None:
    assert published(*path) is None


def test_printed_risks_follow_from_printed_accuracies() -> None:
    """Tables 10 to 13: 72 rows of three risks, to the last printed decimal."""
    rows = {path[:3] for path in paths() if path[0] in ("P1.T10", "P1.T11", "P1.T12", "P1.T13")}
    assert len(rows) == 72
    for row in rows:
        d, a, f = (value(*row, name) for name in "DAF")
        derived = 100 - d, 100 * (1 - a / d), 100 * (1 - (100 - f) / (100 - d))
        printed = tuple(value(*row, name) for name in ("R_nat", "R_adv", "R_hyp"))
        assert tuple(round(risk, 2) for risk in derived) == pytest.approx(printed), row


def test_known_errors_are_flagged() -> None:
    """The papers' own: another number follows, or a row repeats another one."""
    remarked = {path for path in paths() if (found := published(*path)) and found.remark}
    assert ("P1.T16", "Poisoning", "R_hyp") in remarked
    assert ("P2.T5", "Ding2020MMA", "none", "autoattack") in remarked
    assert ("P2.T1", "Zhang2019Theoretically", "none", "autoattack") not in remarked
    twin = published("P2.T5", "Gowal2020Uncovering_34_20", "none", "pgd-20")
    assert twin is not None
    assert "repeats Cui2020Learnable_34_20" in twin.exempt


def test_tolerances_are_three_deviations_or_half_a_point() -> None:
    found = published("P1.T9", "Quality (PGD-AT)", "SVHN", "D")
    assert found is not None
    assert (found.sd, found.runs) == (1.49, 5)
    assert found.tolerance == pytest.approx(4.47)
    exact = published("P1.T8", "Quality (TRADES)", "CIFAR-100", "D")
    assert exact is not None
    assert (exact.sd, exact.tolerance) == (0.04, 0.5)
    counted = published("P2.B10", "nat correct")
    assert counted is not None
    assert counted.tolerance == pytest.approx(254.76)
