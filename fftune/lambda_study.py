"""First kind of study: lambda, or any setting of a training, against both risks.

Each trial trains a model (`sweeping.training_trial`); the report lays fronts side by side.
"""

from collections.abc import Mapping
from pathlib import Path

from fftune.config import SweepConfig
from fftune.sweeping.study_kind import StudyKind
from fftune.sweeping.training_trial import (
    check_trainings,
    estimates,
    forget,
    mlflow_params,
    train_and_evaluate,
)


def _cost(config: SweepConfig) -> str:
    from fftune.sweeping.cost import describe

    return describe(config)


def _report(configs: Mapping[str, SweepConfig], root: Path) -> str:
    from fftune.report.fronts import publish_fronts  # plotly and pandas take a second

    return publish_fronts(list(configs), root)


LAMBDA_STUDY = StudyKind(
    config=SweepConfig,
    about="Search lambda for the front of natural against hypocritical risk.",
    measure=train_and_evaluate,
    check=check_trainings,
    params=mlflow_params,
    forget=forget,
    epochs=lambda config: int(config.optimizer.epochs),
    estimates=estimates,
    cost=_cost,
    report=_report,
)
