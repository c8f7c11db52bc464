import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threefry import threefry

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


def test_draws_are_those_of_the_published_generator() -> None:
    """The key is a hash of seed and path, the counter the draw's number and the id's halves.

    Words come first by word, then by number: a row of six holds two draws of each of three words.
    """
    noise, i, sign = Noise(7).fold("digits", 3), 5 + (9 << 32), -2
    digest = hashlib.blake2b(b"(7, ('digits', 3))", digest_size=16).digest()
    key = tuple(np.frombuffer(digest, np.uint32)[:, None])
    for example, low, high in ((i, 5, 9), (sign, 2**32 - 2, 2**32 - 1)):
        counter = tuple(np.array(c, np.uint32) for c in ([0, 1], [low] * 2, [high] * 2, [0, 0]))
        threefry(np, counter, key)
        expected = (np.concatenate(counter)[:6] >> 8) / 2**24
        drawn = noise.uniform(torch.tensor([example]), (2, 3))
        assert drawn.shape == (1, 2, 3)
        assert drawn.flatten().tolist() == expected.tolist()


def test_an_order_is_that_of_64_bits_each() -> None:
    """The first word of a draw is the upper half, the second the lower one."""
    digest = hashlib.blake2b(b"(4, ())", digest_size=16).digest()
    count = 50
    counter = (np.zeros(count), np.arange(count), np.zeros(count), np.zeros(count))
    words = tuple(np.array(c, np.uint32) for c in counter)
    threefry(np, words, tuple(np.frombuffer(digest, np.uint32)[:, None]))
    bits = [(int(a) << 32) + int(b) for a, b in zip(words[0], words[1], strict=True)]
    order = Noise(4).permutation(count).tolist()
    assert order == sorted(range(count), key=bits.__getitem__)


def test_where_upper_halves_are_equal_lower_ones_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(_xp, words, _key) -> None:
        for word, values in zip(words, ([1, 0, 1, 0], [5, 7, 2, 1], [0] * 4, [0] * 4), strict=True):
            word[:, 0] = values

    monkeypatch.setattr("fftune.keyed_noise.threefry", drawn)
    assert Noise(0).permutation(4).tolist() == [3, 1, 2, 0]


def test_as_many_counters_are_drawn_at_once_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six: of rows of 1, 2, 3 and 7 counters. A row is never cut."""
    shapes = []
    monkeypatch.setattr(
        "fftune.keyed_noise.threefry", lambda _xp, words, _key: shapes.append(words[0].shape)
    )
    monkeypatch.setattr("fftune.keyed_noise.CHUNK", 6)
    for numbers in (1, 8, 9, 25):
        Noise(0).uniform(torch.arange(8), (numbers,))
    assert shapes == [(6, 1), (2, 1), *[(3, 2)] * 2, (2, 2), *[(2, 3)] * 4, *[(1, 7)] * 8]
    with_nothing = Noise(0).uniform(torch.arange(8), (0,))
    assert with_nothing.shape == (8, 0)


def test_rows_drawn_in_several_parts_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, noise = torch.arange(7), Noise(3)
    whole = noise.uniform(ids, (9,)), noise.normal(ids, (9,)), noise.permutation(7)
    monkeypatch.setattr("fftune.keyed_noise.CHUNK", 6)
    parts = noise.uniform(ids, (9,)), noise.normal(ids, (9,)), noise.permutation(7)
    for one, two in zip(whole, parts, strict=True):
        assert torch.equal(one, two)


def test_a_key_for_other_generators_holds_all_that_a_draw_does() -> None:
    digest = hashlib.blake2b(b"(7, ('digits', 3), 2)", digest_size=16).digest()
    assert Noise(7).fold("digits", 3).key(2) == int.from_bytes(digest, "little")


def test_nothing_is_drawn_for_nobody() -> None:
    noise, nobody = Noise(0), torch.empty(0, dtype=torch.int64)
    assert noise.uniform(nobody, (3, 2)).shape == (0, 3, 2)
    assert noise.normal(IDS, (0,)).shape == (3, 0)
    assert noise.permutation(0).shape == (0,)


def test_moments() -> None:
    """Mean 1/2 and variance 1/12; mean 0 and variance 1: within five standard errors."""
    ids, n = torch.arange(200), 200 * 500
    uniform, normal = Noise(0).uniform(ids, (500,)), Noise(0).normal(ids, (500,))
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert abs(uniform.var() - 1 / 12) < 5 * (1 / 180 / n) ** 0.5
    assert abs(normal.mean()) < 5 * (1 / n) ** 0.5
    assert abs(normal.var() - 1) < 5 * (2 / n) ** 0.5


def test_neighbours_and_numbers_are_not_correlated() -> None:
    """Rows of neighbouring ids, and neighbouring numbers of a row: within five standard errors."""
    drawn = Noise(0).normal(torch.arange(400), (500,))
    for one, two in ((drawn[:-1], drawn[1:]), (drawn[:, :-1], drawn[:, 1:])):
        assert abs(float((one * two).mean())) < 5 * one.numel() ** -0.5


def test_permutation() -> None:
    order = Noise(0).fold("order", 1).permutation(100)
    assert order.sort().values.tolist() == list(range(100))
    assert not torch.equal(order, Noise(0).fold("order", 2).permutation(100))


def test_every_place_is_as_likely_for_the_first_one() -> None:
    """Chi-squared over 400 orders of ten."""
    firsts = [int(Noise(0).fold(i).permutation(10)[0]) for i in range(400)]
    assert stats.chisquare(np.bincount(firsts, minlength=10)).pvalue > 1e-3


def test_noise_and_its_ids_travel_together() -> None:
    ids = torch.tensor([7, 3, 9])
    noise = ExampleNoise(Noise(1), ids).fold("a", 2)
    branch = Noise(1).fold("a", 2)
    assert len(noise) == 3 and noise.noise == branch
    assert torch.equal(noise.uniform((2,)), branch.uniform(ids, (2,)))
    assert torch.equal(noise.normal((2, 3)), branch.normal(ids, (2, 3)))
    assert noise.select(torch.tensor([2, 0, 2])).ids.tolist() == [9, 7, 9]
    few = noise.select(torch.tensor([False, True, False]))
    assert few.ids.tolist() == [3] and torch.equal(few.uniform((2,)), noise.uniform((2,))[1:2])
