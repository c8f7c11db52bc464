"""What every search promises, whatever the goal, the norm, the classes and the images."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fftune.attacks import attack_spec
from fftune.config import AttackConfig, ThreatModel
from fftune.errors import ConfigError, DataError
from fftune.keyed_noise import Noise
from fftune.registry import ATTACKS
from fftune.testing import AttackCase, attack_cases, check_attack, check_attack_case
from fftune.testing.attacks import EPS, check_promises
from fftune.testing.examples import small_net as net
from tests.each_once import each_once

STEPS = {"square": 40, "rays": 60, "deepfool": 5}
LIKE_MARGIN = "probability_margin"
"""A loss that takes the margin's way through every search: tried in a few cases."""
CASES = each_once(
    [
        (name, case)
        for name in ATTACKS
        for case in attack_cases(attack_spec(name))
        if case.loss != LIKE_MARGIN
        or (case.goal in ("adversarial", "hypocritical") and case.norm == "linf")
    ],
    lambda it: [(it[0], feature) for feature in (it[1].goal, it[1].loss, it[1].norm)],
)


def names(value: object) -> str:
    return str(value)


@pytest.mark.some(27)
@pytest.mark.parametrize(("search", "case"), CASES, ids=names)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([(1, 5, 5), (3, 4, 7), (3, 6, 3)]),
    classes=st.sampled_from([2, 3, 5]),
    count=st.integers(0, 4),
    seed=st.integers(0, 3),
    which=st.integers(0, 3),
    targets=st.sampled_from([0, 9]),
)
def test_promises(search, case, shape, classes, count, seed, which, targets) -> None:
    run = attack_spec(search)
    config = AttackConfig(
        threat=ThreatModel(norm=case.norm, eps=EPS[case.norm]),
        search=search,
        steps=STEPS.get(search, 6),
        targets=targets,
        protocol=run.protocols[which % len(run.protocols)],
    )
    check_promises(run, case, config, shape=shape, classes=classes, count=count, seed=seed)


@pytest.mark.some(27)
@pytest.mark.parametrize(("search", "case"), CASES, ids=names)
def test_conformance(search: str, case: AttackCase) -> None:
    check_attack_case(attack_spec(search), case, steps=STEPS.get(search, 6))


def test_labels_outside_the_classes_are_refused() -> None:
    for y in (-1, 3):
        config = AttackConfig(search="apgd", protocol="first_success", steps=2)
        with pytest.raises(DataError, match="labels must be classes"):
            attack_spec("apgd").run(
                net((1, 4, 4), 3, 0), torch.rand(1, 1, 4, 4), torch.tensor([y]),
                config=config, goal="adversarial", loss="ce", noise=Noise(0), ids=torch.arange(1),
            )  # fmt: skip


@pytest.mark.parametrize("search", ["cw", "deepfool", "fab", "rays"])
def test_searches_for_a_boundary_take_the_margin_only(search: str) -> None:
    assert attack_spec(search).losses == ("margin",)
    with pytest.raises(ConfigError, match="must be 'margin'"):
        attack_spec(search).run(
            net((1, 4, 4), 3, 0), torch.rand(1, 1, 4, 4), torch.tensor([0]),
            config=AttackConfig(search=search, steps=2), goal="adversarial", loss="ce",
            noise=Noise(0), ids=torch.arange(1),
        )  # fmt: skip


def test_later_restarts_start_elsewhere_and_take_only_what_is_open() -> None:
    model, rng = net((3, 6, 6), 4, 2).double(), torch.Generator().manual_seed(2)
    x = torch.rand(30, 3, 6, 6, generator=rng).double()
    y, ids = model(x).argmax(1), torch.arange(30)
    config = AttackConfig(threat=ThreatModel(eps=0.2), steps=0)  # nothing but the start
    one, five = (
        attack_spec("pgd").run(model, x, y, config=replace(config, restarts=restarts),
                        goal="adversarial", loss="ce", noise=Noise(0), ids=ids)
        for restarts in (1, 5)
    )  # fmt: skip
    fooled = model(one).argmax(1) != y
    assert torch.equal(one[fooled], five[fooled])
    assert bool(((model(five).argmax(1) != y) | ~fooled).all())
    assert not torch.equal(one, five)


# Searches that break a promise, and what is said of each.


def pushed(model, x, y, *, config, goal, loss, noise, ids):
    return (x + 2 * config.threat.eps).clamp(0, 1)


def unclamped(model, x, y, *, config, goal, loss, noise, ids):
    return x + config.threat.eps


def overwriting(model, x, y, *, config, goal, loss, noise, ids):
    return x.mul_(0.999)


def unkeyed(model, x, y, *, config, goal, loss, noise, ids):
    torch.manual_seed(0)
    return (x + config.threat.eps / 20 * torch.rand_like(x)).clamp(0, 1)


def attached(model, x, y, *, config, goal, loss, noise, ids):
    return x.clone().requires_grad_()


def still(model, x, y, *, config, goal, loss, noise, ids):
    return x.clone()


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (pushed, "distance .* exceeds"),
        (unclamped, r"leave \[0, 1\]"),
        (overwriting, "an argument was changed"),
        (unkeyed, "depends on the order of the batch"),
        (attached, "not detached"),
        (still, r"takes pixels outside \[0, 1\]"),
    ],
)
def test_a_broken_promise_is_named(search, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_attack(search)


OWN = """
import torch
from fftune.attacks import AttackSpec
from fftune.attacks.search_state import begin


def walk(model, x, y, *, config, goal, loss, noise, ids):
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
    return rows.start(config, "walk")


SPEC = AttackSpec(run=walk, losses=("ce",), gradient_free=True)
NOTHING = 7
"""


def test_an_attack_of_a_users_own(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    assert attack_spec(f"{file}:walk").losses[0] == "ce"
    assert not attack_spec(f"{file}:walk").gradient_free
    spec = attack_spec(f"{file}:SPEC")
    assert spec.gradient_free and spec is attack_spec(f"{file}:SPEC")  # the file is run once
    case = AttackCase(goal="label_free", loss="ce", norm="l2")
    with pytest.raises(AssertionError, match="misses successes"):
        check_attack_case(
            replace(attack_spec("pgd"), run=sometimes), replace(case, goal="adversarial")
        )
    check_promises(
        spec, case, AttackConfig(threat=ThreatModel(norm="l2")),
        shape=(1, 4, 4), classes=3, count=0, seed=0,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="must be an AttackSpec or a function, got int"):
        attack_spec(f"{file}:NOTHING")


def sometimes(model, x, y, *, config, goal, loss, noise, ids):
    """PGD, which gives up where its first success is asked for."""
    if config.protocol == "first_success" and len(x) == 20:
        return x.clone()
    run = attack_spec("pgd").run
    return run(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)


def test_a_relative_file_is_known_by_its_whole_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    assert AttackConfig(search="mine.py:walk").search == f"{tmp_path}/mine.py:walk"
    with pytest.raises(ConfigError, match=r"unknown attack 'pdg'; did you mean 'pgd'\?"):
        AttackConfig(search="pdg")
