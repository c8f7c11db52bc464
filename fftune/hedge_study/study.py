"""Second kind of study: radius, steps and step size of a Hedge Defense, for one model."""

from fftune.config import HedgeSweep
from fftune.sweeping.study_kind import Lazy, StudyKind

_TRIAL = "fftune.hedge_study.trial"

HEDGE_STUDY = StudyKind(
    config=HedgeSweep,
    about="Search a hedge's radius, steps and step size: its cost, and against whom it helps.",
    measure=Lazy(f"{_TRIAL}:evaluate_trial"),
    check=Lazy(f"{_TRIAL}:check_study"),
    prepare=Lazy(f"{_TRIAL}:pin_weights"),
    conclude=Lazy(f"{_TRIAL}:write_showcase"),
    cost=Lazy("fftune.hedge_study.cost:describe"),
    report=Lazy("fftune.hedge_study.publish:publish_hedges"),
    takes_model=True,
)
