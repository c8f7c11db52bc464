"""Numbers of tables: rates over training seeds in percent, with their intervals.

The interval of one seed is Wilson's (1927). That of several is Student's over the seeds, where it
is wider than Wilson's for the examples of one seed at the mean rate, and the latter elsewhere: all
seeds are tested on the same images, so that more seeds do not make more examples.
"""

from collections.abc import Sequence
from math import nan, sqrt

from fftune.papers.artifacts import Cell, Measure, Published
from fftune.risk import Rate, RiskCounts


def measure_of(rates: Sequence[Rate]) -> Measure:
    """Summarise one rate per seed, in percent; undefined ones (n = 0) are left out.

    Returns:
        A measure whose `seeds` are those that count; with none, its mean is nan. There is no
        interval where a count is a difference and negative.
    """
    defined = [rate for rate in rates if rate.n]
    if not defined:
        return Measure(mean=nan, seeds=0)
    values = [100 * rate.value for rate in defined]
    mean, n = sum(values) / len(values), min(rate.n for rate in defined)
    if len(values) == 1:
        low, high = _wilson(defined[0])
        return Measure(mean=mean, low=100 * low, high=100 * high, n=n)
    sd = sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    if not all(0 <= rate.count <= rate.n for rate in defined):
        return Measure(mean=mean, sd=sd, seeds=len(values), n=n)
    low, high = _interval(mean, sd, len(values), n)
    return Measure(mean=mean, sd=sd, low=low, high=high, seeds=len(values), n=n)


def _wilson(rate: Rate) -> tuple[float, float]:
    """The interval of a share; (nan, nan) of a difference of counts, which may be negative."""
    return rate.interval if 0 <= rate.count <= rate.n else (nan, nan)


def _interval(mean: float, sd: float, seeds: int, n: int) -> tuple[float, float]:
    from scipy.special import stdtrit  # scipy.stats has the distribution, and takes a second

    half = float(stdtrit(seeds - 1, 0.975)) * sd / sqrt(seeds)
    examples = Rate(round(mean / 100 * n), n).interval
    low, high = min(mean - half, 100 * examples[0]), max(mean + half, 100 * examples[1])
    return max(low, 0.0), min(high, 100.0)


def left_out(rates: Sequence[Rate]) -> str:
    """Say how many seeds have no such rate; empty: none."""
    lost = sum(not rate.n for rate in rates)
    return f"undefined (n = 0) for {lost} of {len(rates)} seeds" if lost else ""


def inflation(counts: Sequence[RiskCounts]) -> Measure:
    """Inflation of the score: the share of all examples whose mistake a friend conceals.

    It is F - D, and natural risk times hypocritical risk, where no correct example is broken by
    the hypocritical attack; see `broken`.
    """
    return measure_of([Rate(one.concealed, one.total) for one in counts])


def broken(counts: Sequence[RiskCounts]) -> str:
    """Say how many correct examples the hypocritical attack broke; empty: none.

    So many examples of all seeds are missing in F, which then exceeds D by less than the inflation.
    """
    count, total = sum(one.hyp_broken for one in counts), sum(one.total for one in counts)
    return f"{count:,} of {total:,} examples are correct until they are helped" if count else ""


def missing(reason: str, published: Published | None = None) -> Cell:
    """A cell without a number of ours."""
    return Cell(
        published=published,
        verdict="not comparable" if published else "none",
        reason=reason,
    )
