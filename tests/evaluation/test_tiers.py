"""The lengths that papers print, and which searches each tier is made of."""

import pytest

from fftune.config import AttackConfig, ThreatModel
from fftune.evaluation.batteries import attacks_of, canary
from fftune.evaluation.tiers import (
    CANARY,
    CANARY_LENGTHS,
    TIERS,
    AttackStage,
    Lengths,
    adversarial_stages,
    hypocritical_stages,
)

THREAT = ThreatModel(norm="l2", eps=0.25)


def told(stages: tuple[AttackStage, ...]) -> list[tuple[str, str, int, int, str]]:
    """Search, loss, steps, targets and start of each."""
    return [
        (p.config.search, p.loss, p.config.steps, p.config.targets, p.config.start) for p in stages
    ]


def test_autoattack_is_what_was_published() -> None:
    """Croce & Hein 2020: APGD-CE and APGD-T of 100, FAB-T of 100, nine targets, 5,000 queries."""
    stages = adversarial_stages(TIERS["full"], THREAT)
    assert told(stages) == [
        ("apgd", "ce", 100, 0, "uniform"),
        ("apgd", "dlr", 100, 9, "uniform"),
        ("fab", "margin", 100, 9, "none"),
        ("square", "margin", 5000, 0, "none"),
    ]
    assert {p.config.threat for p in stages} == {THREAT}
    assert {(p.config.protocol, p.config.restarts) for p in stages} == {("first_success", 1)}


def test_a_false_friend_has_one_target_and_three_losses() -> None:
    stages = hypocritical_stages(TIERS["full"], THREAT)
    assert told(stages) == [
        ("apgd", "dlr", 100, 0, "uniform"),
        ("apgd", "margin", 100, 0, "uniform"),
        ("apgd", "ce", 100, 0, "uniform"),
        ("fab", "margin", 100, 9, "none"),
        ("square", "margin", 5000, 0, "none"),
    ]
    assert {p.config.threat for p in stages} == {THREAT}
    assert {p.config.protocol for p in stages} == {"first_success"}


@pytest.mark.parametrize(
    ("tier", "adversary", "friend"),
    [
        ("screen", [("ce", 20, 0), ("dlr", 20, 3)], [("dlr", 20), ("margin", 20), ("ce", 20)]),
        (
            "escalating",
            [("ce", 100, 0), ("dlr", 50, 9)],
            [("dlr", 50), ("margin", 50), ("ce", 100)],
        ),
    ],
)
def test_shorter_tiers_follow_gradients_alone(tier, adversary, friend) -> None:
    """The rest is what the canary is for."""
    apgd = [("apgd", loss, steps, targets, "uniform") for loss, steps, targets in adversary]
    assert told(adversarial_stages(TIERS[tier], THREAT)) == apgd
    apgd = [("apgd", loss, steps, 0, "uniform") for loss, steps in friend]
    assert told(hypocritical_stages(TIERS[tier], THREAT)) == apgd


def test_the_canary_is_eight_survivors_by_fab_and_square() -> None:
    expected = [("fab", "margin", 20, 9, "none"), ("square", "margin", 1000, 0, "none")]
    assert CANARY == 8
    for make in (adversarial_stages, hypocritical_stages):
        assert told(make(CANARY_LENGTHS, THREAT)) == expected


def test_a_length_of_none_leaves_its_part_out() -> None:
    nothing = {"ce": 0, "dlr": 0, "margin": 0, "targets": 2, "fab": 0, "square": 0}
    assert adversarial_stages(Lengths(**nothing), THREAT) == ()
    assert hypocritical_stages(Lengths(**nothing), THREAT) == ()
    assert str(Lengths(**nothing)) == ""
    alone = {
        "ce": ("ce", "apgd", 0, "APGD-CE 7"),
        "dlr": ("dlr", "apgd", 2, "APGD-DLR 7 (adversaries: 2 x 7)"),
        "fab": ("margin", "fab", 2, "FAB 7 (adversaries: 2 x 7)"),
        "square": ("margin", "square", 0, "Square 7 queries"),
    }
    for name, (loss, search, targets, said) in alone.items():
        lengths = Lengths(**nothing | {name: 7})
        (part,) = adversarial_stages(lengths, THREAT)
        config = part.config
        assert (part.loss, config.search, config.targets) == (loss, search, targets)
        assert config.steps == 7
        (friends,) = hypocritical_stages(lengths, THREAT)
        assert (friends.loss, friends.config.search, friends.config.steps) == (loss, search, 7)
        assert friends.config.targets == (2 if name == "fab" else 0)
        assert str(lengths) == said
    lengths = Lengths(**nothing | {"margin": 7})
    assert adversarial_stages(lengths, THREAT) == ()
    assert [p.loss for p in hypocritical_stages(lengths, THREAT)] == ["margin"]
    assert str(lengths) == "APGD-margin 7 (false friends)"


def test_lengths_are_told_as_readers_know_them() -> None:
    assert str(TIERS["full"]) == (
        "APGD-CE 100, APGD-DLR 100 (adversaries: 9 x 100), APGD-margin 100 (false friends), "
        "FAB 100 (adversaries: 9 x 100), Square 5000 queries"
    )
    assert str(TIERS["escalating"]) == (
        "APGD-CE 100, APGD-DLR 50 (adversaries: 9 x 50), APGD-margin 50 (false friends)"
    )


@pytest.mark.parametrize("tier", ["screen", "escalating", "full"])
def test_batteries_take_these_very_parts(tier) -> None:
    from fftune.config import BatteryConfig

    (auto,) = attacks_of(BatteryConfig(name="ensemble", tier=tier), THREAT)
    assert auto.stages == adversarial_stages(TIERS[tier], THREAT) and auto.tier == tier
    *_, friend = attacks_of(BatteryConfig(name="hypocritical", tier=tier), THREAT)
    assert friend.stages[1:] == hypocritical_stages(TIERS[tier], THREAT)
    assert canary(friend).stages == hypocritical_stages(CANARY_LENGTHS, THREAT)
    assert canary(auto).stages == adversarial_stages(CANARY_LENGTHS, THREAT)


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
