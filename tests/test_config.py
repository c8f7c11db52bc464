import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fftune import recipes
from fftune.config import (
    AttackConfig,
    SweepConfig,
    ThreatModel,
    TrainConfig,
    config_hash,
    differences,
    flat,
    from_json,
    study_of,
    to_json,
)
from fftune.errors import ConfigError

THRM = recipes.thrm("tiny")


@pytest.mark.parametrize("recipe", list(recipes.RECIPES.values()))
def test_a_run_can_be_rebuilt_from_its_json(recipe) -> None:
    assert study_of(to_json(recipe("tiny"))) == recipe("tiny")


@given(st.floats(0, 1, allow_nan=False))
def test_floats_keep_all_their_bits(eps: float) -> None:
    assert from_json(ThreatModel, to_json(ThreatModel(eps=eps))).eps == eps


def edited(path: str, value: object) -> str:
    data = json.loads(to_json(THRM))
    *parents, last = path.split(".")
    inner = data
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("base.attack.stpes", 3, "unknown setting 'base.attack.stpes'; did you mean 'steps'?"),
        ("trails", 3, "unknown setting 'trails'; did you mean 'trials'?"),
        ("base.attack.threat.eps", 2, "base.attack.threat.eps must be <= 1 for linf"),
        ("base.attack.threat.eps", -1, "base.attack.threat.eps must be finite and >= 0"),
        ("base.attack.threat.norm", "l1", "base.attack.threat.norm: .*'linf' or 'l2'"),
        ("base.attack.steps", "20", "base.attack.steps: .*integer"),
        ("base.optimizer.momentum", 1, r"base.optimizer.momentum must be in \[0, 1\)"),
        ("base.lam", 5, "base.lam must be left to the search"),
        ("lam", [0, -1], "lam must be >= 0 and finite, got -1"),
        ("lam", [3, 3], "lam must be distinct values"),
        ("lam", [3], "lam must be a range"),
        ("name", "a/b", "name must be letters"),
    ],
)
def test_a_mistake_is_named_by_its_full_path(path, value, message) -> None:
    with pytest.raises(ConfigError, match=message):
        from_json(SweepConfig, edited(path, value))


def test_what_is_not_settings_at_all() -> None:
    for text in ("", "[]", "{"):
        with pytest.raises(ConfigError):
            from_json(SweepConfig, text)


def test_nan_is_out_of_every_range() -> None:
    with pytest.raises(ConfigError, match="eps must be"):
        ThreatModel(eps=float("nan"))
    with pytest.raises(ConfigError, match="lam must be"):
        TrainConfig(lam=float("nan"))


def test_step_length_follows_eps_unless_it_is_set() -> None:
    assert AttackConfig(threat=ThreatModel(eps=8 / 255)).step_length == 2 / 255
    assert AttackConfig(step_size=0.1).step_length == 0.1


def test_differences_name_what_changed() -> None:
    other = replace(THRM, base=replace(THRM.base, seed=3), trials=4)
    assert differences(THRM, other) == "base.seed was 0, now 3, trials was 9, now 4"
    assert differences(THRM, THRM) == ""


def test_flat_names_every_leaf() -> None:
    assert flat(THRM)["base.attack.threat.eps"] == 0.15
    assert flat(THRM)["base.attack.steps"] == 10
    assert flat(THRM)["battery.steps"] == 20


def test_hash_names_the_settings() -> None:
    assert config_hash(THRM) == config_hash(recipes.thrm("tiny"))
    assert config_hash(THRM) != config_hash(recipes.trades("tiny"))
