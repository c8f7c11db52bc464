"""Analyses of a hedge on a linear net of the digits, against direct computations."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from fftune.attacks import pgd
from fftune.config import (
    AttackConfig,
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    HedgeConfig,
    ModelSpec,
    ThreatModel,
)
from fftune.data.subset import sample
from fftune.defenses import hedge
from fftune.defenses.analysis import second_attacks
from fftune.errors import ConfigError
from fftune.evaluation.evaluate import evaluate
from fftune.hedge_study.showcase_schema import Flips
from fftune.keyed_noise import Noise
from fftune.models import load_model
from fftune.papers.hedge_defense.analyses import ablation, attacked_twice, effects, shown_of
from fftune.papers.hedge_defense.flip_counts import change, flips_in, gains
from fftune.papers.hedge_defense.plots import flips_at
from fftune.papers.tasks import Given
from tests.brief import BRIEF

NETS = Path(__file__).parents[2] / "hedge_study" / "digit_nets.py"
DIGITS = DataSpec(name="digits", train_size=200, validation_size=0)
EPS, EXAMPLES = 0.15, 48


def given(**settings: object) -> Given:
    return Given(
        nets=(ModelSpec(factory=f"{NETS}:means"),),
        data=DIGITS,
        threat=ThreatModel(eps=EPS),
        examples=EXAMPLES,
        device="cpu",
        scale="tiny",
        settings=settings,
    )


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, ...]:
    return next(sample(DIGITS, "test", EXAMPLES).batches(EXAMPLES))


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    return load_model(given().nets[0]).eval()


@pytest.fixture(scope="module")
def found() -> dict:
    return dict(ablation(given(search="pgd")))


def test_every_setting_of_the_ablation_is_tried_once_and_its_counts_add_up(found) -> None:
    points = found["points"]
    assert found["radius"] == EPS
    assert len({(p["eps_a"], p["eps_d"], p["steps"]) for p in points}) == len(points) == 7 + 5 + 13
    for p in points:
        assert p["n"] == EXAMPLES
        assert p["right_after"] - p["right_before"] == p["false_to_true"] - p["true_to_false"]
        assert p["false_to_false"] <= p["n"] - p["right_before"] - p["false_to_true"]
    before = {p["eps_a"]: p["right_before"] for p in points}
    assert all(p["right_before"] == before[p["eps_a"]] for p in points)  # one crafting a radius
    assert before[8] < before[4] < before[1]


def test_a_point_of_the_map_is_what_attack_and_hedge_come_to(found, net, images) -> None:
    ids, x, y = images
    unit = EPS / 8
    attack = AttackConfig(threat=ThreatModel(eps=4 * unit), steps=20, step_size=2 * unit)
    noise = Noise(0).fold("digits", "test")
    x_adv = pgd(net, x, y, config=attack, goal="adversarial", loss="ce", noise=noise, ids=ids)
    config = HedgeConfig(eps_d=16 * unit, steps=20, step_size=4 * unit)
    mine = Noise(0).fold("defense", "digits", "test", 0)
    x_hed = hedge(net, x_adv, config=config, noise=mine, ids=ids)
    before, after = (net(images).argmax(1) for images in (x_adv, x_hed))
    (point,) = (p for p in found["points"] if (p["eps_a"], p["eps_d"], p["steps"]) == (4, 16, 20))
    assert point["right_after"] == int((after == y).sum())
    assert point["false_to_true"] == int(((before != y) & (after == y)).sum())
    assert point["true_to_false"] == int(((before == y) & (after != y)).sum())


def test_the_curve_ends_where_the_second_attack_does(net, images) -> None:
    found = attacked_twice(given())
    assert found["lengths"] == list(range(21)) and found["n"] == EXAMPLES
    ids, x, y = images
    config = AttackConfig(threat=ThreatModel(eps=EPS), steps=20, step_size=EPS / 2)
    noise = Noise(0).fold("digits", "test", "exhibit")
    (last,) = second_attacks(net, x, y, config=config, noise=noise, ids=ids, lengths=[20])
    assert found["counts"][-1] == asdict(last) and last.flipped_again > 0
    for one in found["counts"]:
        assert one["flipped"] + one["survived"] == one["correct"] == last.correct
        assert one["returned"] <= one["flipped_again"] <= one["flipped"] == last.flipped
    assert found["counts"][0]["flipped_again"] < last.flipped_again


def test_limits_are_settings() -> None:
    few = attacked_twice(given(attacked_twice=7))
    assert few["n"] == 7 and few["counts"][-1]["correct"] <= 7
    found = effects(given(analysed=5, pictures=2, grid=3))
    assert [one["n"] for one in found["similarities"]] == [5] * 5
    assert len(found["examples"]["FtoT"]) == 2 and len(found["surface"]["at"]) == 3
    whole = shown_of({"search": "cw", "grid": 9}, 400)
    assert (whole.analysed, whole.attacked_twice, whole.grid) == (400, 400, 9)
    with pytest.raises(ConfigError, match="pictures must be >= 1, got -1"):
        shown_of({"pictures": -1}, 400)


def test_what_is_shown_of_a_hedge_fits_its_images(images) -> None:
    found = effects(given())
    ids, _, y = images
    hedged = found["flips"][1]
    (gaps, *_) = found["gaps"]
    assert len(gaps["false_to_true"]) == hedged["false_to_true"] > 0
    assert len(gaps["true_to_false"]) == hedged["true_to_false"]
    for one in found["examples"]["FtoT"]:
        natural, adversarial, defended, _ = one["pictures"]
        assert (natural["right"], adversarial["right"], defended["right"]) == (True, False, True)
        assert natural["ssim"] == 1 > adversarial["ssim"]
    plane = found["plane"]
    at = plane["at"].index(pytest.approx(-1)), plane["at"].index(pytest.approx(2))
    (row,) = (ids == plane["id"]).nonzero().flatten().tolist()
    assert plane["true"] == str(int(y[row])) and at == (0, 20)
    # A class that is ahead of nine others has a probability above 1/10.
    ahead = [
        loss
        for losses, margins in zip(plane["loss"], plane["margin"], strict=True)
        for loss, margin in zip(losses, margins, strict=True)
        if margin > 0
    ]
    assert 0 < len(ahead) < 441 and max(ahead) < 2.3026


@pytest.mark.slow
def test_rows_give_the_counts_of_the_analysis_draw_by_draw(net, images) -> None:
    ids, x, y = images
    rows = evaluate(
        net,
        sample(DIGITS, "test", EXAMPLES),
        BatteryConfig(steps=2),
        threat=ThreatModel(eps=EPS),
        defense=DefenseConfig(**BRIEF, names=("random", "hedge"), steps=2, repeats=2),
    )
    found = flips_in(rows)
    assert set(found) == {("pgd-2", "random"), ("pgd-2", "hedge")}
    attack = AttackConfig(threat=ThreatModel(eps=EPS), steps=2)
    noise = Noise(0).fold("digits", "test")
    x_adv = pgd(net, x, y, config=attack, goal="adversarial", loss="ce", noise=noise, ids=ids)
    before = net(x_adv).argmax(1)
    for draw, one in enumerate(found["pgd-2", "hedge"]):
        mine = Noise(0).fold("defense", "digits", "test", draw)
        config = HedgeConfig(eps_d=EPS, steps=2)
        after = net(hedge(net, x_adv, config=config, noise=mine, ids=ids)).argmax(1)
        false = before != y
        assert one.n == EXAMPLES and one.right_before == int((before == y).sum())
        assert one.false_to_true == int((false & (after == y)).sum()) > 0
        assert one.false_to_false == int((false & (after != y) & (after != before)).sum())
        assert change(one, "FtoT - TtoF") == one.right_after - one.right_before


@pytest.mark.parametrize(
    ("corrected", "broken", "tells"), [(9, 1, True), (1, 9, False), (5, 1, None)]
)
def test_a_gain_is_told_from_chance(corrected: int, broken: int, tells: bool | None) -> None:
    flips = Flips(
        attack="a",
        defense="hedge",
        n=40,
        right_before=20,
        right_after=20 + corrected - broken,
        false_to_true=corrected,
        true_to_false=broken,
        false_to_false=0,
    )
    assert gains(flips) is tells
    assert flips_at({"eps_a": 1} | asdict(flips)) == flips
