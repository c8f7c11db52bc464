"""The Tune scheduler and its search, asked as Tune asks them, without a cluster."""

import pickle
from types import SimpleNamespace

import optuna
import pytest
from ray.tune.search.search_generator import SearchGenerator

from fftune.sweeping.ray_scheduler import ParetoHalvingScheduler, PruneAwareOptunaSearch

pytestmark = pytest.mark.xdist_group("ray")


def test_a_stopped_trial_is_never_told_as_a_finished_one() -> None:
    scheduler = ParetoHalvingScheduler(["a", "b"], rungs=[2, 4], time_attr="epoch")
    search = PruneAwareOptunaSearch(
        scheduler,
        {"x": optuna.distributions.FloatDistribution(0, 1)},
        metric=["a", "b"],
        mode=["min", "min"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    for name in "pqrs":
        search.suggest(name)

    def report(name: str, **result: float) -> str:
        return scheduler.on_trial_result(None, SimpleNamespace(trial_id=name), result)

    assert report("p", a=0.1, b=0.9, epoch=2) == "CONTINUE"
    assert report("q", a=0.9, b=0.1, epoch=1) == "CONTINUE"  # no rung
    assert report("q", a=0.3, b=0.95, a_low=0.05, b_low=0.9, epoch=2) == "CONTINUE"  # at best
    assert report("r", a=0.4, b=0.97, a_low=0.2, b_low=0.92, epoch=2) == "STOP"
    assert report("s", a=0.3, b=0.95, epoch=2, done=True) == "CONTINUE"  # it has ended
    assert scheduler.stopped == {"r": 2} and scheduler.saved(10) == 8

    search.on_trial_complete("p", {"a": 0.1, "b": 0.9})
    search.on_trial_complete("q", {"a": float("nan"), "b": 0.5})
    search.on_trial_complete("r", {"a": 0.3, "b": 0.95})
    search.on_trial_complete("s", None, error=True)
    told = [(t.state.name, t.values) for t in search._ot_study.trials]
    states = [state for state, _ in told]
    assert states == ["COMPLETE", "FAIL", "PRUNED", "FAIL"]
    assert [values for _, values in told] == [[0.1, 0.9], None, None, None]


def test_tune_keeps_nothing_of_a_search_whose_storage_may_have_a_password(tmp_path) -> None:
    """Ray saves a search at every beat, to files that all who read the study read."""
    scheduler = ParetoHalvingScheduler(["a", "b"], rungs=[], time_attr="epoch")
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    search = PruneAwareOptunaSearch(scheduler, space, metric=["a", "b"], mode=["min", "min"])
    search.suggest("p")
    for one in (search, SearchGenerator(search)):
        one.save_to_dir(str(tmp_path), "session")
    assert not any(b"FloatDistribution" in path.read_bytes() for path in tmp_path.iterdir())
    assert b"FloatDistribution" not in pickle.dumps(search)  # as with the settings of a run
