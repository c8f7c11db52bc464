import pytest

from fftune.defenses.theory.linear import LinearTask, accuracies

SECTION_5 = LinearTask()
REVERSED = LinearTask(k_t=1.0, k_f=0.125)


@pytest.mark.parametrize("steps", [1, 4])
def test_linear_losses_restore_what_the_bias_lost(steps) -> None:
    """Lost: (eps, eps + zeta), .5 of 6."""
    found = accuracies(SECTION_5, steps=steps)
    assert (found.natural, found.hedged, found.natural_hedged) == (1, 1, 1)
    assert found.attacked == pytest.approx(1 - 0.5 / 6, abs=1e-12)


def test_a_steeper_true_class_makes_it_worse() -> None:
    """One step carries x' < eps + zeta over the boundary: 1.5 of y = +1, .5 of y = -1."""
    found = accuracies(REVERSED)
    assert found.attacked == pytest.approx(1 - 0.5 / 6, abs=1e-12)
    assert found.hedged == pytest.approx(1 - 2 / 6, abs=1e-12)


def test_several_steps_stop_at_the_kink_where_one_overshoots() -> None:
    """Against appendix C.5: y = -1 is no longer lost, as its inputs come to rest near 0."""
    assert accuracies(REVERSED, steps=4).hedged == pytest.approx(1 - 1.5 / 6, abs=1e-12)


@pytest.mark.parametrize("task", [SECTION_5, REVERSED])
def test_cross_entropy_only_strengthens_what_is_predicted(task) -> None:
    found = accuracies(task, loss="ce")
    assert found.natural == 1
    assert found.hedged == found.attacked == pytest.approx(1 - 0.5 / 6, abs=1e-12)


def test_nobody_can_tell_the_intrinsic_band() -> None:
    """Appendix C.1: the unbiased net on |x| < eps."""
    found = accuracies(LinearTask(zeta=0, least=0, most=1))
    assert (found.natural, found.attacked, found.hedged) == (1, 0, 0)


def test_a_bias_larger_than_the_attack() -> None:
    """Appendix C.3: (eps, zeta) is wrong before; a larger defense mends that too."""
    task = LinearTask(zeta=1.5)
    found = accuracies(task)
    assert found.natural == pytest.approx(1 - 0.5 / 6, abs=1e-12)
    assert found.attacked == pytest.approx(1 - 1.5 / 6, abs=1e-12)
    assert found.hedged == pytest.approx(1 - 0.5 / 6, abs=1e-12)
    assert accuracies(LinearTask(zeta=1.5, eps_d=2)).hedged == 1
