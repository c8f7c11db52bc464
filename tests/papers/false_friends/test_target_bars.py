"""Bars for every target: synthetic rows whose successes were counted by hand."""

import numpy as np
import pytest

from fftune.outcomes import Outcomes, rows
from fftune.papers.declarations import Setup
from fftune.papers.false_friends import figures as p1_figures
from fftune.papers.false_friends import target_bars
from fftune.papers.false_friends.target_bars import TargetRates, derived
from fftune.registry import PAPERS
from tests.papers.synthetic_rows import synthetic

CLASSES = 3


def outcomes(own: list[bool], fixed: list[list[bool]]) -> Outcomes:
    """Rows of battery `targets`: successes on D- towards y, and towards each class."""
    tables = []
    for goal, target, successes in (
        ("hypocritical", 1, own),
        *(("targeted", target, one) for target, one in enumerate(fixed)),
    ):
        count = len(successes)
        tables.append(
            rows(
                count,
                {
                    "dataset_hash": "d",
                    "split": "test",
                    "model_hash": "m",
                    "attack": "pgd-20",
                    "config_hash": "c",
                    "norm": "linf",
                    "eps": 0.1,
                    "goal": goal,
                    "seed": 0,
                    "restart": 0,
                    "protocol": "last_iterate",
                    "tier": "full",
                    "defense": "none",
                    "defense_repeat": 0,
                    "pred_clean": 0,
                    "pred_pert": 0,
                    "queries": 0,
                    "forwards": 0,
                    "backwards": 0,
                    "distance": 0.0,
                    "status": "ok",
                    "id": list(range(count)),
                    "y": 1,
                    "target": target,
                    "success": successes,
                },
            )
        )
    return Outcomes.of(tables)


YES, NO = True, False
SEEDS = (
    outcomes([YES, YES, YES, NO], [[YES, NO, NO, NO], [NO, NO, NO, NO], [YES, YES, NO, NO]]),
    outcomes([YES, YES, NO, NO], [[YES, NO, NO, NO], [YES, NO, NO, NO], [NO, NO, NO, NO]]),
)
"""Two seeds with four mistakes each: 75 and 50 % at y; 25 25, 0 25 and 50 0 % at the classes."""


STRONG, WEAK = (
    outcomes([YES] * own + [NO] * (400 - own), [[YES] * 40 + [NO] * 360] * CLASSES)
    for own in (320, 200)
)


def test_rates_are_hand_counts() -> None:
    found = TargetRates.of(SEEDS)
    assert [rate.count for rate in found.own] == [3, 2]
    assert {t: [rate.count for rate in rates] for t, rates in found.fixed.items()} == {
        0: [1, 1],
        1: [0, 1],
        2: [2, 0],
    }
    assert all(rate.n == 4 for rates in found.fixed.values() for rate in rates)
    assert found.mean_fixed.mean == pytest.approx(100 * (3 / 12 + 2 / 12) / 2)


def test_bars_have_means_and_deviations_of_the_seeds() -> None:
    bars = [trace for trace in built(SEEDS).plot.data if trace.type == "bar"]
    assert [bar.name for bar in bars[:4]] == [
        "PGD-AT, own label y",
        "PGD-AT, fixed target",
        "TRADES, own label y",
        "TRADES, fixed target",
    ]
    own, fixed = bars[:2]
    assert list(own.y) == [62.5] and list(fixed.y) == [25, 12.5, 25]
    assert own.error_y.array[0] == pytest.approx(25 / 2**0.5)
    assert list(fixed.error_y.array) == pytest.approx([0, 25 / 2**0.5, 50 / 2**0.5])
    assert max(own.x) + own.width / 2 < min(fixed.x) - fixed.width / 2  # y stands first, apart


