import numpy as np
import plain_box_projection
import pytest
import torch
from scipy.optimize import linprog, minimize

from fftune.attacks.box_projection import project_to_hyperplane
from fftune.threat import distance


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = (torch.rand(40, 1, 5, 5, generator=rng).double() * 2 - 0.5).clamp(0, 1)
    return x, torch.randn(40, 1, 5, 5, generator=rng).double()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_it_meets_the_plane_inside_the_box(norm, sign) -> None:
    x, w = case(0)
    c = sign * torch.linspace(0, 3, 40).double()
    delta = project_to_hyperplane(x, w, c, norm)
    torch.testing.assert_close((w * delta).flatten(1).sum(1), c, rtol=0, atol=1e-5)
    assert (x + delta).min() >= 0 and (x + delta).max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_other_point_of_the_plane_is_nearer(norm) -> None:
    """Any step that stays on the plane and in the box makes the way longer."""
    x, w = case(1)
    c = torch.linspace(0.1, 2, 40).double()
    delta = project_to_hyperplane(x, w, c, norm)
    away = distance(x + delta, x, norm)
    rng = torch.Generator().manual_seed(2)
    for _ in range(200):
        other = delta + 0.05 * torch.randn(delta.shape, generator=rng).double()
        other = (x + other).clamp(0, 1) - x
        max_concurrent = (w * other).flatten(1).sum(1) >= c
        assert bool((distance(x + other, x, norm) >= away - 1e-6)[max_concurrent].all())


def test_without_walls_it_is_the_dual_norm() -> None:
    _, w = case(3)
    x, c = torch.full_like(w, 0.5), torch.full((40,), 0.01).double()
    for norm, dual in (("linf", w.abs().flatten(1).sum(1)), ("l2", w.flatten(1).norm(dim=1))):
        away = distance(x + project_to_hyperplane(x, w, c, norm), x, norm)
        torch.testing.assert_close(away, c / dual)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_out_of_reach_it_is_the_corner(norm) -> None:
    x, w = case(4)
    delta = project_to_hyperplane(x, w, torch.full((40,), 1e6).double(), norm)
    torch.testing.assert_close(x + delta, (w > 0).double())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_zero_gradient_stays(norm) -> None:
    x, w = case(5)
    assert not project_to_hyperplane(x, 0 * w, torch.ones(40).double(), norm).any()


def programme(x: np.ndarray, w: np.ndarray, c: float, norm: str) -> float:
    """The least distance, by a linear programme in (delta, distance) or a quadratic one."""
    size = len(x)
    if norm == "linf":
        eye, one = np.eye(size), np.ones((size, 1))
        within = np.block([[eye, -one], [-eye, -one]])
        bounds = [*zip(-x, 1 - x, strict=True), (0, None)]
        solved = linprog(
            np.append(np.zeros(size), 1), within, np.zeros(2 * size), [np.append(w, 0)], [c], bounds
        )
        return float(solved.fun)
    solved = minimize(
        lambda delta: delta @ delta,
        np.zeros(size),
        jac=lambda delta: 2 * delta,
        bounds=list(zip(-x, 1 - x, strict=True)),
        constraints={"type": "eq", "fun": lambda delta: w @ delta - c, "jac": lambda _: w},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert solved.success
    return float(np.sqrt(solved.fun))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_programme_comes_nearer(norm) -> None:
    """Half of the reach of the box and more, so that many walls are met; either side."""
    x, w = case(6)
    x, w = x[:12, :, :, :2], w[:12, :, :, :2]
    side = torch.tensor([1, -1]).repeat(6)
    gain = torch.where(w * side.view(-1, 1, 1, 1) > 0, 1 - x, x) * w.abs()
    c = side * torch.linspace(0.1, 0.95, 12) * gain.flatten(1).sum(1)
    delta = project_to_hyperplane(x, w, c, norm)
    torch.testing.assert_close((w * delta).flatten(1).sum(1), c, rtol=1e-6, atol=0)
    for row in range(12):
        flat = x[row].flatten().numpy(), w[row].flatten().numpy()
        least = programme(*flat, float(c[row]), norm)
        away = float(distance((x + delta)[row : row + 1], x[row : row + 1], norm))
        assert away == pytest.approx(least, rel=1e-5)
        plain = plain_box_projection.to_plane(x[row], w[row], float(c[row]), norm)
        torch.testing.assert_close(delta[row], plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("norm", "ratio"), [("linf", 0.3), ("l2", 0.5)])
def test_a_row_of_walls_one_behind_the_other_is_passed(norm, ratio) -> None:
    """The further the wall, the less its pixel counts, so that each step meets one more."""
    i = torch.arange(30).double()
    w, room = ratio**i, (ratio if norm == "linf" else 0.45) ** (29 - i)
    c = 0.9 * (w * room).sum()
    shape = (1, 1, 1, 30)
    delta = project_to_hyperplane((1 - room).view(shape), w.view(shape), c.view(1), norm)
    torch.testing.assert_close((w * delta.flatten()).sum(), c, rtol=1e-6, atol=0)


def test_rows_do_not_matter_to_one_another() -> None:
    x, w = case(7)
    c = torch.linspace(-2, 2, 40).double()
    together = project_to_hyperplane(x, w, c, "l2")
    for row in range(0, 40, 8):
        one = slice(row, row + 1)
        alone = project_to_hyperplane(x[one], w[one], c[one], "l2")
        torch.testing.assert_close(alone, together[one], rtol=0, atol=1e-6)
