"""Spaces, strategies and what Optuna is asked for."""

import json
from dataclasses import replace
from math import log1p

import optuna
import pytest

from fftune.config import Dimension, SweepConfig, from_json, to_json, with_settings
from fftune.errors import ConfigError
from fftune.sweeping.samplers.spec import check_strategy, planned, strategy_of
from fftune.sweeping.samplers.strategies import enqueue, make_sampler
from fftune.sweeping.search_space import corners, params_of, suggest

LAM = Dimension(path="lam", low=0, high=100, scale="log1p")
LR = Dimension(path="optimizer.lr", low=0.01, high=0.2, scale="log")
METHOD = Dimension(path="objective", choices=("thrm", "trades"))
EPOCHS = Dimension(path="optimizer.epochs", low=2, high=9)


def config(*space: Dimension, **options) -> SweepConfig:
    return SweepConfig(space=space, **options)


@pytest.mark.parametrize(
    "text",
    ["lam=0.0:100.0:log1p", "optimizer.lr=0.01:0.2:log", "objective=thrm,trades", "lam=0,1,5"],
)
def test_a_dimension_is_one_word(text: str) -> None:
    assert str(Dimension.parse(text)) == text


def test_a_study_with_a_space_is_rebuilt_from_its_json() -> None:
    study = config(LAM, LR, METHOD, EPOCHS, Dimension(path="attack.steps", choices=(1, 10)))
    assert from_json(SweepConfig, to_json(study)) == study


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lowest": 1.0}, r"unknown setting 'space.1.lowest'; did you mean 'low'\?"),
        ({"low": 5.0, "high": 1.0}, r"optimizer.lr must be a range with low < high"),
        ({"path": "optimizer.lrr"}, r"space: unknown setting 'optimizer.lrr'; .*'optimizer.lr'\?"),
        ({"low": "0.1"}, r"space.1.low"),
    ],
)
def test_a_wrong_dimension_in_a_json_is_one_clear_line(change: dict, told: str) -> None:
    data = json.loads(to_json(config(LAM, LR)))
    data["space"][1] |= change
    with pytest.raises(ConfigError, match=told) as error:
        from_json(SweepConfig, json.dumps(data))
    assert "\n" not in str(error.value)


