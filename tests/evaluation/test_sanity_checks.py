"""PGD without bounds, and nets that withstand PGD alone."""

from dataclasses import replace

import pyarrow as pa
import pytest
from subjects import Of, job_of, model_under_test
from torch import Tensor, nn

from fftune.comparison import Paired
from fftune.config import AttackConfig, BatteryConfig, ThreatModel
from fftune.data import Dataset
from fftune.evaluation.batteries import Attack, ensemble, hypocritical, nine, risks, single
from fftune.evaluation.block import attack_block
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.question import remarks_of
from fftune.evaluation.sanity_checks import is_pgd, named, overfitted, pgd_50, unbounded
from fftune.outcomes import CERTIFIED, Outcomes, rows

THREAT = ThreatModel(eps=0.02)


def left(net: nn.Module, data: Dataset, attack: Attack) -> int:
    """Images that withstand."""
    job = job_of(net, data, BatteryConfig(), threat=THREAT)
    block = next(data.batches(len(data)))
    rows = attack_block(model_under_test(net, data), block, attack, noise=job.noise)
    return rows["success"].to_pylist().count(False)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [lambda *a: (ensemble(*a),), hypocritical])
def test_without_bounds_pgd_reaches_every_image(make, norm, toy, blobs) -> None:
    check = unbounded(make(ThreatModel(norm=norm, eps=0.001), "screen")[-1], values=36)
    assert check.config.threat == ThreatModel(norm=norm, eps=1 if norm == "linf" else 6)
    assert (check.name, check.tier) == ("unbounded", "screen")
    assert left(toy, blobs, check) == 0


@pytest.mark.parametrize(
    "way",
    [
        lambda net, x: net(2 * x.detach() - x),
        lambda net, x: net(x.detach()) + 0 * net(x),
        lambda net, x: (net(x) / 0.001).softmax(1),
    ],
)
def test_where_gradients_lead_nowhere_it_stops(way, toy, blobs) -> None:
    """Flipped, detached, and vanishing in a softmax."""
    check = unbounded(ensemble(THREAT, "screen"), values=36)
    assert left(Of(toy, way), blobs, check) > 5


def test_a_battery_has_a_pgd_where_one_is_long_plain_and_an_adversary() -> None:
    adversary, friend = risks(THREAT, 20)
    assert is_pgd(adversary) and not is_pgd(friend)
    assert not is_pgd(risks(THREAT, 9)[0]) and is_pgd(risks(THREAT, 10)[0])
    assert [one.name for one in nine(THREAT) if is_pgd(one)] == ["pgd-20"]
    assert not is_pgd(single("m", "adversarial", "margin", adversary.config))
    assert not is_pgd(replace(adversary, scope="wrong")) and not is_pgd(ensemble(THREAT, "full"))
    assert is_pgd(pgd_50(ensemble(THREAT, "full")))


def test_a_difference_is_named_from_10_points_beyond_its_interval() -> None:
    sound = Paired(n=1000, both=600, gained=60, lost=0)
    assert named(sound, pgd="p", strong="s") == ()
    near = Paired(n=1000, both=500, gained=110, lost=0)  # 11 points, 95 % interval from 9.2
    assert 0.09 < near.interval[0] < 0.1 and named(near, pgd="p", strong="s") == ()
    (line,) = named(Paired(n=1000, both=400, gained=250, lost=0), pgd="p", strong="s")
    assert line.startswith(
        "catastrophic-overfitting: of 1,000 images 60.0% withstand p and 35.0% s: 25.0% fewer (95 %"
    )
    assert named(Paired(n=0, both=0, gained=0, lost=0), pgd="p", strong="s") == ()


def wavy(net: nn.Module, x: Tensor) -> Tensor:
    """Gradients that hold for a quarter of a level and lead up some wave near the image."""
    return net(x + 0.05 * (500 * x).sin())


def test_rows_of_a_users_own_battery_name_a_net_that_withstands_pgd_alone(toy, blobs) -> None:
    config = AttackConfig(threat=ThreatModel(eps=0.1))
    square = replace(config, search="square", steps=300, start="none")
    own = [
        single("mine", "adversarial", "ce", config),
        single("theirs", "adversarial", "margin", square),
    ]
    run = {
        name: evaluate(net, blobs, BatteryConfig(), threat=config.threat, attacks=own)
        for name, net in {"wavy": Of(toy, wavy), "toy": toy}.items()
    }
    assert overfitted(run["wavy"], own) and not overfitted(run["toy"], own)
    (line,) = remarks_of(run["wavy"])
    assert line.startswith("catastrophic-overfitting: ") and " withstand mine and " in line
    assert not remarks_of(run["toy"])
    assert overfitted(run["wavy"], own[1:]) == ()


def test_a_bound_that_certifies_nothing_is_no_attack_that_finds_all() -> None:
    """Of 200 images PGD fools 20; what the bound leaves open, nobody has found."""
    config = AttackConfig(threat=THREAT)
    found = [
        row_table(attack, protocol, fooled)
        for attack, protocol, fooled in (
            ("pgd-20", "last_iterate", 20),
            ("margin", "last_iterate", 25),
            (CERTIFIED, CERTIFIED, 200),
        )
    ]
    assert overfitted(Outcomes.of(found), [single("pgd-20", "adversarial", "ce", config)]) == ()
    found[1] = row_table("margin", "last_iterate", 100)
    (line,) = overfitted(Outcomes.of(found), [single("pgd-20", "adversarial", "ce", config)])
    assert "90.0% withstand pgd-20 and 50.0% margin" in line


def row_table(attack: str, protocol: str, fooled: int) -> pa.Table:
    """200 images of class 1, which a net gets right when clean."""
    return rows(
        200,
        {
            "dataset_hash": "d", "split": "test", "model_hash": "m", "attack": attack,
            "config_hash": "c", "norm": "linf", "eps": 0.02, "goal": "adversarial", "target": -1,
            "seed": 0, "restart": 0, "protocol": protocol, "tier": "full", "defense": "none",
            "defense_repeat": 0, "id": list(range(200)), "y": 1, "pred_clean": 1,
            "pred_pert": [0] * fooled + [1] * (200 - fooled), "success": [
                i < fooled for i in range(200)
            ], "queries": 0, "forwards": 1, "backwards": 1, "distance": 0.01, "status": "ok",
        },
    )  # fmt: skip
