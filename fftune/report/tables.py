"""Every trained model of some studies, a row each; every point, with means over its seeds."""

from collections.abc import Sequence

import pandas as pd

from fftune.config import Selection
from fftune.pareto import cost_to_reach, monotonicity_violations
from fftune.report.results import StudyResult
from fftune.risk import Rate
from fftune.sweeping.front import RISKS, SeedResult, TrialResult


def table(results: Sequence[StudyResult]) -> pd.DataFrame:
    """One row a model, on the test split; rates in percent, as the papers print them.

    Both risks stand on the validation split as well, where the front was chosen.
    """
    repeated = any(result.config.seeds > 1 for result in results)
    rows = [
        {
            "study": result.config.name,
            **_settings(point),
            **({"seed": point.seed} if repeated else {}),
            "front": "*" if point.trial in _on_front(result) else "",
            "natural risk": with_interval(point.test.natural_risk),
            "hypocritical risk": with_interval(point.test.hypocritical_risk),
            "n-": f"{point.test.wrong:,}",
            "validation": f"{percent(point.validation.natural_risk)}, "
            f"{percent(point.validation.hypocritical_risk)}",
            "D": percent(point.test.clean_accuracy),
            "A": percent(point.test.adversarial_accuracy),
            "F": percent(point.test.hypocritical_accuracy),
            "last-iterate violations": str(point.test.violations),
            "crafted": f"{point.crafted:,}",
            "train s": f"{point.train_seconds:.0f}",
        }
        for result in results
        for point in result.front.points
    ]
    return pd.DataFrame(rows)


def means(results: Sequence[StudyResult]) -> pd.DataFrame:
    """One row a point that was trained with several seeds: mean, deviation, two-level interval."""
    rows = [
        {
            "study": result.config.name,
            **_settings(trial),
            "front": "*" if trial.trial in _on_front(result) else "",
            "seeds": len(trial.points),
            **{f"{_named(risk)}, {split}": _mean(trial, split, risk)
               for split in ("test", "validation") for risk in RISKS},
        }
        for result in results
        if result.config.seeds > 1
        for trial in result.front.trials
    ]  # fmt: skip
    return pd.DataFrame(rows)


def hypervolumes(results: Sequence[StudyResult]) -> pd.DataFrame:
    """The area each front dominates below the reference (1, 1), and what it cost."""
    return pd.DataFrame([_front_row(result) for result in results])


def _front_row(result: StudyResult) -> dict[str, object]:
    front = result.front
    order = sorted(front.trials, key=lambda t: t.trial)
    risks = [t.risks("test") for t in order]
    crafted = [sum(p.crafted for p in t.points) for t in order]
    seconds = [sum(p.train_seconds + p.evaluate_seconds for p in t.points) for t in order]
    row = {
        "study": result.config.name,
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
    if set(front.trials[0].settings) <= {"lam"}:  # only then neighbours mean anything
        row["not monotone"] = len(monotonicity_violations([t.risks("test") for t in front.trials]))
    if result.config.stopping.rungs:
        row |= {"stopped": len(front.stopped), "epochs saved": front.epochs_saved}
    return row


def _on_front(result: StudyResult) -> set[int]:
    return {member.trial for member in result.front.members}


def _settings(of: SeedResult | TrialResult) -> dict[str, object]:
    """Lambda, and what else was searched."""
    others = {k: v for k, v in of.settings.items() if k != "lam"}
    return {"lambda": f"{of.lam:.4g}"} | {
        k: f"{v:.4g}" if isinstance(v, float) else v for k, v in others.items()
    }


def _mean(trial: TrialResult, split: Selection, risk: str) -> str:
    found = trial.estimate(split, risk)
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.mean:.1f}, sd {100 * found.sd:.1f} ({low:.1f}-{high:.1f})"


def _named(risk: str) -> str:
    return risk.replace("_", " ")


def percent(rate: Rate) -> str:
    """As in 8.5; "undefined" where n is 0."""
    return f"{100 * rate.value:.1f}" if rate.n else "undefined"


def with_interval(rate: Rate) -> str:
    """As in 8.5 (7.1-10.2), in percent."""
    if not rate.n:
        return "undefined"
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} ({low:.1f}-{high:.1f})"
