"""Words of settings: what is misspelt is refused, and never taken for another word."""

import pytest
import torch
from torch import nn

import fftune as ff
from fftune.attacks.spec import AttackSpec, attack_spec, check_search
from fftune.config import Resources
from fftune.errors import ConfigError
from fftune.objectives import Crafting, find_objective


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ff.ThreatModel(norm="linff"), "norm must be one of linf, l2, got 'linff'; did"),
        (lambda: ff.ThreatModel(eps="a/255"), "eps must be a number, got 'a/255'"),
        (
            lambda: ff.AttackConfig(protocol="stong"),
            "protocol must be one of last_iterate, best_loss",
        ),
        (lambda: ff.AttackConfig(start="unif"), "start must be one of uniform"),
        (lambda: ff.HedgeConfig(norm="l1"), "norm must be one of linf, l2"),
        (lambda: ff.BatteryConfig(device="gpu"), "device must be one of auto, cpu, cuda"),
        (lambda: Crafting("hypocritcal", "ce", joint=True), "'hypocritcal'.*mean 'hypocritical'"),
        (lambda: Crafting("adversarial", "cee", joint=True), "'cee'.*'ce'"),
        (lambda: ff.train("thrm", scale="tinny"), "scale must be one of tiny, small, full"),
        (lambda: ff.train("thrm", kind="nose"), "kind must be one of .*; did you mean 'noise'"),
        (lambda: ff.sweep("thrm", scale="tinny"), "scale must be one of tiny, small, full"),
        (lambda: ff.sweep("hedge"), "net is missing"),
    ],
)
def test_a_misspelt_word_is_refused(make, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("goal", "loss", "message"),
    [
        ("hypocrital", "ce", "goal must be one of .*got 'hypocrital'; did you mean 'hypocritical'"),
        ("adversarial", "cee", "loss must be one of .*got 'cee'; did you mean 'ce'"),
    ],
)
def test_an_attack_of_no_goal_is_refused(goal, loss, message) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    x, y, ids = torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), torch.arange(2)
    with pytest.raises(ConfigError, match=message):
        ff.pgd(
            net, x, y, config=ff.AttackConfig(), goal=goal, loss=loss, noise=ff.Noise(0), ids=ids
        )


@pytest.mark.parametrize("how", ["backend", "split"])
def test_where_it_runs_and_on_what_are_words_too(how) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ConfigError, match=f"{how} must be one of .*'tst'"):
        ff.evaluate(net, data="digits", resources=Resources(), **{how: "tst"})


OWN = """
import torch
from fftune.attacks import AttackSpec

def last(model, x, y, *, config, goal, loss, noise, ids):
    return x

def far(model, x, y, *, config, goal, loss, noise, ids):
    return x + 10

def short(model, x):
    return x

ONE_LOSS = AttackSpec(run=last, losses=("margin",))
"""


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return str(file)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("last", {"restarts": 3}, "restarts must be 1 for attack .*last', got 3"),
        (
            "last",
            {"protocol": "first_success"},
            "protocol 'first_success' is none of attack .*last', ",
        ),
        ("ONE_LOSS", {}, "loss 'ce' is none of attack .*ONE_LOSS', which climbs margin"),
        ("short", {}, "attack .*short' must take other arguments"),
    ],
)
def test_what_an_attack_would_ignore_is_refused(own, name, settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check_search(ff.AttackConfig(search=f"{own}:{name}", **settings), "ce")


def test_our_attacks_say_what_they_honour() -> None:
    for name in ("pgd", "cw", "apgd", "fab", "square", "pgd_hedged"):
        assert attack_spec(name).restarts and "last_success" in attack_spec(name).protocols
    assert not AttackSpec(run=attack_spec("pgd").run).restarts


def test_training_refuses_points_outside_the_ball(own) -> None:
    with pytest.raises(ConfigError, match="far' left the ball"):
        ff.train("pgd_at", settings={"attack.search": f"{own}:far", "optimizer.epochs": 1})


def test_an_objective_that_cannot_be_called_so(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def flat(logits, y):\n    return logits.sum()\n")
    with pytest.raises(ConfigError, match="objective must take other arguments"):
        find_objective(f"{file}:flat")
