"""Threefry4x32, a counter-based generator (Salmon et al. 2011), on whole arrays at once.

A draw is a function of its counter and its key; there is no state, so nothing depends on earlier
draws. The code uses only operations that numpy and torch share and that are exact or correctly
rounded, so every machine and every device gives the same bits.

They do so only one by one: a compiler that fuses a product and a sum into one operation rounds once
where twice is meant, and one that takes a quick division or square root rounds otherwise. Nothing
here may be compiled (`torch.compile`), nor a tensor be divided by a number, which CUDA does by a
product with its inverse. A CUDA graph runs the same operations and is safe.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

Array = Any
"""Numpy array or torch tensor. Words of 32 bits are uint32 in numpy, int32 in torch."""
Words = Sequence[Array]
"""Four of them, of one shape."""

ROUNDS = 13
"""Rounds of mixing. With 12 or more its authors found no statistical flaw; they publish test
vectors for 13 and 20."""
ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
PARITY = 0x1BD11BDA

LN_2 = 0.6931471805599453
QUARTER_PI = 0.7853981633974483
ROOT_HALF = 0.7071067811865476


def threefry(xp: ModuleType, counter: Words, key: Words) -> None:
    """Replace each counter of four words by four random words, in place.

    Args:
        xp: numpy or torch.
        counter: four arrays of one shape.
        key: four arrays that go with them: of one element, or of one for each row.
    """
    keys = (*key, PARITY ^ key[0] ^ key[1] ^ key[2] ^ key[3])
    spare = xp.empty_like(counter[0])
    _inject(counter, keys, 0)
    for i in range(ROUNDS):
        a, b, c, d = counter if i % 2 == 0 else (counter[0], counter[3], counter[2], counter[1])
        for sum_, mixed, bits in zip((a, c), (b, d), ROTATIONS[i % 8], strict=True):
            sum_ += mixed
            _rotate(xp, mixed, bits, spare)
            mixed ^= sum_
        if i % 4 == 3:
            _inject(counter, keys, i // 4 + 1)


def _inject(counter: Words, keys: tuple[Array, ...], turn: int) -> None:
    for i, word in enumerate(counter):
        word += keys[(turn + i) % 5]
    last = counter[3]
    last += turn


def _rotate(xp: ModuleType, x: Array, bits: int, spare: Array) -> None:
    xp.bitwise_left_shift(x, bits, out=spare)
    x >>= 32 - bits
    if xp.iinfo(x.dtype).min < 0:  # a signed shift makes copies of the sign
        x &= (1 << bits) - 1
    x |= spare


def uniforms(xp: ModuleType, words: Array) -> Array:
    """Uniform float32 in [0, 1), one per word: multiples of 2^-24, all equally likely."""
    return _float(xp, _upper_24(words)) * 2.0**-24


def normals(xp: ModuleType, first: Array, second: Array) -> tuple[Array, Array]:
    """Two independent standard normals, float32, from two words (Box & Muller 1958).

    The first word gives the radius, at most sqrt(48 ln 2) = 5.77, the second an angle in the
    first quadrant and two signs. Logarithm, sine and cosine are series, accurate to a few 1e-7,
    since library functions round differently on other devices.
    """
    # On a CPU torch's square root of a float32 is not always correctly rounded; that of a float64
    # is close enough.
    square = xp.asarray(2 * _minus_log(xp, _upper_24(first) + 1), dtype=xp.float64)
    radius = xp.asarray(xp.sqrt(square), dtype=xp.float32)
    cosine, sine = _half_turned(2 * uniforms(xp, second) - 1)
    one, two = (1 - 2 * _float(xp, second >> bit & 1) for bit in (0, 1))
    return radius * cosine * one, radius * sine * two


def _upper_24(words: Array) -> Array:
    """Upper 24 bits, as many as a float32 holds."""
    upper = words >> 8
    upper &= 0xFFFFFF
    return upper


def _minus_log(xp: ModuleType, n: Array) -> Array:
    """-ln(n / 2^24) for whole n from 1 to 2^24."""
    mantissa, exponent = xp.frexp(_float(xp, n))
    small = mantissa < ROOT_HALF
    mantissa = xp.where(small, 2 * mantissa, mantissa)
    halvings = 24 - (_float(xp, exponent) - _float(xp, small))
    s = (mantissa - 1) / (mantissa + 1)  # ln m = 2 artanh s, |s| < 0.172
    square = s * s
    series = square * (1 / 9) + 1 / 7
    for term in (1 / 5, 1 / 3, 1.0):
        series = square * series + term
    return halvings * LN_2 - 2 * s * series


def _half_turned(turn: Array) -> tuple[Array, Array]:
    """Cosine and sine of pi / 4 (turn + 1), an angle in the first quadrant, for turn in [-1, 1)."""
    a = turn * QUARTER_PI
    square = a * a
    sine = ((square * (1 / 362880) - 1 / 5040) * square + 1 / 120) * square - 1 / 6
    sine = a + a * square * sine
    cosine = ((square * (1 / 40320) - 1 / 720) * square + 1 / 24) * square - 1 / 2
    cosine = 1 + square * cosine
    return (cosine - sine) * ROOT_HALF, (cosine + sine) * ROOT_HALF


def _float(xp: ModuleType, whole: Array) -> Array:
    """Whole numbers up to 2^24 as float32, which holds them exactly."""
    return xp.asarray(whole, dtype=xp.float32)
