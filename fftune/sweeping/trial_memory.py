"""Memory of the largest training that a study may try, and of the evaluation of its net."""

from dataclasses import replace
from itertools import product

from fftune.config import Settings, SweepConfig, TrainConfig, Value, with_settings
from fftune.config.search_space import is_whole
from fftune.data.subset import sample
from fftune.devices import policy
from fftune.evaluation.evaluate import evaluate
from fftune.models import device_of
from fftune.sweeping.card_share import MemoryUse
from fftune.sweeping.fuse_groups import groups_of
from fftune.sweeping.training_trial import evaluated_splits
from fftune.training.memory_probe import peak_memory, take_steps

LARGER = ("optimizer.batch_size", "width", "attack.steps", "lam")
"""Fields that never make a training smaller as they grow."""
SMALLER = ("optimizer.accumulate",)
KINDS = ("model", "objective", "precision", "attack.search", "optimizer.algorithm")
"""Fields whose words nobody can order: each is tried."""


def measure_memory(config: SweepConfig) -> MemoryUse:
    """Train a few steps of the largest settings, and evaluate one block, on this process's card.

    Raises:
        OutOfMemoryError: the card is too small for one of them.
    """
    device = device_of("cuda")
    split = evaluated_splits(config.base.data)[0]
    lams = largest_group(config)
    battery = replace(config.battery, name="risks", tier=None, steps=2, examples=None)
    for base in largest(config):
        model = take_steps(base, device, lams)
        rows = battery.block_size or policy(device).block_size
        block = sample(config.base.data, split, rows)
        evaluate(model, block, battery, threat=config.base.attack.threat)
        del model
    need, card, name = peak_memory()
    return MemoryUse(need=need, card=card, name=name)


def largest_group(config: SweepConfig) -> tuple[float, ...]:
    """Lambdas of the most trainings that go side by side; empty where each goes alone."""
    if config.fuse == 1:
        return ()
    groups = groups_of(config, config.base.seed)
    found = max(groups, key=len, default=[])
    return tuple(one.lam for one in found) if len(found) > 1 else ()


def largest(config: SweepConfig) -> tuple[TrainConfig, ...]:
    """Settings of the trainings that may need the most memory, one for each choice of words."""
    ends: dict[str, tuple[Value, ...]] = {}
    for dimension in config.dimensions:
        path = dimension.path
        if path in LARGER:
            ends[path] = (max(dimension.ends, key=float),)
        elif path in SMALLER:
            ends[path] = (min(dimension.ends, key=float),)
        elif path in KINDS:
            ends[path] = dimension.ends
    whole = {path for path in ends if path not in KINDS and is_whole(config.base, path)}
    found: list[Settings] = [
        {
            path: int(float(value)) if path in whole else value
            for path, value in zip(ends, values, strict=True)
        }
        for values in product(*ends.values())
    ]
    return tuple(with_settings(config.base, settings) for settings in found)
