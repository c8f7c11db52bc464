"""Settings of which nobody would see the end, or which would do nothing."""

from dataclasses import replace

import pytest

from fftune import recipes
from fftune.config import AttackConfig, BatteryConfig, StoppingConfig, SweepConfig
from fftune.config.training import OptimizerConfig
from fftune.config.validation import MOST
from fftune.errors import ConfigError
from fftune.sweeping.training_trial import check_trainings
from fftune.training.train import check


def test_more_threads_than_a_machine_has_are_refused() -> None:
    """OpenMP ended the process by SIGSEGV."""
    for config in (recipes.thrm("tiny").base, BatteryConfig(), recipes.hedge("tiny").base):
        assert replace(config, threads=1024).threads == 1024
        with pytest.raises(ConfigError, match=r"^threads must be at most 1,024, got 100000"):
            replace(config, threads=100_000)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((OptimizerConfig, "epochs"), (AttackConfig, "steps"), (AttackConfig, "restarts")),
        *((BatteryConfig, "steps"), (BatteryConfig, "examples"), (StoppingConfig, "steps")),
        *((SweepConfig, "trials"), (SweepConfig, "seeds"), (SweepConfig, "attempts")),
    ],
)
def test_a_count_of_10_to_the_23_is_refused(kind, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} must be at most 1,000,000,000, got 1e\+23"):
        kind(**{name: 10**23})
    assert getattr(kind(**{name: MOST}), name) == MOST


def test_seeds_are_no_counts() -> None:
    assert BatteryConfig(seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(ConfigError, match=r"^seed must be at most 9,223,372,036,854,775,807, got"):
        BatteryConfig(seed=2**63)


def test_milestones_are_epochs() -> None:
    with pytest.raises(ConfigError, match=r"^milestones must be epochs >= 0, got \(-3, 5\)"):
        OptimizerConfig(milestones=(-3, 5))


def test_a_batch_is_not_cut_into_more_parts_than_it_has_examples() -> None:
    base = recipes.thrm("tiny").base
    size = base.optimizer.batch_size
    check(replace(base, optimizer=replace(base.optimizer, accumulate=size)))
    told = f"^optimizer.accumulate must be at most the {size} examples of .*, got {size + 1}"
    with pytest.raises(ConfigError, match=told):
        check(replace(base, optimizer=replace(base.optimizer, accumulate=size + 1)))


def test_rungs_lie_within_the_training() -> None:
    config = recipes.thrm("tiny")
    last = config.base.optimizer.epochs
    check_trainings(replace(config, stopping=StoppingConfig(rungs=(1, last))))
    with pytest.raises(
        ConfigError, match=f"^stopping.rungs must be at most the last epoch, {last}, got"
    ):
        check_trainings(replace(config, stopping=StoppingConfig(rungs=(1, last + 1))))
