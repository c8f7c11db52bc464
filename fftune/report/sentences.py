"""Sentences of a report: headlines, caveats, and the terms of the evaluation."""

from collections.abc import Sequence
from dataclasses import replace

from fftune.comparison import Estimate
from fftune.config import told_radius
from fftune.evaluation.block_cache import ENGINE
from fftune.report.bounds import bound_lines
from fftune.report.results import StudyResult
from fftune.risk import Rate, RiskCounts
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import SeedResult, TrialResult


def headlines(studies: Sequence[StudyResult]) -> list[str]:
    """One sentence for the weakest model of each study; a model that studies share comes once.

    Studies with bounds state what keeps them.
    """
    models = {study.weakest.results[0].model_hash: headline(study) for study in studies}
    bounds = [line for study in studies for line in bound_lines(study.config, study.front)]
    return [*models.values(), *bounds]


def headline(study: StudyResult) -> str:
    """State how far a false friend can raise the score of a study's weakest model or models."""
    trial = study.weakest
    if len(trial.results) > 1:
        return _over_seeds(study, trial)
    (model,) = trial.results
    counts = model.test
    return (
        f"The model trained with lambda = {model.lam:g} ({_method(study, model)}) errs on "
        f"{counts.natural_risk.value:.1%} of {counts.total:,} clean test images, yet scores "
        f"{counts.hypocritical_accuracy.value:.1%} once a false friend has touched them: "
        f"hypocritical risk {_conditional(counts)}, which inflates the score by "
        f"{_points(counts.inflation)}."
    )


def _over_seeds(study: StudyResult, trial: TrialResult) -> str:
    """The headline of a trial with several seeds: means, as no seed stands for the others."""
    counts = [model.test for model in trial.results]
    names = ("clean_accuracy", "hypocritical_accuracy", "inflation")
    clean, touched, inflation = (Estimate.of([getattr(c, n) for c in counts]) for n in names)
    return (
        f"The {len(counts)} models trained with lambda = {trial.lam:g} "
        f"({_method(study, trial.results[0])}), a seed each, err on {1 - clean.mean:.1%} of "
        f"{counts[0].total:,} clean test images on average, yet score {touched.mean:.1%} once a "
        f"false friend has touched them: hypocritical risk "
        f"{trial.estimate('test', 'hypocritical_risk')}, which inflates the score by "
        f"{100 * inflation.mean:.1f} points."
    )


def _method(study: StudyResult, model: SeedResult) -> str:
    """Training objective of a model, which may be among the searched settings."""
    objective = str(model.settings.get("objective", study.config.base.objective))
    unweighted = model.lam == 0 and objective in ("trades", "thrm")
    return "standard training" if unweighted or objective == "standard" else objective


def asked(front: Front) -> list[str]:
    """Describe the evaluation of a front's models as resolved, with the remarks of the lint."""
    splits = ("test", "validation")
    questions = [front.questions[split] for split in splits if split in front.questions]
    lines: list[str] = []
    if questions:  # the splits of a study differ in nothing else
        images = "; ".join(question.about() for question in questions)
        terms = replace(questions[0], remarks=()).terms()
        lines = [f"images    {images}", *terms[1:]]
    return [*lines, *_older(front), *_remarks(front)]


def _older(front: Front) -> list[str]:
    """State that the rows of a front were made by another engine, if so."""
    asked_by = [question.engine for question in front.questions.values()]
    engines: set[int | None] = {*asked_by} or {None}
    if not front.results or engines == {ENGINE}:
        return []
    made = " and ".join("an older engine" if e is None else f"engine {e}" for e in engines)
    return [
        f"Study {front.study}: its rows are of {made} and read as they are; today's is {ENGINE}, "
        "whose rows may differ."
    ]


def _remarks(front: Front) -> list[str]:
    """Each remark once, with the nets that it is on."""
    nets: dict[str, list[str]] = {}
    for result in front.results:
        for remark in result.remarks:
            nets.setdefault(remark, []).append(f"trial {result.trial}, seed {result.seed}")
    every = len(front.results)
    return [
        f"Remark on {f'every net of {front.study}' if len(on) == every > 1 else '; '.join(on)}: "
        f"{remark}"
        for remark, on in nets.items()
    ]


def caveats(studies: Sequence[StudyResult]) -> list[str]:
    """List what a reader must know before quoting a number."""
    config, threat = studies[0].config, studies[0].threat
    chosen = (
        "The models of each front were chosen on the test images themselves: optimistic."
        if config.selection == "test"
        else "The models of each front were chosen on validation images and are shown on test "
        "images, so that a curve need not fall everywhere."
    )
    seeds = sorted({result.seed for study in studies for result in study.front.results})
    return [
        *asked(studies[0].front),
        *(line for s in studies[1:] for line in (*_older(s.front), *_remarks(s.front))),
        f"Threat: {threat.norm}, eps {told_radius(threat.eps)}. Attack: "
        f"PGD-{config.battery.steps} with steps of eps / 4, last iterate "
        "(protocol last_iterate): a lower bound of every risk.",
        "Hypocritical risk is conditional on each model's own mistakes, n- of them; intervals "
        f"are Wilson's, 95 %. Training seeds: {', '.join(map(str, seeds))}.",
        *_one_seed(studies),
        "A model that makes more and worse mistakes has a smaller hypocritical risk, so the "
        "inflation of the score stands beside it: natural risk x hypocritical risk, the share of "
        "all images that is concealed. F - D is less where the friend's last iterate breaks right "
        "answers.",
        chosen,
    ]


def _one_seed(studies: Sequence[StudyResult]) -> list[str]:
    """State of studies of one seed that they know nothing of others."""
    alone = [study.config.name for study in studies if study.config.seeds == 1]
    if not alone:
        return []
    of = "" if len(alone) == len(studies) else f" in {' and '.join(alone)}"
    return [
        f"One training seed{of} is no evidence about seeds, and no interval here counts them: over "
        "three, accuracy under AutoAttack ranges by 0.4 points in the median and by up to 45 "
        "(FastAT Benchmark, 2026). `--seeds 3` repeats every model."
    ]


def _points(rate: Rate) -> str:
    """Format a difference of two accuracies with its interval, in points of percent."""
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} points (95 % interval {low:.1f} to {high:.1f})"


def _conditional(counts: RiskCounts) -> str:
    rate = counts.hypocritical_risk
    if not rate.n:
        return "undefined, as it makes no mistake"
    low, high = rate.interval
    return (
        f"{rate.value:.1%}, {rate.count:,} of its {rate.n:,} mistakes "
        f"(95 % interval {low:.1%} to {high:.1%})"
    )
