"""Verdicts on planted differences."""

from math import nan

import pytest

from fftune.papers.artifacts import Measure, Published
from fftune.papers.declarations import Setup
from fftune.papers.tables.published import published
from fftune.papers.tables.verdicts import cell

FULL = Setup(scale="full")


def verdict(path: tuple[str, ...], off: float, seeds: int, scale: str = "full") -> str:
    printed = published(*path)
    assert printed is not None
    setup = Setup(scale=scale)  # type: ignore[arg-type]
    found = cell(Measure(mean=printed.mean + off, seeds=seeds), printed, setup)
    return f"{found.verdict} {found.reason}".strip()


@pytest.mark.parametrize(
    ("path", "seeds", "tolerated"),
    [
        (("P1.T5", "Quality", "WRN-28-10", "D"), 5, 0.5),
        (("P1.T5", "Mislabeling", "VGG-16", "D"), 5, 0.6),
        (("P1.T5", "Mislabeling", "VGG-16", "D"), 1, 1.5),
        (("P1.T10", "THRM", "40", "R_hyp"), 1, 1.5),
        (("P1.T14", "Quality (THRM)", "fgsm"), 1, 1.5),
        (("P1.T16", "Quality", "F certified"), 1, 2.0),
        (("P2.T1", "Carmon2019Unlabeled", "hedge", "cw"), 1, 0.5),
        (("P2.T3", "ResNet-50", "none", "2/255 pgd-10"), 1, 1.0),
    ],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_tolerance(path: tuple[str, ...], seeds: int, tolerated: float, sign: int) -> None:
    assert verdict(path, sign * tolerated, seeds) == "within"
    assert verdict(path, sign * (tolerated + 0.01), seeds) == "outside"


def test_other_scales_reproduce_nothing() -> None:
    path = ("P1.T5", "Quality", "MLP", "F")
    assert verdict(path, 0, 5, "small") == "not comparable other scale"
    assert verdict(path, 0, 5, "tiny") == "not comparable other scale"


@pytest.mark.parametrize("kind", ["Naive", "Noise"])
def test_nets_that_learned_nothing_are_exempt(kind: str) -> None:
    assert verdict(("P1.T7", kind, "SVHN", "F"), 0, 5).startswith("not comparable exempt: ")


def test_rows_that_are_errors_are_no_targets() -> None:
    path = ("P2.T2", "AT_selftrained", "none", "pgd-20")
    assert verdict(path, 0, 1).startswith("not comparable the paper's evaluation")


def test_a_reason_of_the_table_comes_first() -> None:
    printed = Published(mean=50.0, tolerance=0.5)
    found = cell(Measure(mean=50.0), printed, FULL, comparable="other iterate")
    assert (found.verdict, found.reason) == ("not comparable", "other iterate")


def test_without_a_published_number_there_is_no_verdict() -> None:
    assert cell(Measure(mean=50.0), None, FULL).verdict == "none"


def test_an_undefined_number_is_no_number() -> None:
    found = cell(Measure(mean=nan), Published(mean=50.0, tolerance=0.5), FULL)
    assert (found.ours, found.verdict) == (None, "not comparable")
