"""No strategy tries twice what has one and the same effect."""

from collections.abc import Callable
from typing import Any, Literal

import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler

from fftune.config import Dimension, HedgeSweep, Settings, Study, SweepConfig
from fftune.sweeping.samplers.dedupe import DedupeSampler
from fftune.sweeping.samplers.strategies import enqueue, make_sampler
from fftune.sweeping.search_space import suggest

LR = Dimension(path="optimizer.lr", low=0.01, high=0.2, scale="log")
METHOD = Dimension(path="objective", choices=("thrm", "trades"))


class Stubborn(RandomSampler):
    """After the first trial it proposes one and the same, but for what `vary` changes."""

    def __init__(self, proposal: dict[str, Any], vary: Callable[[int], dict[str, Any]]) -> None:
        super().__init__(seed=0)
        self._proposal, self._vary = proposal, vary

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return optuna.search_space.intersection_search_space(study.get_trials())

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {**self._proposal, **self._vary(trial.number)} if search_space else {}


def asked(
    config: Study, sampler: BaseSampler, trials: int, *, begin: bool = False
) -> list[Settings]:
    """What is tried where risks are least without a radius, from the corners on or at once."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = optuna.create_study(directions=["minimize"] * len(config.risks), sampler=sampler)
    if begin:
        enqueue(search, config)
    found = []
    for _ in range(trials):
        trial = search.ask()
        found.append(suggest(trial, config))
        search.tell(trial, (found[-1].get("eps_d", 0.5),) * len(config.risks))
    return found


def test_one_point_again_and_again_becomes_many() -> None:
    config = SweepConfig(space=(LR, METHOD), strategy="tpe")
    stubborn = Stubborn({"optimizer.lr": 0.1, "objective": "thrm"}, lambda _: {})
    found = asked(config, DedupeSampler(stubborn, config), 8)
    assert found[1] == {"optimizer.lr": 0.1, "objective": "thrm"}
    assert len({config.effect(settings) for settings in found}) == 8


def test_hedges_without_a_radius_are_one_whatever_their_steps() -> None:
    config = HedgeSweep()
    stubborn = Stubborn({"eps_d": 0.0, "step_size": 0.01}, lambda n: {"steps": n})
    bare = asked(config, stubborn, 8)
    assert [settings["eps_d"] for settings in bare[1:]] == [0.0] * 7
    found = asked(config, DedupeSampler(stubborn, config), 8)
    assert [settings["eps_d"] == 0 for settings in found[1:]] == [True] + [False] * 6


def test_what_runs_beside_counts_as_tried() -> None:
    config = SweepConfig(space=(LR, METHOD), strategy="tpe")
    stubborn = Stubborn({"optimizer.lr": 0.1, "objective": "thrm"}, lambda _: {})
    search = optuna.create_study(
        directions=["minimize"] * 2, sampler=DedupeSampler(stubborn, config)
    )
    first = search.ask()
    suggest(first, config)
    search.tell(first, (0.5, 0.5))
    running = [suggest(search.ask(), config) for _ in range(4)]
    assert len({config.effect(settings) for settings in running}) == 4


def test_a_space_with_nothing_left_is_tried_again() -> None:
    config = SweepConfig(space=(METHOD,), strategy="tpe")
    found = asked(config, DedupeSampler(Stubborn({"objective": "thrm"}, lambda _: {}), config), 5)
    assert {settings["objective"] for settings in found} == {"thrm", "trades"}
    assert found[4] == {"objective": "thrm"}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["gp", "tpe"])
def test_searches_that_like_no_defense_best_try_it_once(strategy: Literal["gp", "tpe"]) -> None:
    config = HedgeSweep(strategy=strategy, trials=16)
    found = asked(config, make_sampler(config), 16, begin=True)
    assert len({config.effect(settings) for settings in found}) == 16
