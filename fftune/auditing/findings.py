"""Findings of an audit: each bar beside what clean images and attacks came to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fftune.auditing.bars import AT_LEAST, Bar
from fftune.auditing.record import Finding
from fftune.auditing.sentences import sentence, unexcluded
from fftune.auditing.stratum import Stratum, outcome_of
from fftune.auditing.walk import Walk
from fftune.sequential import beyond
from fftune.verdict import Outcome

UNSTEADY = ("by-chance", "batch-dependent")
"""Codes of remarks on nets whose answers are no function of the image: nothing can be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Bounds on the number of mistakes, or of successful attacks, and what they rest on."""

    low: int
    high: int
    population: int
    examined: int
    found: int


def findings(walk: Walk, battery: str, remarks: Sequence[str]) -> tuple[Finding, ...]:
    """Findings of a walk, one for each bar.

    A bar that is passed because attacks failed stays undecided where these did not do their work;
    see `Stratum.doubt`. Of a net whose answers are no function of the image nothing is decided.

    Args:
        battery: name of the attacks, as in "hypocritical, tier full".
        remarks: all remarks on the net.
    """
    unsteady = next((line for line in remarks if line.partition(":")[0] in UNSTEADY), "")
    return tuple(_finding(walk, bar, battery, unsteady) for bar in walk.bars)


def _finding(walk: Walk, bar: Bar, battery: str, unsteady: str) -> Finding:
    stratum = None if bar.goal is None else walk.strata[bar.goal]
    counted = _counted(walk, stratum)
    limit = bar.limit(walk.total, walk.wrong)
    by_bound = counted.population <= limit
    doubt = unsteady or ("" if stratum is None or by_bound else stratum.doubt)
    outcome = outcome_of(counted.low, counted.high, limit)
    undefined = not bar.denominator(walk.total, walk.wrong)
    if undefined or unsteady or (doubt and outcome == "pass"):
        outcome = "inconclusive"
    finding = _measured(walk, bar, counted, stratum, outcome)
    left = counted.population - (0 if stratum is None else stratum.zeros)
    certain = finding.exact or counted.found > limit or left <= limit
    bounded = None if not by_bound else stratum is not None and stratum.certified
    said = unexcluded(finding, battery, doubt, certain=certain, certified=bounded)
    return replace(finding, unexcluded=said, sentence=sentence(finding))


def _counted(walk: Walk, stratum: Stratum | None) -> _Counted:
    if stratum is None:
        return _Counted(low=walk.wrong, high=walk.wrong, population=walk.total,
                        examined=walk.total, found=walk.wrong)  # fmt: skip
    return _Counted(
        low=stratum.low,
        high=stratum.high,
        population=stratum.population,
        examined=stratum.examined,
        found=stratum.ones,
    )


def _measured(
    walk: Walk, bar: Bar, counted: _Counted, stratum: Stratum | None, outcome: Outcome
) -> Finding:
    below = bar.denominator(walk.total, walk.wrong)
    exact = below > 0 and counted.low == counted.high
    ends, alphas = (0.0, 1.0), (0.0, 0.0)
    if below:
        low, high = (bar.share(n, walk.total, walk.wrong) for n in (counted.low, counted.high))
        ends = min(low, high), max(low, high)
    if stratum is not None and not exact:
        alphas = stratum.low_alpha, stratum.high_alpha
    return Finding(
        measure=bar.measure,
        bar=bar.value,
        at_most=bar.at_most,
        outcome=outcome,
        exact=exact,
        value=_estimate(walk, bar, counted) if below else None,
        low=ends[0],
        high=ends[1],
        alpha_low=alphas[0] if bar.at_most else alphas[1],
        alpha_high=alphas[1] if bar.at_most else alphas[0],
        population=counted.population,
        examined=counted.examined,
        found=counted.examined - counted.found if bar.measure == "accuracy" else counted.found,
        denominator=below,
        population_interval=_beyond(walk, bar, stratum),
        certified_high=_certified(walk, bar) if below else None,
        found_by=() if stratum is None else stratum.found_by(),
        unexcluded="",
        sentence="",
    )


def _estimate(walk: Walk, bar: Bar, counted: _Counted) -> float | None:
    """The rate, if all examples are as those that were drawn; None where none was."""
    if not counted.population:
        return bar.share(0, walk.total, walk.wrong)
    if not counted.examined:
        return None
    count = counted.found * counted.population / counted.examined
    return bar.share(count, walk.total, walk.wrong)


def _certified(walk: Walk, bar: Bar) -> float | None:
    """Bound of the rate by a certificate: all successes that it cannot exclude happen."""
    if bar.goal not in walk.bounds:
        return None
    return bar.share(walk.bounds[bar.goal], walk.total, walk.wrong)


def _beyond(walk: Walk, bar: Bar, stratum: Stratum | None) -> tuple[float, float] | None:
    """Interval for the population of which the set is a random sample, at level 1 - alpha.

    A rate of all images that rests on attacks on a part is a product of two shares, each bounded
    at alpha / 2.
    """
    total, wrong, alpha = walk.total, walk.wrong, walk.alpha
    if stratum is None:
        count = total - wrong if bar.measure in AT_LEAST else wrong
        return beyond(count, total, alpha=alpha)
    if not stratum.examined or stratum.certified:
        return None
    if bar.measure in ("adversarial_risk", "hypocritical_risk"):
        return _attacked(stratum, alpha)
    part = beyond(stratum.size, total, alpha=alpha / 2)
    low, high = _attacked(stratum, alpha / 2)
    if bar.measure == "robust_accuracy":
        low, high = 1 - high, 1 - low
    return part[0] * low, part[1] * high


def _attacked(stratum: Stratum, alpha: float) -> tuple[float, float]:
    """Interval for the share of successes, its upper end from finished blocks alone.

    What stands still counts as a success there, and as none for the lower end.
    """
    low, _ = beyond(stratum.ones, stratum.examined, alpha=alpha)
    n = stratum.finished
    _, high = beyond(n - stratum.zeros, n, alpha=alpha)
    return low, high
