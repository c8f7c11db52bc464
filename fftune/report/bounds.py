"""Trials that keep the bounds of a study, and the best of them, in words."""

from collections.abc import Iterator, Sequence

from fftune.config import Bound, Selection, Study
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import TrialResult


def kept(config: Study, front: Front) -> list[TrialResult]:
    """Trials that keep every bound on the split that selects, by their numbers."""
    return sorted((t for t in front.trials if keeps(config, t)), key=lambda t: t.trial)


def keeps(config: Study, trial: TrialResult) -> bool:
    """Tell if a trial keeps every bound on the split that selects; with none, each does."""
    risks = trial.risks(config.selection, config.risks)
    return all(bound.excess(risks, config.risks) <= 0 for bound in config.where)


def best_kept(config: Study, front: Front) -> TrialResult | None:
    """Trial that keeps the bounds and is least in what was sought, the last of it first."""
    order = config.sought[::-1]
    return min(kept(config, front), key=lambda t: t.risks(config.selection, order), default=None)


def bound_lines(config: Study, front: Front) -> list[str]:
    """State in a line which trials keep the bounds, and the best of them; none without bounds."""
    if not config.where:
        return []
    bounds = " and ".join(map(str, config.where))
    line = f"{config.name}: {bounds} on the {config.selection} images: "
    best = best_kept(config, front)
    if best is None:
        return [f"{line}none of {len(front.trials)} trials keeps that."]
    within = kept(config, front)
    numbers = ", ".join(str(trial.trial) for trial in within)
    sought = config.sought[-1]
    found = (
        f"kept by {len(within)} of {len(front.trials)} trials ({numbers}). Of these trial "
        f"{best.trial} ({_described(best)}) has the least {_named(sought)}: "
        f"{best.estimate('test', sought)} on the test images."
    )
    return [" ".join([line + found, *(_told(b, best, config.selection) for b in config.where)])]


def _told(bound: Bound, best: TrialResult, selection: Selection) -> str:
    """State a bounded risk of the best trial on both splits, and where it is not safely kept."""
    splits: Sequence[Selection] = ("test",) if selection == "test" else (selection, "test")
    return f"Its {_named(bound.risk)} is {'; '.join(_each(bound, best, splits))}."


def _each(bound: Bound, best: TrialResult, splits: Sequence[Selection]) -> Iterator[str]:
    for split in splits:
        found = best.estimate(split, bound.risk)
        beyond = ""
        if found.mean > bound.most:
            beyond = f", above {bound.most:g}"
        elif found.high > bound.most:
            beyond = f", whose interval reaches above {bound.most:g}"
        yield f"{found} on the {split} images{beyond}"


def _described(trial: TrialResult) -> str:
    """Settings of a trial, as in "lambda 13.2, optimizer.lr 0.1"."""
    each = trial.settings.items()
    return ", ".join(
        f"{'lambda' if path == 'lam' else path} {value:.4g}"
        if isinstance(value, float)
        else f"{path} {value}"
        for path, value in each
    )


def _named(risk: str) -> str:
    return risk.replace("_", " ")
