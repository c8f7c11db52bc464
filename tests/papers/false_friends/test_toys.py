"""Appendix E of Tao et al. 2022: closed forms against grids, samples, fractions and PGD."""

from fractions import Fraction
from math import isnan

import numpy as np
import pytest

from fftune.papers.false_friends import toys
from fftune.papers.false_friends.toys import CircleExample, StepExample, attacked, best_precision

CHECKED = {
    0.3: (0.5777, 0.8045, 0.1846, 0.2237),
    0.5: (0.5027, 0.5000, 0.2000, 0.2000),
    0.7: (0.3276, 0.1955, 0.2237, 0.1846),
}
"""Precision, recall, R_adv on D+ and R_hyp on D-, computed once on a grid of 2000 x 2000."""


def measures(b: float) -> tuple[float, ...]:
    exact = CircleExample(b)
    return exact.precision, exact.recall, exact.adversarial_risk, exact.hypocritical_risk


def on_grid(b: float, side: int, reach: float = toys.REACH) -> tuple[float, ...]:
    """The same measures, counted on midpoints; a point within reach of the line crosses it."""
    at = (np.arange(side) + 0.5) / side
    x1, x2 = np.meshgrid(at, at)
    positive = (x1 - 0.5) ** 2 + (x2 - 0.5) ** 2 < 0.4**2
    said, near = x2 > b, np.abs(x2 - b) <= reach
    right = positive == said
    return (
        (positive & said).sum() / said.sum(),
        (positive & said).sum() / positive.sum(),
        (right & near).sum() / right.sum(),
        (~right & near).sum() / (~right).sum(),
    )


@pytest.mark.parametrize("b", CHECKED)
def test_the_circle_has_the_known_values(b) -> None:
    assert measures(b) == pytest.approx(CHECKED[b], abs=6e-5)
    assert measures(b) == pytest.approx(on_grid(b, 2000), abs=1e-4)


@pytest.mark.parametrize("b", [0.02, 0.13, 0.25, 0.66, 0.86, 0.97])
def test_the_circle_agrees_with_a_grid_near_borders_and_tops_too(b) -> None:
    assert measures(b) == pytest.approx(on_grid(b, 1500), abs=5e-4)


def test_another_reach_would_be_seen() -> None:
    assert measures(0.3)[2:] != pytest.approx(on_grid(0.3, 500, reach=0.11)[2:], abs=5e-3)


@pytest.mark.parametrize("b", [0.1, 0.31, 0.5, 0.64])
def test_mirrored_thresholds_swap_right_and_wrong(b) -> None:
    """Below the mirrored line f is as often right as it was wrong above."""
    one, other = CircleExample(b), CircleExample(1 - b)
    assert one.adversarial_risk == pytest.approx(other.hypocritical_risk, abs=1e-12)
    assert one.natural_risk + other.natural_risk == pytest.approx(1, abs=1e-12)


def test_the_ends_of_the_thresholds() -> None:
    """All positive at b = 0: nothing is recalled at b = 1, where precision is undefined."""
    assert measures(0.0)[:2] == pytest.approx((toys.DISC, 1))
    assert CircleExample(1.0).recall == 0
    assert isnan(CircleExample(1.0).precision)
    assert CircleExample(0.0).adversarial_risk == 0


def test_precision_is_highest_where_it_says() -> None:
    best = best_precision()
    values = [CircleExample(b / 1000).precision for b in range(1000)]
    assert best == pytest.approx(np.argmax(values) / 1000, abs=1e-3)
    near = [CircleExample(best + step).precision for step in (-1e-4, 0, 1e-4)]
    assert max(near) == near[1]


@pytest.mark.some(2)
@pytest.mark.parametrize("b", [0.05, 0.3, 0.5, 0.7, 0.9])
def test_pgd_finds_the_closed_form_for_both_goals(b) -> None:
    """Every crossing that exists, and none that does not; a row of points is the grid's error."""
    counts, exact, side = attacked(b, 200), CircleExample(b), 200
    assert counts.natural_risk.value == pytest.approx(exact.natural_risk, abs=2 / side)
    assert counts.adversarial_risk.value == pytest.approx(exact.adversarial_risk, abs=3 / side)
    assert counts.hypocritical_risk.value == pytest.approx(exact.hypocritical_risk, abs=3 / side)
    grid = on_grid(b, side)
    assert counts.adversarial_risk.value == grid[2]
    assert counts.hypocritical_risk.value == grid[3]
    assert counts.violations == 0


def risks(found: toys.ExactRisks) -> tuple[Fraction, ...]:
    return (
        found.natural_risk,
        found.hypocritical_risk_all,
        found.adversarial_risk_all,
        found.hypocritical_risk,
        found.adversarial_risk,
    )


@pytest.mark.parametrize("eps", [Fraction(1, 10), Fraction(1, 2), Fraction(1, 64)])
def test_the_steps_have_the_published_fractions(eps) -> None:
    example = StepExample(eps=eps)
    assert risks(example.bayes()) == (Fraction(1, 8), 1, 1, 1, 1)
    assert risks(example.all_one()) == (Fraction(3, 8), Fraction(5, 8), Fraction(3, 8), 0, 0)


@pytest.mark.parametrize(
    ("eps", "doubtful"),
    [
        (Fraction(3, 10), Fraction(6, 10)),  # [0, .3) and [.6, .9)
        (Fraction(4, 10), Fraction(6, 10)),  # [0, .4) and [.8, 1]
        (Fraction(2), Fraction(1)),
    ],
)
def test_other_eps_change_the_share_of_doubtful_x(eps, doubtful) -> None:
    example = StepExample(eps=eps)
    grid = (np.arange(100_000) + 0.5) / 100_000
    assert example.doubtful == doubtful
    assert (example.positive(grid) == 0.25).mean() == pytest.approx(float(doubtful), abs=1e-4)
    assert example.all_one().natural_risk == doubtful * 3 / 4


def test_one_wide_interval_leaves_nothing_to_attack() -> None:
    """The Bayes-optimal classifier always says -1."""
    expected = (Fraction(1, 4), Fraction(3, 4), Fraction(1, 4), 0, 0)
    assert risks(StepExample(eps=Fraction(1)).bayes()) == expected


@pytest.mark.parametrize("classifier", ["bayes", "all_one"])
@pytest.mark.parametrize("eps", [Fraction(1, 10), Fraction(3, 10)])
def test_samples_have_the_exact_risks(classifier, eps) -> None:
    """100,000 draws; an attack looks at 21 points of its ball, as far as they lie in [0, 1]."""
    example, rng = StepExample(eps=eps), np.random.default_rng(0)
    x = rng.random(100_000)
    y = np.where(rng.random(len(x)) < example.positive(x), 1, -1)

    def says(at):
        return (
            np.where(2 * example.positive(at) > 1, 1, -1) if classifier == "bayes" else 0 * at + 1
        )

    ball = [np.clip(x + float(eps) * step, 0, 1 - 1e-12) for step in np.linspace(-1, 1, 21)]
    ever_right = np.any([says(at) == y for at in ball], axis=0)
    ever_wrong = np.any([says(at) != y for at in ball], axis=0)
    wrong = says(x) != y
    seen = (
        wrong.mean(),
        ever_right.mean(),
        ever_wrong.mean(),
        ever_right[wrong].mean(),
        ever_wrong[~wrong].mean(),
    )
    expected = [float(risk) for risk in risks(getattr(example, classifier)())]
    assert seen == pytest.approx(expected, abs=5e-3)
