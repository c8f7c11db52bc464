"""Settings as frozen dataclasses, validated once, and their exact JSON.

Every message names the setting by its full path, as in `base.attack.steps`. Values are stored
exactly: `8 / 255` keeps all its bits.
"""

from fftune.config.attack import AttackConfig, ThreatModel, default_eps, told_radius
from fftune.config.bound import Bound
from fftune.config.conditioning import Conditioning, LambdaDraws
from fftune.config.data import (
    PERTURBED,
    Augmentation,
    DataSpec,
    LoaderConfig,
    WriteConfig,
    substandard_name,
)
from fftune.config.defense import (
    AntiAdversaryConfig,
    BitDepthConfig,
    DefenseConfig,
    HedgeConfig,
    HedgeTrial,
    JpegConfig,
    SmoothingConfig,
)
from fftune.config.evaluation import BatteryConfig
from fftune.config.hedge_study import HedgeSweep, ShowcaseConfig
from fftune.config.literals import (
    Backend,
    Compile,
    Constants,
    Device,
    Engine,
    GateMeasure,
    Goal,
    Loss,
    Norm,
    Precision,
    Protocol,
    ResultForm,
    RowProtocol,
    Selection,
    Split,
    Start,
    Tier,
    TrainPrecision,
)
from fftune.config.model import InputSpec, ModelSpec
from fftune.config.search_space import (
    Dimension,
    Settings,
    Value,
    is_whole,
    with_norms_of,
    with_settings,
)
from fftune.config.serialization import (
    config_hash,
    differences,
    flat,
    from_json,
    of_plain,
    read_settings,
    to_json,
)
from fftune.config.study import (
    PAPER_LAMBDAS,
    Resources,
    StoppingConfig,
    Study,
    SweepConfig,
    combinations,
    every_setting,
    study_json,
    study_of,
)
from fftune.config.training import OptimizerConfig, Phase, TrainConfig
from fftune.config.validation import require
from fftune.registry import nearest

__all__ = [
    "PAPER_LAMBDAS",
    "PERTURBED",
    "AntiAdversaryConfig",
    "AttackConfig",
    "Augmentation",
    "Backend",
    "BatteryConfig",
    "BitDepthConfig",
    "Bound",
    "Compile",
    "Conditioning",
    "Constants",
    "DataSpec",
    "DefenseConfig",
    "Device",
    "Dimension",
    "Engine",
    "GateMeasure",
    "Goal",
    "HedgeConfig",
    "HedgeSweep",
    "HedgeTrial",
    "InputSpec",
    "JpegConfig",
    "LambdaDraws",
    "LoaderConfig",
    "Loss",
    "ModelSpec",
    "Norm",
    "OptimizerConfig",
    "Phase",
    "Precision",
    "Protocol",
    "Resources",
    "ResultForm",
    "RowProtocol",
    "Selection",
    "Settings",
    "ShowcaseConfig",
    "SmoothingConfig",
    "Split",
    "Start",
    "StoppingConfig",
    "Study",
    "SweepConfig",
    "ThreatModel",
    "Tier",
    "TrainConfig",
    "TrainPrecision",
    "Value",
    "WriteConfig",
    "combinations",
    "config_hash",
    "default_eps",
    "differences",
    "every_setting",
    "flat",
    "from_json",
    "is_whole",
    "nearest",
    "of_plain",
    "read_settings",
    "require",
    "study_json",
    "study_of",
    "substandard_name",
    "to_json",
    "told_radius",
    "with_norms_of",
    "with_settings",
]
