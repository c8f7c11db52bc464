"""Every trained model of some studies, a row each."""

from collections.abc import Sequence

import pandas as pd

from fftune.report.results import Result
from fftune.risk import Rate


def table(results: Sequence[Result]) -> pd.DataFrame:
    """One row a model, on the test split; rates in percent, as the papers print them."""
    rows = [
        {
            "study": result.config.name,
            "lambda": f"{point.lam:.4g}",
            "front": "*" if point in result.front.members else "",
            "natural risk": _with_interval(point.test.natural_risk),
            "hypocritical risk": _with_interval(point.test.hypocritical_risk),
            "n-": f"{point.test.wrong:,}",
            "D": _percent(point.test.clean_accuracy),
            "A": _percent(point.test.adversarial_accuracy),
            "F": _percent(point.test.hypocritical_accuracy),
            "last-iterate violations": str(point.test.violations),
        }
        for result in results
        for point in result.front.points
    ]
    return pd.DataFrame(rows)


def hypervolumes(results: Sequence[Result]) -> pd.DataFrame:
    """The area each front dominates below the reference (1, 1)."""
    rows = [
        {
            "study": result.config.name,
            "points on front": len(result.front.members),
            "trials": len(result.front.points),
            "failed": len(result.front.failures),
            "hypervolume, test": f"{result.front.hypervolume('test'):.3f}",
            "hypervolume, validation": f"{result.front.hypervolume('validation'):.3f}",
        }
        for result in results
    ]
    return pd.DataFrame(rows)


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.1f}" if rate.n else "undefined"


def _with_interval(rate: Rate) -> str:
    if not rate.n:
        return "undefined"
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} ({low:.1f}-{high:.1f})"
