"""Headlines of several seeds of the attackers, side by side."""

import pytest

from fftune.outcomes import Outcomes, rows
from fftune.report.attack_seeds import seed_lines, seed_plain, seed_spreads, seed_values
from tests.report.drawn_rows import by_hand


def found(seed: int, goal: str, answers: list[int]) -> Outcomes:
    """Ten images of class 1, of which the net gets the last four wrong; answers when perturbed."""
    clean = [1] * 6 + [0] * 4
    reached = [(a == 1) == (goal == "hypocritical") for a in answers]
    columns = {
        "dataset_hash": "d", "split": "test", "model_hash": "m", "attack": "pgd",
        "config_hash": "c", "norm": "linf", "eps": 0.1, "goal": goal, "target": -1, "seed": seed,
        "restart": 0, "protocol": "last_iterate", "tier": "full", "defense": "none",
        "defense_repeat": 0, "id": list(range(10)), "y": 1, "pred_clean": clean,
        "pred_clean_defended": clean, "pred_pert": answers, "success": reached, "queries": 0,
        "forwards": 1, "backwards": 1, "distance": 0.1, "status": "ok",
    }  # fmt: skip
    return Outcomes.of([rows(10, columns)])


FOOLED = {0: [0, 0, 1, 1, 1, 1, 0, 0, 0, 0], 7: [0, 1, 1, 1, 1, 1, 0, 0, 0, 0]}
CONCEALED = {0: [1] * 8 + [0, 0], 7: [1] * 10}


def test_each_seed_has_its_worst_case_and_the_spread_is_that_of_the_farthest_two() -> None:
    seeds = [
        Outcomes.of(
            found(seed, goal, answers[seed]).table
            for goal, answers in (("adversarial", FOOLED), ("hypocritical", CONCEALED))
        )
        for seed in (0, 7)
    ]
    accuracy, risk = seed_spreads(seeds)
    assert [rate.count for rate in accuracy.rates.values()] == [
        4,
        5,
    ] and accuracy.spread == pytest.approx(0.1)
    assert [rate.count for rate in risk.rates.values()] == [2, 4] and risk.spread == 0.5
    assert [line.strip() for line in seed_lines(seeds)] == [
        "worst case under attack seeds 0, 7:",
        "accuracy: 40.0%, 50.0%; 10.0 points apart, n = 10",
        "hypocritical risk on D-: 50.0%, 100.0%; 50.0 points apart, n = 4",
    ]
    assert seed_values(seeds)["seed_spread/worst_case/accuracy"] == pytest.approx(0.1)
    assert [one["seed"] for one in seed_plain(seeds)["worst_case/accuracy"]] == [0, 7]


def test_of_a_battery_without_a_false_friend_no_risk_of_one_is_told() -> None:
    seeds = [found(seed, "adversarial", FOOLED[seed]) for seed in (0, 7)]
    assert [one.name for one in seed_spreads(seeds)] == ["worst_case/accuracy"]
    assert seed_lines(seeds[:1]) == [] and seed_values(seeds[:1]) == {}


def test_behind_a_defense_the_best_of_all_has_its_spread_too() -> None:
    """Of four images of class 0 the coin gets the last wrong; one or two of the others fall."""
    fooled = {0: [1, 0, 0, 0], 7: [1, 1, 0, 0]}
    clean = {"none": [[0, 0, 0, 1]], "coin": [[0, 0, 0, 1]] * 2}
    seeds = [
        by_hand(clean, {("a", "adversarial"): {"none": [[0] * 4], "coin": [pred]}}, seed=seed)
        for seed, pred in fooled.items()
    ]
    *_, line = seed_lines(seeds)
    told = "behind coin, first draw: right when clean (D+) and under the best of all"
    assert line.strip() == f"{told}: 50.0%, 25.0%; 25.0 points apart, n = 4"
    spread = seed_values(seeds)["seed_spread/defense/coin/worst_case/accuracy"]
    assert spread == pytest.approx(0.25)


def test_a_figure_that_one_seed_lacks_or_has_of_fewer_images_is_left_out() -> None:
    """Without its false friend a seed would seem to conceal nothing."""
    whole = Outcomes.of(
        found(0, goal, answers[0]).table
        for goal, answers in (("adversarial", FOOLED), ("hypocritical", CONCEALED))
    )
    lost = found(7, "adversarial", FOOLED[7])
    assert [one.name for one in seed_spreads([whole, lost])] == ["worst_case/accuracy"]
    assert seed_spreads([whole, lost.among(range(5))]) == []
