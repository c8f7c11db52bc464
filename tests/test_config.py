import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fftune import recipes
from fftune.config import (
    AttackConfig,
    DefenseConfig,
    HedgeConfig,
    HedgeSweep,
    HedgeTrial,
    JpegConfig,
    SweepConfig,
    ThreatModel,
    TrainConfig,
    config_hash,
    default_eps,
    differences,
    flat,
    from_json,
    study_of,
    to_json,
    told_radius,
    with_settings,
)
from fftune.config.serialization import SINCE
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
        ("strategy", "bayes", "strategy must be known: unknown strategy 'bayes'"),
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


def test_a_radius_that_nobody_said_is_its_norms_own() -> None:
    assert (default_eps("linf"), default_eps("l2")) == (8 / 255, 0.5)
    assert (ThreatModel().eps, ThreatModel(norm="l2").eps) == (8 / 255, 0.5)
    assert (HedgeConfig().eps_d, HedgeConfig(norm="l2").eps_d) == (8 / 255, 0.5)
    assert ThreatModel(norm="l2", eps=0.1).eps == 0.1
    assert type(ThreatModel().eps) is float  # as JSON gives it back


def test_a_defense_of_another_norm_does_not_take_the_attackers_radius() -> None:
    def radius(**settings: object) -> tuple[str, float]:
        hedge = DefenseConfig(names=("hedge",), **settings).hedge(threat)
        return hedge.norm, hedge.eps_d

    threat = ThreatModel(eps=0.15)
    assert radius() == radius(norm="linf") == ("linf", 0.15)
    assert radius(norm="l2") == ("l2", 0.5)
    assert radius(norm="l2", eps_d=0.3) == ("l2", 0.3)


def test_a_hedge_sweep_of_another_norm_searches_that_norms_radii() -> None:
    attack = AttackConfig(threat=ThreatModel(eps=0.15))
    same, other = (HedgeSweep(base=HedgeTrial(attack=attack, norm=n)) for n in ("linf", "l2"))
    assert [sweep.dimensions[0].high for sweep in (same, other)] == [0.3, 1.0]
    assert [sweep.known[1]["eps_d"] for sweep in (same, other)] == [0.15, 0.5]


def test_a_search_that_moves_the_norm_moves_the_radius() -> None:
    base = THRM.base
    assert base.attack.threat == ThreatModel(eps=0.15)
    for settings, eps in (
        ({"attack.threat.norm": "l2"}, 0.5),
        ({"attack.threat.norm": "l2", "attack.threat.eps": 0.25}, 0.25),
        ({"attack.threat.norm": "linf"}, 0.15),
        ({"lam": 1.0}, 0.15),
    ):
        assert with_settings(base, settings).attack.threat.eps == eps
    hedge = with_settings(HedgeTrial(eps_d=0.1), {"norm": "l2"})
    assert (hedge.eps_d, hedge.attack.threat.eps) == (0.5, 8 / 255)


@pytest.mark.parametrize(
    ("eps", "told"),
    [
        (8 / 255, "0.0313725 (8/255)"),
        (0.031372549, "0.0313725 (8/255)"),
        (8 / 255 + 1e-8, "0.0313726"),
        (0.5, "0.5"),
        (0.15, "0.15"),
        (0.0, "0"),
        (1.0, "1"),
    ],
)
def test_radii_are_printed_in_one_form(eps: float, told: str) -> None:
    assert told_radius(eps) == told


def without(path: str) -> str:
    data = json.loads(to_json(THRM))
    *parents, last = path.split(".")
    inner = data
    for parent in parents:
        inner = inner[parent]
    del inner[last]
    return json.dumps(data)


@pytest.mark.parametrize("path", ["base", "name", "base.lam", "base.attack.threat.eps"])
def test_a_stored_setting_that_is_missing_is_no_default(path: str) -> None:
    with pytest.raises(ConfigError, match=f"^{path} is missing$"):
        from_json(SweepConfig, without(path))
    with pytest.raises(ConfigError, match="is missing"):
        from_json(TrainConfig, "{}")


@dataclass(frozen=True, kw_only=True)
class Inner:
    young: int = field(default=5, metadata={SINCE: 2})


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner | None = None


def test_only_files_older_than_a_field_may_lack_it(monkeypatch) -> None:
    monkeypatch.setattr("fftune.config.serialization.SCHEMA_VERSION", 2)
    assert from_json(Outer, '{"inner": {}}') == Outer(inner=Inner())
    with pytest.raises(ConfigError, match=r"^inner\.young is missing$"):
        from_json(Outer, '{"inner": {}, "schema_version": 2}')
    assert json.loads(to_json(Outer()))["schema_version"] == 2
    assert from_json(Outer, to_json(Outer(inner=Inner(young=7)))).inner == Inner(young=7)
    with pytest.raises(ConfigError, match="must be 1 to 2, got 3; a later fftune has written it"):
        from_json(Outer, '{"inner": null, "schema_version": 3}')


def test_settings_that_no_named_defense_follows_are_refused() -> None:
    for good in (
        DefenseConfig(),
        DefenseConfig(names=("jpeg",), jpeg=JpegConfig(quality=50), repeats=1),
        DefenseConfig(names=("mine.py:BLUR",), jpeg=JpegConfig(quality=50)),
    ):
        good.refuse_idle()
    for bad, told in (
        (DefenseConfig(names=("none",), repeats=1), "defense.repeats .* has none"),
        (DefenseConfig(jpeg=JpegConfig(quality=50)), "defense.jpeg.quality .* has no jpeg"),
    ):
        with pytest.raises(ConfigError, match=told):
            bad.refuse_idle()
