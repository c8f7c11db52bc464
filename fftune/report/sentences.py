"""What was found, as one would tell it."""

from collections.abc import Sequence

from fftune.report.results import Result
from fftune.risk import RiskCounts


def headlines(results: Sequence[Result]) -> list[str]:
    """A sentence for the weakest model of each study; one net that two studies share, once."""
    nets = {result.weakest.model_hash: headline(result) for result in results}
    return list(nets.values())


def headline(result: Result) -> str:
    """How much of the score of a study's weakest model a false friend could fake."""
    point, counts = result.weakest, result.weakest.test
    method = "standard training" if point.lam == 0 else result.front.objective
    return (
        f"The model trained with lambda = {point.lam:g} ({method}) errs on "
        f"{counts.natural_risk.value:.1%} of {counts.total:,} clean test images, yet scores "
        f"{counts.hypocritical_accuracy.value:.1%} once a false friend has touched them: "
        f"hypocritical risk {_conditional(counts)}."
    )


def caveats(results: Sequence[Result]) -> list[str]:
    """What a reader must know before quoting a number."""
    config, threat = results[0].config, results[0].threat
    chosen = (
        "The points of each front were chosen on the test images themselves: optimistic."
        if config.selection == "test"
        else "The points of each front were chosen on validation images and are shown on test "
        "images, so that a curve need not fall everywhere."
    )
    seeds = sorted({point.seed for result in results for point in result.front.points})
    return [
        f"Threat: {threat.norm}, eps {threat.eps:g}. Attack: PGD-{config.battery.steps} with "
        "steps of eps / 4, last iterate (protocol fixed): a lower bound of every risk.",
        "Hypocritical risk is conditional on each model's own mistakes, n- of them; intervals "
        f"are Wilson's, 95 %. Training seeds: {', '.join(map(str, seeds))}.",
        chosen,
    ]


def _conditional(counts: RiskCounts) -> str:
    rate = counts.hypocritical_risk
    if not rate.n:
        return "undefined, as it makes no mistake"
    low, high = rate.interval
    return (
        f"{rate.value:.1%}, {rate.count:,} of its {rate.n:,} mistakes "
        f"(95 % interval {low:.1%} to {high:.1%})"
    )
