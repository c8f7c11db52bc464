"""What was found, as one would tell it."""

from collections.abc import Sequence
from dataclasses import replace

from fftune.config import told_radius
from fftune.evaluation.block_cache import ENGINE
from fftune.report.results import StudyResult
from fftune.risk import RiskCounts
from fftune.sweeping.front import Front, SeedResult


def headlines(results: Sequence[StudyResult]) -> list[str]:
    """A sentence for the weakest model of each study; one net that two studies share, once."""
    nets = {result.weakest.model_hash: headline(result) for result in results}
    return list(nets.values())


def headline(result: StudyResult) -> str:
    """How much of the score of a study's weakest model a false friend could fake."""
    point, counts = result.weakest, result.weakest.test
    return (
        f"The model trained with lambda = {point.lam:g} ({_method(result, point)}) errs on "
        f"{counts.natural_risk.value:.1%} of {counts.total:,} clean test images, yet scores "
        f"{counts.hypocritical_accuracy.value:.1%} once a false friend has touched them: "
        f"hypocritical risk {_conditional(counts)}."
    )


def _method(result: StudyResult, point: SeedResult) -> str:
    """What trained a model: its own objective, which may be one of those that were searched."""
    objective = str(point.settings.get("objective", result.config.base.objective))
    unweighted = point.lam == 0 and objective in ("trades", "thrm")
    return "standard training" if unweighted or objective == "standard" else objective


def asked(front: Front) -> list[str]:
    """What the models of a front were asked, as it was resolved, and what the lint remarked."""
    parts = ("test", "validation")
    questions = [front.questions[part] for part in parts if part in front.questions]
    lines = [question.about() for question in questions]
    if questions:  # the parts of a study differ in nothing else
        lines += replace(questions[0], remarks=()).terms()
    return [*lines, *_older(front), *_remarks(front)]


def _older(front: Front) -> list[str]:
    """A line that says so where the rows of a front are of another engine than today's."""
    asked_by = [question.engine for question in front.questions.values()]
    engines: set[int | None] = {*asked_by} or {None}
    if not front.points or engines == {ENGINE}:
        return []
    made = " and ".join("an older engine" if e is None else f"engine {e}" for e in engines)
    return [
        f"Study {front.study}: its rows are of {made} and read as they are; today's is {ENGINE}, "
        "whose rows may differ."
    ]


def _remarks(front: Front) -> list[str]:
    return [
        f"Remark on trial {point.trial}, seed {point.seed}: {remark}"
        for point in front.points
        for remark in point.remarks
    ]


def caveats(results: Sequence[StudyResult]) -> list[str]:
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
        *asked(results[0].front),
        *(line for r in results[1:] for line in (*_older(r.front), *_remarks(r.front))),
        f"Threat: {threat.norm}, eps {told_radius(threat.eps)}. Attack: "
        f"PGD-{config.battery.steps} with steps of eps / 4, last iterate "
        "(protocol fixed): a lower bound of every risk.",
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
