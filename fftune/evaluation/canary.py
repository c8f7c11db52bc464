"""Canary: how many survivors FAB and Square try at small lengths, and what their silence rules out.

Of S survivors of a gradient search let k be such that FAB and Square would find at full length.
Of t survivors drawn without replacement a hypergeometric number j are of those k, and each of these
the short ones find with the probability `POWER`: all stay silent with the probability E[(1 -
POWER)^j].
"""

from bisect import bisect_left

from fftune.evaluation.tiers import CANARY_SEARCHES

EVERY_SO_MANY = 200
"""One image in so many, .5 points, is what a canary must notice."""
CHANCE = 0.05
"""Largest probability that it notices nothing."""
ALL_BELOW = 1000
"""Number of images below which every survivor is tried."""
NAMES = {"fab": "FAB", "square": "Square"}
POWER = 10 / 24
"""Share of what FAB and Square find at full length that they find at the canary's. Measured on
1,500 MNIST images and `fastadv_mnist_pgd` (eps .3), whose gradients hide more than those of most
nets: of 1,320 survivors of `escalating` FAB-100 and Square-5000 break 24, of these FAB-20 and
Square-1000 break 10 (95 % interval 24 to 61 %)."""


def size(images: int, survivors: int, power: float = POWER) -> int:
    """Number of survivors to try: all of them below `ALL_BELOW` images, else `fewest`."""
    return survivors if images < ALL_BELOW else fewest(images, survivors, power)


def fewest(images: int, survivors: int, power: float = POWER) -> int:
    """Least number of survivors of which one at least is found, at 95 %, if .5 points are findable.

    All survivors where no number suffices, and where they are fewer than .5 points.
    """
    findable = -(-images // EVERY_SO_MANY)
    if survivors <= findable:
        return survivors
    numbers = range(survivors + 1)
    least = bisect_left(numbers, -CHANCE, key=lambda t: -silence(survivors, findable, t, power))
    return min(least, survivors)


def missed(survivors: int, tried: int, power: float = POWER) -> int:
    """Largest number of findable survivors that a silent canary may have missed, at 95 %."""
    numbers = range(survivors + 1)
    return bisect_left(numbers, -CHANCE, key=lambda k: -silence(survivors, k, tried, power)) - 1


def silence(survivors: int, findable: int, tried: int, power: float = POWER) -> float:
    """Probability that none is found."""
    if tried == survivors or not findable:
        return float((1 - power) ** findable)
    from scipy.stats import hypergeom  # its import takes seconds

    met = range(findable + 1)
    alike = hypergeom.pmf(met, survivors, findable, tried)
    return float(sum(p * (1 - power) ** j for p, j in zip(alike, met, strict=True)))


def told(images: int, survivors: int, tried: int) -> str:
    """Say what a canary rules out that found nothing, as a line of tables and logs."""
    searches = [f"{NAMES[part.search]}-{part.steps}" for part in CANARY_SEARCHES.adversarial]
    points = 100 * missed(survivors, tried) / images
    return (
        f"canary silent on {tried:,} of {survivors:,} survivors: at most {points:.2g} points "
        f"missed, at 95 %, by {' and '.join(searches)}"
    )
