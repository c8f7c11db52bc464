import pytest
import torch

from fftune.noise import Noise

IDS = torch.tensor([5, 3, 900])


def test_rows_depend_on_their_own_id_alone() -> None:
    noise = Noise(0).fold("digits", "test", "pgd", 0)
    whole = noise.uniform(IDS, (2, 3))
    for i in range(3):
        assert torch.equal(noise.uniform(IDS[i : i + 1], (2, 3))[0], whole[i])
    assert torch.equal(noise.uniform(IDS.flip(0), (2, 3)), whole.flip(0))
    normal = noise.normal(IDS, (2, 3))
    assert torch.equal(noise.normal(IDS.flip(0), (2, 3)), normal.flip(0))


@pytest.mark.parametrize(
    "other",
    [
        Noise(1).fold("digits", "test", 0),
        Noise(0).fold("digits", "test", 1),
        Noise(0).fold("digits", "train", 0),
        Noise(0).fold("digits", "test"),
        Noise(0).fold("digits", "test", "0"),
    ],
)
def test_every_part_of_the_key_matters(other: Noise) -> None:
    noise = Noise(0).fold("digits", "test", 0)
    assert not torch.equal(noise.uniform(IDS, (4,)), other.uniform(IDS, (4,)))


def test_equal_on_every_machine() -> None:
    drawn = Noise(7).fold("digits", "test").uniform(torch.tensor([42]), (3,))
    assert drawn[0].tolist() == pytest.approx(GOLDEN)


GOLDEN = [0.914692, 0.1087785, 0.9113502]


def test_moments() -> None:
    """Mean 1/2 and variance 1/12; mean 0 and variance 1: within five standard errors."""
    ids, n = torch.arange(200), 200 * 500
    uniform, normal = Noise(0).uniform(ids, (500,)), Noise(0).normal(ids, (500,))
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert abs(uniform.var() - 1 / 12) < 5 * (1 / 180 / n) ** 0.5
    assert abs(normal.mean()) < 5 * (1 / n) ** 0.5
    assert abs(normal.var() - 1) < 5 * (2 / n) ** 0.5


def test_permutation() -> None:
    order = Noise(0).fold("order", 1).permutation(100)
    assert order.sort().values.tolist() == list(range(100))
    assert not torch.equal(order, Noise(0).fold("order", 2).permutation(100))
