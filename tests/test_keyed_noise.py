import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from fftune import keyed_noise
from fftune.capture import UnrecordableError, captured, use
from fftune.capture.tape import Tape
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threefry import threefry

IDS = torch.tensor([5, 3, 900])
FAR = torch.tensor([0, -1, 2**31, 2**32 - 1, 2**32, 5 + (9 << 32), -(2**63), 2**63 - 1])
"""Ids whose halves are small, large and negative."""
SHAPES = [(1,), (3,), (2, 3), (1, 3, 5), (3, 8, 8), (0,)]


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw on a CPU as on every other device."""
    monkeypatch.setattr(keyed_noise, "_by_numpy", lambda _ids: False)


def both(noise: Noise, ids: torch.Tensor, shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    return noise.uniform(ids, shape), noise.normal(ids, shape)


def assert_equal(one: tuple[torch.Tensor, ...], two: tuple[torch.Tensor, ...]) -> None:
    for a, b in zip(one, two, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


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


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_draws_what_numpy_draws(shape, request) -> None:
    """To the bit; ids may lie apart in memory, and shapes hold numbers that no draw fills."""
    noise = Noise(3).fold("digits", "pgd", 1)
    batches = (FAR, FAR[:1], FAR.repeat(9)[::2], FAR[:0])
    expected = [both(noise, ids, shape) for ids in batches]
    request.getfixturevalue("by_torch")
    for ids, mine in zip(batches, expected, strict=True):
        assert_equal(both(noise, ids, shape), mine)


def test_torch_orders_as_numpy_does(by_torch, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [Noise(seed).permutation(997) for seed in range(3)]
    monkeypatch.undo()
    for seed, order in enumerate(orders):
        assert order.dtype == torch.int64 and torch.equal(order, Noise(seed).permutation(997))


@pytest.mark.parametrize("way", ["by_numpy", "by_torch"])
def test_bits_of_an_order_are_unsigned(way, request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal ones stay as they are."""
    if way == "by_torch":
        request.getfixturevalue(way)

    def drawn(xp, words, _key) -> None:
        top = 2**31
        high, low = [top - 1, top, 0, 2 * top - 1, 0, 0], [0, 0, top, 0, 1, top]
        for word, values in zip(words, (high, low), strict=False):
            bits = np.array(values, np.uint32)
            word[:, 0] = bits if xp is np else torch.from_numpy(bits.view(np.int32))

    monkeypatch.setattr("fftune.keyed_noise.threefry", drawn)
    assert Noise(0).permutation(6).tolist() == [4, 2, 5, 0, 1, 3]


def test_rows_with_jobs_drawn_in_several_parts_are_equal(monkeypatch) -> None:
    job = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    noise = ExampleNoise(Noise(3), torch.arange(7)).of_jobs("a", jobs=(4, 5, 6), job=job)
    whole = noise.uniform((9,)), noise.normal((9,))
    monkeypatch.setattr(keyed_noise, "CHUNK", 6)
    assert_equal((noise.uniform((9,)), noise.normal((9,))), whole)


