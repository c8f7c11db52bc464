"""The lengths that papers print, and which searches each tier is made of."""

import pytest

from fftune.attacks import attack_spec
from fftune.config import AttackConfig, BatteryConfig, ThreatModel
from fftune.evaluation.batteries import attacks_of, canary
from fftune.evaluation.tiers import (
    CANARY_SEARCHES,
    TIERS,
    AttackStage,
    Ensemble,
    Part,
)

THREAT = ThreatModel(norm="l2", eps=0.25)
GOALS = ("adversarial", "hypocritical")


def of(stages: tuple[AttackStage, ...]) -> list[tuple[str, str, int, int, str]]:
    """Search, loss, steps, targets and start of each."""
    return [
        (p.config.search, p.loss, p.config.steps, p.config.targets, p.config.start) for p in stages
    ]


def test_autoattack_is_what_was_published() -> None:
    """Croce & Hein 2020: APGD-CE and APGD-T of 100, FAB-T of 100, nine targets, 5,000 queries."""
    stages = TIERS["full"].stages("adversarial", THREAT)
    assert of(stages) == [
        ("apgd", "ce", 100, 0, "uniform"),
        ("apgd", "dlr", 100, 9, "uniform"),
        ("fab", "margin", 100, 9, "none"),
        ("square", "margin", 5000, 0, "none"),
    ]
    assert {p.config.threat for p in stages} == {THREAT}
    assert {(p.config.protocol, p.config.restarts) for p in stages} == {("first_success", 1)}


def test_a_false_friend_has_one_target_and_three_losses() -> None:
    stages = TIERS["full"].stages("hypocritical", THREAT)
    assert of(stages) == [
        ("apgd", "dlr", 100, 0, "uniform"),
        ("apgd", "margin", 100, 0, "uniform"),
        ("apgd", "ce", 100, 0, "uniform"),
        ("fab", "margin", 100, 0, "none"),
        ("square", "margin", 5000, 0, "none"),
    ]
    assert {p.config.threat for p in stages} == {THREAT}
    assert {p.config.protocol for p in stages} == {"first_success"}


@pytest.mark.parametrize(
    ("tier", "adversary", "friend"),
    [
        (
            "screen",
            [("dlr", 10, 3), ("ce", 10, 0), ("margin", 30, 0)],
            [("dlr", 20), ("margin", 20), ("ce", 20)],
        ),
        (
            "escalating",
            [("ce", 100, 0), ("dlr", 50, 9)],
            [("dlr", 20), ("margin", 10), ("dlr", 100)],
        ),
    ],
)
def test_shorter_tiers_follow_gradients_alone(tier, adversary, friend) -> None:
    """The rest is what the canary is for."""
    apgd = [("apgd", loss, steps, targets, "uniform") for loss, steps, targets in adversary]
    assert of(TIERS[tier].stages("adversarial", THREAT)) == apgd
    apgd = [("apgd", loss, steps, 0, "uniform") for loss, steps in friend]
    assert of(TIERS[tier].stages("hypocritical", THREAT)) == apgd


def test_the_canary_is_a_short_fab_and_square() -> None:
    for goal, targets in zip(GOALS, (9, 0), strict=True):
        assert of(CANARY_SEARCHES.stages(goal, THREAT)) == [
            ("fab", "margin", 20, targets, "none"),
            ("square", "margin", 1000, 0, "none"),
        ]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Part(search="apgd", loss="ce", steps=7), "APGD-CE 7"),
        (Part(search="apgd", loss="dlr", steps=7, targets=2), "APGD-DLR 2 x 7"),
        (Part(search="apgd", loss="margin", steps=7), "APGD-margin 7"),
        (Part(search="fab", loss="margin", steps=7, targets=9), "FAB 9 x 7"),
        (Part(search="fab", loss="margin", steps=7), "FAB 7"),
        (Part(search="square", loss="margin", steps=7), "Square 7 queries"),
    ],
)
def test_searches_are_told_as_readers_know_them(part, told) -> None:
    assert str(part) == told
    both = Ensemble(adversarial=(part, part), hypocritical=(part,))
    assert both.told("adversarial") == f"{told}, {told}"
    assert both.told("hypocritical") == told
    assert [stage.loss for stage in both.stages("hypocritical", THREAT)] == [part.loss]


@pytest.mark.parametrize("goal", GOALS)
def test_a_longer_tier_costs_an_image_that_withstands_it_more(goal) -> None:
    """In passes; 240 and 180 are what the choice allowed for `screen`."""
    spent = {
        tier: sum(attack_spec(s.config.search).cost(s.config) for s in of_tier.stages(goal, THREAT))
        for tier, of_tier in TIERS.items()
    }
    assert spent["screen"] < spent["escalating"] < spent["full"]
    assert spent["screen"] <= {"adversarial": 240, "hypocritical": 180}[goal]


@pytest.mark.parametrize("tier", ["screen", "escalating", "full"])
def test_batteries_take_these_very_parts(tier) -> None:
    (auto,) = attacks_of(BatteryConfig(name="ensemble", tier=tier), THREAT)
    assert auto.stages == TIERS[tier].stages("adversarial", THREAT) and auto.tier == tier
    *_, friend = attacks_of(BatteryConfig(name="hypocritical", tier=tier), THREAT)
    assert friend.stages[1:] == TIERS[tier].stages("hypocritical", THREAT)
    for attack in (auto, friend):
        assert canary(attack).stages == CANARY_SEARCHES.stages(attack.goal, THREAT)


@pytest.mark.parametrize(
    ("search", "steps", "follows"),
    [
        ("pgd", 1, True),
        ("apgd", 20, True),
        ("fab", 20, True),
        ("deepfool", 5, True),
        ("pgd", 0, False),
        ("square", 5000, False),
        ("rays", 5000, False),
    ],
)
def test_only_searches_that_take_steps_along_gradients_follow_them(search, steps, follows) -> None:
    config = AttackConfig(search=search, steps=steps, start="none")
    assert AttackStage(config=config, loss="margin").follows is follows
