"""First kind of study: lambda, or any setting of a training, against both risks."""

from fftune.config import SweepConfig
from fftune.sweeping.study_kind import Lazy, StudyKind

_TRIAL = "fftune.sweeping.training_trial"

LAMBDA_STUDY = StudyKind(
    config=SweepConfig,
    about="Search lambda for the front of natural against hypocritical risk.",
    measure=Lazy(f"{_TRIAL}:train_and_evaluate"),
    check=Lazy(f"{_TRIAL}:check_trainings"),
    params=Lazy(f"{_TRIAL}:mlflow_params"),
    forget=Lazy(f"{_TRIAL}:forget"),
    epochs=lambda config: int(config.optimizer.epochs),
    estimates=Lazy(f"{_TRIAL}:estimates"),
    cost=Lazy("fftune.sweeping.cost:describe"),
    hours=Lazy("fftune.sweeping.cost:describe_hours"),
    memory=Lazy("fftune.sweeping.trial_memory:measure_memory"),
    report=Lazy("fftune.report.fronts:publish_fronts"),
)