def test_torch_draws_in_parts_where_a_draw_is_huge(by_torch, monkeypatch) -> None:
    noise, job = ExampleNoise(Noise(3), torch.arange(7)), torch.tensor([0, 1, 2, 2, 1, 0, 0])
    packed = noise.of_jobs("a", jobs=(4, 5, 6), job=job)
    whole = noise.uniform((9,)), noise.normal((9,)), packed.uniform((9,)), packed.normal((9,))
    shapes, draw = [], keyed_noise._drawn_by_torch

    def seen(read, keys, ids, size):
        shapes.append((len(keys), len(ids), size))
        return draw(read, keys, ids, size)

    monkeypatch.setattr(keyed_noise, "_drawn_by_torch", seen)
    monkeypatch.setattr(keyed_noise, "DEVICE_CHUNK", 11)
    parts = noise.uniform((9,)), noise.normal((9,)), packed.uniform((9,)), packed.normal((9,))
    assert_equal(whole, parts)
    assert shapes == [(1, 3, 9), (1, 3, 9), (1, 1, 9)] * 2 + [(3, 3, 9), (3, 3, 9), (1, 1, 9)] * 2
    monkeypatch.setattr(keyed_noise, "DEVICE_CHUNK", 18)  # six rows, so four and three
    assert_equal((noise.uniform((9,)), packed.uniform((9,))), (whole[0], whole[2]))
    assert shapes[12:] == [(1, 4, 9), (1, 3, 9), (4, 4, 9), (3, 3, 9)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", ["by_numpy", "by_torch"])
def test_rows_with_jobs_draw_as_their_jobs_do(shape, way, request, monkeypatch) -> None:
    """One batch is what a loop over jobs drew; a job may have no row, and none is the first."""
    noise, ids = ExampleNoise(Noise(5).fold("test"), FAR.repeat(3)), FAR.repeat(3)
    jobs = (7, 0, 3, 12)
    job = torch.tensor([0, 1, 3, 1, 3, 0]).repeat(4)
    expected = torch.empty(24, *shape), torch.empty(24, *shape)
    for place, number in enumerate(jobs):
        at = job == place
        part = noise.fold("square", number).select(at)
        expected[0][at], expected[1][at] = part.uniform(shape), part.fold("r").normal(shape)
    if way == "by_torch":
        request.getfixturevalue(way)
    packed = noise.of_jobs("square", jobs=jobs, job=job)
    assert len(packed) == 24
    assert_equal((packed.uniform(shape), packed.fold("r").normal(shape)), expected)
    rows = torch.tensor([23, 0, 4, 4])
    assert torch.equal(packed.select(rows).uniform(shape), expected[0][rows])
    assert torch.equal(packed.select(ids < 0).uniform(shape), expected[0][ids < 0])
    assert packed.select(rows[:0]).normal(shape).shape == (0, *shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_lie_where_the_ids_do_and_wait_for_nothing(shape) -> None:
    """A meta tensor has no values that could be read, and is not combined with a CPU's."""
    ids = FAR.to("meta")
    noise = ExampleNoise(Noise(0), ids).select(torch.tensor([3, 1, 2]))
    packed = noise.of_jobs("a", jobs=(0, 1), job=noise.ids % 2)
    for rows in (noise, packed, packed.select(noise.ids), packed.fold("b")):
        for values in (rows.uniform(shape), rows.normal(shape)):
            assert values.device.type == "meta"
            assert values.shape == (3, *shape) and values.dtype == torch.float32
    order = Noise(0).permutation(9, "meta")
    assert order.device.type == "meta" and order.shape == (9,) and order.dtype == torch.int64


def test_replayed_draws_have_their_own_keys_and_ids(by_torch) -> None:
    """Recorded once for each shape; keys, ids and jobs are inputs."""
    cases = [(Noise(seed).fold("a", seed), FAR + 7 * seed) for seed in range(6)]
    job = torch.tensor([0, 1, 1, 2, 0, 2, 1, 0])

    def all_draws() -> list[tuple[torch.Tensor, ...]]:
        packs = [
            ExampleNoise(n, ids).of_jobs("b", jobs=(i, 2 * i + 1, 9), job=(job + i) % 3)
            for i, (n, ids) in enumerate(cases)
        ]
        return [
            (*both(n, ids, (2, 3)), pack.uniform((3,)), pack.normal((3,)))
            for (n, ids), pack in zip(cases, packs, strict=True)
        ]

    expected, tape = all_draws(), Tape()
    with use(tape):
        found = all_draws()
    assert (tape.records, tape.replays) == (4, 16)
    for one, two in zip(expected, found, strict=True):
        assert_equal(one, two)


@pytest.mark.parametrize("way", ["by_numpy", "by_torch"])
def test_a_recorded_function_cannot_draw_for_itself(way, request) -> None:
    """Its replays would all draw the same."""
    if way == "by_torch":
        request.getfixturevalue(way)
    refused: list[str] = []

    @captured
    def draws(ids: torch.Tensor) -> torch.Tensor:
        try:
            return Noise(0).uniform(ids, (3,))
        except UnrecordableError as error:
            refused.append(str(error))
            raise

    with use(Tape()):
        for _ in range(4):
            assert torch.equal(draws(IDS), Noise(0).uniform(IDS, (3,)))
    assert refused == ["noise takes its keys from the host"]
