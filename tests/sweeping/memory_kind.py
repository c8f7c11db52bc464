"""A kind of study whose trials need a share of a card, and say so as torch does."""

KIND = '''
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from fftune.config import Dimension, StoppingConfig, Study, combinations
from fftune.errors import OutOfMemoryError
from fftune.risk import RiskCounts
from fftune.sweeping.card_share import MemoryUse
from fftune.sweeping.trial_results import SeedResult
from fftune.sweeping.study_kind import StudyKind

OF_A_CARD = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a capacity of 8 GiB."


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    need: float = 0.2
    seed: int = 0
    threads: int = 1
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedStudy(Study):
    kind: ClassVar[str] = f"{Path(__file__).absolute()}:NEEDS"
    base: Base = field(default_factory=Base)
    method = "needs"
    known = ()
    early_stopping = StoppingConfig()

    def __post_init__(self):
        Study.__post_init__(self)

    @property
    def dimensions(self):
        return self.space or (Dimension(path="need", choices=(0.2, 0.9, 3.0, 0.3)),)

    @property
    def training_seeds(self):
        return range(self.base.seed, self.base.seed + 1)

    @property
    def grid(self):
        return combinations(self.dimensions)

    def effect(self, settings):
        return settings["need"]


def measure(run):
    log = run.study.path / "asked"
    with log.open("a") as file:
        file.write(f"{run.config.need} {run.resources.gpus:g}\\n")
    if (run.study.path / "die").exists() and run.resources.gpus >= run.config.need > 0.5:
        import time
        time.sleep(600)
    if run.resources.gpus < run.config.need:
        raise torch.OutOfMemoryError(OF_A_CARD)
    wrong = round(100 * run.config.need) % 100
    counts = RiskCounts(total=100, wrong=wrong, fooled=0, concealed=wrong // 2)
    return SeedResult(
        trial=run.trial, settings=run.settings, seed=run.config.seed, model_hash="need",
        validation=counts, test=counts, train_seconds=0.0, evaluate_seconds=0.0,
    )


def memory(config):
    """A quarter of the usable nine tenths of a card, for whatever needs it."""
    if config.base.seed == 9:
        raise OutOfMemoryError("a whole card is too small")
    return MemoryUse(need=2 * 2**30, card=10 * 2**30, name="a card of the tests")


NEEDS = StudyKind(config=NeedStudy, about="Need memory.", measure=measure, memory=memory)


def recipe(scale):
    """Needs."""
    return NeedStudy(name="needs", strategy="grid")
'''
"""Contents of a recipe's file."""
