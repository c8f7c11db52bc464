"""Tables of a report: one row a model, one row a trial, one row a front."""

from collections.abc import Sequence

import pandas as pd

from fftune.comparison import Estimate
from fftune.config import Selection
from fftune.pareto import cost_to_reach, monotonicity_violations
from fftune.report.bounds import kept
from fftune.report.results import StudyResult
from fftune.risk import Rate
from fftune.sweeping.trial_results import RISKS, SeedResult, TrialResult


def table(studies: Sequence[StudyResult]) -> pd.DataFrame:
    """One row a model, on the test split; rates in percent, as the papers print them.

    Both risks are given on the validation split too, which selects the front.
    """
    repeated = any(study.config.seeds > 1 for study in studies)
    rows = [
        {
            "study": study.config.name,
            "trial": model.trial,
            **_settings(model),
            **({"seed": model.seed} if repeated else {}),
            "front": "*" if model.trial in _on_front(study) else "",
            **_bound(study, model.trial),
            "natural risk": with_interval(model.test.natural_risk),
            "hypocritical risk": with_interval(model.test.hypocritical_risk),
            "n-": f"{model.test.wrong:,}",
            "inflation": with_interval(model.test.inflation),
            **_ends(model),
            "validation": f"{percent(model.validation.natural_risk)}, "
            f"{percent(model.validation.hypocritical_risk)}",
            "D": percent(model.test.clean_accuracy),
            "A": percent(model.test.adversarial_accuracy),
            "F": percent(model.test.hypocritical_accuracy),
            "last-iterate violations": str(model.test.violations),
            "crafted": f"{model.crafted:,}",
            "train s": f"{model.train_seconds:.0f}",
        }
        for study in studies
        for model in study.front.results
    ]
    return pd.DataFrame(rows)


def _ends(model: SeedResult) -> dict[str, str]:
    """Columns of what is certified, and of what neither attacks nor bounds decide."""
    cells = {}
    for one in model.brackets:
        cells[f"{one.goal} risk at most"] = with_interval(one.most)
        cells[f"{one.goal} risk undecided"] = with_interval(one.undecided)
    return cells


def means(studies: Sequence[StudyResult]) -> pd.DataFrame:
    """One row a trial with several seeds: mean, deviation, two-level interval."""
    rows = [
        {
            "study": study.config.name,
            "trial": trial.trial,
            **_settings(trial),
            "front": "*" if trial.trial in _on_front(study) else "",
            **_bound(study, trial.trial),
            "seeds": len(trial.results),
            **{f"{_named(risk)}, {split}": _mean(trial, split, risk)
               for split in ("test", "validation") for risk in RISKS},
            "inflation, test": _inflation(trial),
        }
        for study in studies
        if study.config.seeds > 1
        for trial in study.front.trials
    ]  # fmt: skip
    return pd.DataFrame(rows)


def hypervolumes(studies: Sequence[StudyResult]) -> pd.DataFrame:
    """One row a front: the area it dominates below the reference (1, 1), and its cost."""
    return pd.DataFrame([_front_row(study) for study in studies])


def _front_row(study: StudyResult) -> dict[str, object]:
    front = study.front
    order = sorted(front.trials, key=lambda t: t.trial)
    risks = [t.risks("test") for t in order]
    crafted = [sum(r.crafted for r in t.results) for t in order]
    seconds = [sum(r.train_seconds + r.evaluate_seconds for r in t.results) for t in order]
    row = {
        "study": study.config.name,
        "points on front": len(front.members),
        "trials": len(front.trials),
        "failed": len(front.failures),
        "hypervolume, test": f"{front.hypervolume('test'):.3f}",
        "hypervolume, validation": f"{front.hypervolume('validation'):.3f}",
        "crafted": f"{sum(crafted):,}",
        "crafted to 95 % of it": f"{cost_to_reach(risks, crafted):,.0f}",
        "seconds": f"{sum(seconds):,.0f}",
        "seconds to 95 % of it": f"{cost_to_reach(risks, seconds):,.0f}",
    }
    if set(front.trials[0].settings) <= {"lam"}:  # else neighbours differ in more than lambda
        row["not monotone"] = len(monotonicity_violations([t.risks("test") for t in front.trials]))
    if study.config.stopping.rungs:
        row |= {"stopped": len(front.stopped), "epochs saved": front.epochs_saved}
    return row


def _on_front(study: StudyResult) -> set[int]:
    return {member.trial for member in study.front.members}


def _bound(study: StudyResult, trial: int) -> dict[str, str]:
    """Column of trials that keep the bounds; none where the study has no bounds."""
    if not study.config.where:
        return {}
    numbers = {one.trial for one in kept(study.config, study.front)}
    return {"bound": "kept" if trial in numbers else ""}


def _settings(of: SeedResult | TrialResult) -> dict[str, object]:
    """Columns of lambda and the other searched settings."""
    others = {k: v for k, v in of.settings.items() if k != "lam"}
    return {"lambda": f"{of.lam:.4g}"} | {
        k: f"{v:.4g}" if isinstance(v, float) else v for k, v in others.items()
    }


def _mean(trial: TrialResult, split: Selection, risk: str) -> str:
    found = trial.estimate(split, risk)
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.mean:.1f}, sd {100 * found.sd:.1f} ({low:.1f}-{high:.1f})"


def _inflation(trial: TrialResult) -> str:
    """Format mean and deviation over seeds of the share of all images that is concealed."""
    found = Estimate.of([result.test.inflation for result in trial.results])
    return f"{100 * found.mean:.1f}, sd {100 * found.sd:.1f}"


def _named(risk: str) -> str:
    return risk.replace("_", " ")


def percent(rate: Rate) -> str:
    """Format a rate in percent, as in 8.5; "undefined" where n is 0."""
    return f"{100 * rate.value:.1f}" if rate.n else "undefined"


def with_interval(rate: Rate) -> str:
    """Format a rate with its interval in percent, as in 8.5 (7.1-10.2)."""
    if not rate.n:
        return "undefined"
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} ({low:.1f}-{high:.1f})"