def test_a_dimension_in_a_json_that_is_no_object() -> None:
    data = json.loads(to_json(config(LAM))) | {"space": ["lam=0:1"]}
    with pytest.raises(ConfigError, match="space.0"):
        from_json(SweepConfig, json.dumps(data))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("optimizer.lrr=0.1:0.2", r"space: unknown setting 'optimizer.lrr'; .*'optimizer.lr'\?"),
        ("lam=5:1", r"space: lam must be a range with low < high, got \(5.0, 1.0\)"),
        ("lam=1:1", "low < high"),
        ("lam=nan:1", "space: lam: low must be finite, got nan"),
        ("optimizer.lr=0:0.1:log", "a range above 0 for log"),
        ("optimizer.lr=0:0.1", r"space: optimizer.lr: lr must be > 0"),
        ("optimizer.epochs=2.5:9", "whole numbers"),
        (
            "objective=thrm,tradess",
            r"space: objective: .*unknown objective 'tradess'; did you mean 'trades'\?",
        ),
        ("objective=0:1", "values like"),
        ("lam=a:b", "numbers as ends"),
        ("lam=0:1:cubic", r"LOW:HIGH\[:linear\|log\|log1p\]"),
        ("lam", "PATH=LOW:HIGH"),
        ("seed=1:5", "without seed"),
        ("data.train_size=10:50", "without seed, threads, data"),
        ("lam=3", "two or more distinct choices"),
    ],
)
def test_a_wrong_dimension_is_one_clear_line(word: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        config(Dimension.parse(word))
    assert "\n" not in str(error.value)


def test_gap_takes_one_range_and_says_so() -> None:
    with pytest.raises(ConfigError, match=r"one range of floats .*, got 'lam=0.*optimizer.lr="):
        check_strategy(config(LAM, LR, strategy="gap"))
    with pytest.raises(ConfigError, match="choices"):
        check_strategy(config(LAM, strategy="grid"))


@pytest.mark.parametrize("strategy", ["auto", "gap", "gp", "tpe", "random"])
def test_one_lambda_is_no_range_and_a_grid_of_one(strategy: str) -> None:
    with pytest.raises(ConfigError, match="lam must be a range of at least two values"):
        check_strategy(SweepConfig(lam=(3.0,), strategy=strategy))
    grid = SweepConfig(lam=(3.0,), strategy="grid")
    check_strategy(grid)
    assert asked(grid, 1) == [{"lam": 3.0}]


def test_auto_is_gap_for_one_range_and_gp_for_more() -> None:
    for study in (SweepConfig(), config(LAM), config(LR)):
        assert strategy_of(study) == "gap"
    for space in ((LAM, LR), (METHOD,), (EPOCHS,), (LAM, METHOD)):
        assert strategy_of(config(*space)) == "gp"
    assert strategy_of(SweepConfig(strategy="tpe")) == "tpe"


def test_settings_reach_their_fields_and_nothing_else() -> None:
    base = SweepConfig().base
    changed = with_settings(base, {"lam": 6.0, "optimizer.lr": 0.1, "attack.threat.eps": 0.2})
    assert (changed.lam, changed.optimizer.lr, changed.attack.threat.eps) == (6.0, 0.1, 0.2)
    threat = replace(changed.attack.threat, eps=base.attack.threat.eps)
    back = replace(
        changed,
        lam=base.lam,
        optimizer=replace(changed.optimizer, lr=base.optimizer.lr),
        attack=replace(changed.attack, threat=threat),
    )
    assert back == base


def test_grid_tries_every_combination() -> None:
    lams = Dimension(path="lam", choices=(0, 6))
    study = config(METHOD, lams, strategy="grid")
    assert planned(study) == 4
    assert asked(study, 4) == [
        {"objective": method, "lam": lam} for method in ("thrm", "trades") for lam in (0, 6)
    ]


@pytest.mark.parametrize("strategy", ["gp", "tpe"])
def test_corners_come_first_then_the_inside(strategy: str) -> None:
    study = config(LAM, METHOD, strategy=strategy, trials=9)
    found = asked(study, 5)
    ends = [(0, "thrm"), (100, "trades"), (0, "trades"), (100, "thrm")]
    assert [(f["lam"], f["objective"]) for f in found[:4]] == ends
    assert 0 <= found[4]["lam"] <= 100 and found[4]["objective"] in ("thrm", "trades")


def test_corners_leave_half_of_the_trials() -> None:
    study = config(LAM, LR, METHOD, EPOCHS, trials=6)
    first, last, *others = corners(study)
    assert list(first.values()) == [0, 0.01, "thrm", 2]
    assert list(last.values()) == [100, 0.2, "trades", 9]
    assert len(others) == 1


def test_lambda_is_drawn_evenly_on_its_axis() -> None:
    """log(1 + lam) / log(101) is uniform: a quarter of 400 draws lies in each quarter."""
    found = asked(config(LAM, strategy="random", trials=400), 400)
    u = [log1p(f["lam"]) / log1p(100) for f in found]
    for quarter in range(4):
        inside = sum(quarter / 4 <= v < (quarter + 1) / 4 for v in u)
        assert abs(inside - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5


def test_whole_numbers_stay_whole() -> None:
    for found in asked(config(EPOCHS, strategy="random"), 5):
        assert isinstance(found["optimizer.epochs"], int) and 2 <= found["optimizer.epochs"] <= 9


def test_what_is_queued_is_what_is_asked() -> None:
    study = config(LAM, LR, METHOD, strategy="tpe")
    settings = {"lam": 7.0, "optimizer.lr": 0.05, "objective": "trades"}
    search = optuna.create_study(directions=["minimize"] * 2, sampler=make_sampler(study))
    search.enqueue_trial(params_of(settings, study))
    assert suggest(search.ask(), study) == pytest.approx(settings)


def test_gap_begins_inside_its_margin() -> None:
    study = SweepConfig(strategy="gap", margin=0.05)
    found = [log1p(f["lam"]) / log1p(100) for f in asked(study, 3)]
    assert found == pytest.approx([0.05, 0.95, 0.5])


def asked(study: SweepConfig, trials: int) -> list[dict]:
    """What the strategy tries on risks that trade evenly over its first dimension."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = optuna.create_study(directions=["minimize"] * 2, sampler=make_sampler(study))
    enqueue(search, study)
    enqueue(search, study)  # a resumed driver does it again: nothing is queued twice
    found = []
    for i in range(trials):
        trial = search.ask()
        found.append(dict(suggest(trial, study)))
        search.tell(trial, (i / trials, 1 - i / trials))
    return found
