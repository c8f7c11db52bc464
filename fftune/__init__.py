"""fftune: how much of a model's score could a false friend have faked?

    import fftune as ff

    result = ff.evaluate(net, data="cifar10", battery="risks")
    print(result.risks())

Every name below is imported when it is first asked for, so that `import fftune` needs no torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fftune.api import Evaluation as Evaluation
    from fftune.api import Risks as Risks
    from fftune.api import evaluate as evaluate
    from fftune.api import reproduce as reproduce
    from fftune.api import sweep as sweep
    from fftune.api import train as train
    from fftune.attacks import apgd as apgd
    from fftune.attacks import cw as cw
    from fftune.attacks import deepfool as deepfool
    from fftune.attacks import fab as fab
    from fftune.attacks import fgsm as fgsm
    from fftune.attacks import pgd as pgd
    from fftune.attacks import pgd_hedged as pgd_hedged
    from fftune.attacks import rays as rays
    from fftune.attacks import square as square
    from fftune.auditing.audit import audit as audit
    from fftune.auditing.gate import gate as gate
    from fftune.config import AttackConfig as AttackConfig
    from fftune.config import BatteryConfig as BatteryConfig
    from fftune.config import DataSpec as DataSpec
    from fftune.config import DefenseConfig as DefenseConfig
    from fftune.config import HedgeConfig as HedgeConfig
    from fftune.config import HedgeSweep as HedgeSweep
    from fftune.config import InputSpec as InputSpec
    from fftune.config import ModelSpec as ModelSpec
    from fftune.config import OptimizerConfig as OptimizerConfig
    from fftune.config import Resources as Resources
    from fftune.config import SweepConfig as SweepConfig
    from fftune.config import ThreatModel as ThreatModel
    from fftune.config import TrainConfig as TrainConfig
    from fftune.defenses import hedge as hedge
    from fftune.errors import FftuneError as FftuneError
    from fftune.keyed_noise import Noise as Noise
    from fftune.objectives import cross_entropy as cross_entropy
    from fftune.objectives import thrm as thrm
    from fftune.objectives import trades as trades
    from fftune.outcomes import Outcomes as Outcomes
    from fftune.risk import Rate as Rate
    from fftune.risk import RiskCounts as RiskCounts
    from fftune.risk import UnionCounts as UnionCounts
    from fftune.sweeping.front import Front as Front
    from fftune.training.checkpoint import Checkpoint as Checkpoint

__version__ = "0.2.0"

_HOMES = {
    "api": ("Evaluation", "Risks", "evaluate", "reproduce", "sweep", "train"),
    "auditing.audit": ("audit",),
    "attacks": (*("apgd", "cw", "deepfool", "fab", "fgsm", "pgd", "pgd_hedged", "rays", "square"),),
    "auditing.gate": ("gate",),
    "config": (
        *("AttackConfig", "BatteryConfig", "DataSpec", "DefenseConfig", "HedgeConfig"),
        *("HedgeSweep", "InputSpec", "ModelSpec", "OptimizerConfig", "Resources", "SweepConfig"),
        *("ThreatModel", "TrainConfig"),
    ),
    "defenses": ("hedge",),
    "errors": ("FftuneError",),
    "keyed_noise": ("Noise",),
    "objectives": ("cross_entropy", "thrm", "trades"),
    "outcomes": ("Outcomes",),
    "risk": ("Rate", "RiskCounts", "UnionCounts"),
    "sweeping.front": ("Front",),
    "training.checkpoint": ("Checkpoint",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name from its home (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not, for completion in a notebook."""
    return sorted({*globals(), *_HOME})


class _Package(ModuleType):
    """The package, in which a function is never hidden by the module of its name.

    `import fftune.train` would bind the module behind `python -m fftune.train` over the function
    `fftune.train`; Python then finds the module in `sys.modules` all the same.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
