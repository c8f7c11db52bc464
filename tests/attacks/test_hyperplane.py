import pytest
import torch

from fftune.attacks.hyperplane import to_hyperplane
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
    delta = to_hyperplane(x, w, c, norm)
    torch.testing.assert_close((w * delta).flatten(1).sum(1), c, rtol=0, atol=1e-5)
    assert (x + delta).min() >= 0 and (x + delta).max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_other_point_of_the_plane_is_nearer(norm) -> None:
    """Any step that stays on the plane and in the box makes the way longer."""
    x, w = case(1)
    c = torch.linspace(0.1, 2, 40).double()
    delta = to_hyperplane(x, w, c, norm)
    away = distance(x + delta, x, norm)
    rng = torch.Generator().manual_seed(2)
    for _ in range(200):
        other = delta + 0.05 * torch.randn(delta.shape, generator=rng).double()
        other = (x + other).clamp(0, 1) - x
        fits = (w * other).flatten(1).sum(1) >= c
        assert bool((distance(x + other, x, norm) >= away - 1e-6)[fits].all())


def test_without_walls_it_is_the_dual_norm() -> None:
    _, w = case(3)
    x, c = torch.full_like(w, 0.5), torch.full((40,), 0.01).double()
    for norm, dual in (("linf", w.abs().flatten(1).sum(1)), ("l2", w.flatten(1).norm(dim=1))):
        away = distance(x + to_hyperplane(x, w, c, norm), x, norm)
        torch.testing.assert_close(away, c / dual)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_out_of_reach_it_is_the_corner(norm) -> None:
    x, w = case(4)
    delta = to_hyperplane(x, w, torch.full((40,), 1e6).double(), norm)
    torch.testing.assert_close(x + delta, (w > 0).double())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_zero_gradient_stays(norm) -> None:
    x, w = case(5)
    assert not to_hyperplane(x, 0 * w, torch.ones(40).double(), norm).any()