def test_one_seed_has_the_interval_over_images() -> None:
    own = next(trace for trace in built(SEEDS[:1]).plot.data if trace.type == "bar")
    low, high = TargetRates.of(SEEDS[:1]).own[0].interval
    assert own.error_y.array[0] == pytest.approx(100 * high - 75)
    assert own.error_y.arrayminus[0] == pytest.approx(75 - 100 * low)


def test_y_is_visible_beside_200_classes() -> None:
    for classes in (10, 100, 200):
        places = [target_bars._place(side, classes) for side in (0, 1)]
        assert places[0][1] >= classes / 50
        assert places[1][0] + places[1][1] / 2 <= -1
        assert places[0][0] + places[0][1] / 2 == pytest.approx(places[1][0] - places[1][1] / 2)


@pytest.mark.parametrize(
    ("kind", "data", "at"),
    [
        ("Quality", "CIFAR-10", (80.7, 74.5)),
        ("Quality", "SVHN", (91.7, 88.2)),
        ("Quality", "CIFAR-100", (62.9, 59.9)),
        ("Quality", "Tiny-ImageNet", (46.8, 52.1)),
        ("Poisoning", "CIFAR-10", (78.1, 73.2)),
        ("Poisoning", "SVHN", (92.4, 87.2)),
        ("Poisoning", "CIFAR-100", (60.6, 58.3)),
        ("Poisoning", "Tiny-ImageNet", (43.4, 50.6)),
    ],
)
def test_published_success_at_y_follows_from_the_tables(kind, data, at) -> None:
    table = "P1.T9" if data == "SVHN" else "P1.T8"
    found = [derived(table, f"{kind} ({method})", data) for method in ("PGD-AT", "TRADES")]
    assert found == pytest.approx(at, abs=0.06)


def test_directions_follow_the_numbers() -> None:
    """Out of 400 mistakes TRADES conceals fewer than PGD-AT, on Tiny-ImageNet too."""
    strong, weak = STRONG, WEAK
    figure = built_by(lambda exam: weak if exam.net.objective == "trades" else strong)
    assert [one.found for one in figure.directions] == [True, True, False]
    figure = built_by(lambda exam: strong if exam.net.objective == "trades" else weak)
    assert [one.found for one in figure.directions] == [True, False, True]
    figure = built_by(lambda _exam: weak)
    assert [one.found for one in figure.directions] == [True, None, None]


def test_a_net_that_answers_one_class_supports_no_claim() -> None:
    y = (WEAK.table["id"].to_numpy() % 2 + 1).astype(np.int32)  # predicted is class 0, always
    rows = WEAK.table.set_column(WEAK.table.schema.get_field_index("y"), "y", [y])
    figure = built_by(lambda exam: Outcomes(rows) if exam.net.objective == "trades" else STRONG)
    assert [one.found for one in figure.directions] == [None, None, None]
    assert "TRADES SVHN: a net answers one class; no claim counts it" in figure.notes


def test_what_is_missing_is_named() -> None:
    figure = built_by(lambda exam: SEEDS[0] if exam.net.data == "svhn" else None)
    assert sum(note.startswith("missing: ") for note in figure.notes) == 3 * 2
    assert [one.found for one in figure.directions] == [None] * 3  # one set is not all of them
    titles = {one.text for one in figure.plot.layout.annotations}
    assert titles == {"SVHN"}


def test_nets_are_those_of_tables_8_and_9() -> None:
    setup = Setup(scale="full")
    nets = {exam.net for exam in p1_figures.F3.needs(setup)}
    tables = {need.net for key in ("P1.T8", "P1.T9") for need in PAPERS[key].needs(setup)}
    assert len(nets) == 4 * 2 * 5
    assert nets <= tables
    assert {exam.net for exam in p1_figures.F5.needs(setup)} <= tables


def built(seeds: tuple[Outcomes, ...]):
    return built_by(lambda exam: seeds[exam.net.seed], len(seeds))


def built_by(answer, seeds: int = 1):
    (figure,) = p1_figures.F3.build(synthetic(answer, Setup(scale="full", seeds=seeds)))
    return figure
