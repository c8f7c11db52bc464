"""The game's chances as integrals that another library takes."""

from math import asin

import pytest
import torch
from scipy.integrate import quad

from fftune.defenses.theory.game import play, smooth_success


def chance(margin: float, eps: float, eps_d: float, dim: int) -> float:
    """P(t < (eps - margin) / eps_d) under the density (1 - t^2)^((dim - 1) / 2)."""
    upper = max(-1.0, min(1.0, (eps - margin) / eps_d))

    def density(t: float) -> float:
        return (1 - t * t) ** ((dim - 1) / 2)

    return quad(density, -1, upper, limit=200)[0] / quad(density, -1, 1, limit=200)[0]


@pytest.mark.parametrize("dim", [1, 2, 3, 48, 600])
@pytest.mark.parametrize(
    ("margin", "eps", "eps_d"),
    [(0.9, 1.0, 1.0), (1.1, 1.0, 1.0), (0.5, 2.0, 4.0), (2.5, 2.0, 0.75), (0.2, 0.25, 3.0)],
)
def test_the_chance_is_the_integral_of_the_density(margin, eps, eps_d, dim) -> None:
    found = smooth_success(margin, eps=eps, eps_d=eps_d, dim=dim)
    assert found == pytest.approx(chance(margin, eps, eps_d, dim), abs=1e-8)


@pytest.mark.parametrize("t", [-0.9, -0.3, 0.0, 0.2, 0.7])
def test_in_one_and_two_and_three_dimensions_by_closed_form(t) -> None:
    """Densities 1, sqrt(1 - t^2) and 1 - t^2 on [-1, 1]."""
    one = (1 + t) / 2
    two = 0.5 + (t * (1 - t * t) ** 0.5 + asin(t)) / 3.141592653589793
    three = (2 + 3 * t - t**3) / 4
    for dim, expected in ((1, one), (2, two), (3, three)):
        found = smooth_success(2 - 4 * t, eps=2, eps_d=4, dim=dim)
        assert found == pytest.approx(expected, abs=1e-11)


def test_at_the_very_edge_of_the_ball_it_is_certain() -> None:
    for eps_d in (0.5, 1.0):
        assert smooth_success(1 + eps_d, eps=1, eps_d=eps_d, dim=3) == 0
        assert smooth_success(1 - eps_d, eps=1, eps_d=eps_d, dim=3) == 1


def test_without_a_defenders_radius_only_who_was_reached_is_lost() -> None:
    margins = torch.tensor([0.5, 0.75, 1.0, 1.5])
    assert [smooth_success(float(m), eps=1, eps_d=0, dim=5) for m in margins] == [1, 1, 0, 0]
    game = play(margins, eps=1, eps_d=0, dim=5)
    assert game.direct == game.smooth == 0


def test_utilities_are_means_of_plus_and_minus_one() -> None:
    """Three of four are reached, (3 - 1) / 4; a margin of just eps is not."""
    margins = [0.25, 0.5, 0.875, 1.0]
    game = play(torch.tensor(margins), eps=1, eps_d=2, dim=7)
    assert game.direct == 0.5
    chances = [chance(m, 1, 2, 7) for m in margins]
    assert game.smooth == pytest.approx(sum(2 * p - 1 for p in chances) / 4, abs=1e-8)
    assert chances[3] == pytest.approx(0.5)
