"""A kind of study in a user's file whose trials cost nothing: they throw coins."""

KIND = '''
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from fftune.config import Dimension, StoppingConfig, Study, combinations
from fftune.risk import RiskCounts
from fftune.sweeping.trial_results import SeedResult
from fftune.sweeping.study_kind import StudyKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    share: float = 0.5
    seed: int = 0
    threads: int = 1
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinStudy(Study):
    """A study without a model: a share of 100 examples is wrong, the square of it concealed."""

    kind: ClassVar[str] = f"{Path(__file__).absolute()}:COINS"
    base: Base = field(default_factory=Base)
    method = "coins"
    known = ()
    early_stopping = StoppingConfig()

    def __post_init__(self):
        Study.__post_init__(self)

    @property
    def dimensions(self):
        return self.space or (Dimension(path="share", low=0.1, high=0.9),)

    @property
    def training_seeds(self):
        return range(self.base.seed, self.base.seed + 1)

    @property
    def grid(self):
        return combinations(self.dimensions)

    def effect(self, settings):
        return settings["share"]


def measure(run):
    wrong = round(100 * run.config.share)
    concealed = round(100 * (1 - run.config.share) ** 2 * run.config.share)
    counts = RiskCounts(total=100, wrong=wrong, fooled=0, concealed=concealed)
    return SeedResult(
        trial=run.trial, settings=run.settings, seed=run.config.seed, model_hash="coin",
        validation=counts, test=counts, train_seconds=0.0, evaluate_seconds=0.0,
    )


COINS = StudyKind(config=CoinStudy, about="Throw coins.", measure=measure)


def recipe(scale):
    """Coins."""
    return CoinStudy(name="coins", trials=4)
'''
