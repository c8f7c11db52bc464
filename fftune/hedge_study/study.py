"""Second kind of study, as `registry.STUDIES` names it: which Hedge Defense, for one model."""

from collections.abc import Mapping
from pathlib import Path

from fftune.config import HedgeSweep
from fftune.hedge_study.cost import describe
from fftune.hedge_study.trial import check_study, evaluate_trial, pin_weights, write_showcase
from fftune.sweeping.study_kind import StudyKind


def _report(configs: Mapping[str, HedgeSweep], root: Path) -> str:
    from fftune.hedge_study.publish import publish_hedges  # plotly and pandas take a second

    return publish_hedges(configs, root)


HEDGE_STUDY = StudyKind(
    config=HedgeSweep,
    about="Search a hedge's radius, steps and step size: its cost, and against whom it helps.",
    measure=evaluate_trial,
    check=check_study,
    prepare=pin_weights,
    conclude=write_showcase,
    cost=describe,
    report=_report,
    takes_model=True,
)
