"""The lengths that papers print, and which searches each tier is made of."""

import pytest

from fftune.config import AttackConfig, ThreatModel
from fftune.evaluation.batteries import canary, probes
from fftune.evaluation.tiers import (
    CANARY,
    CANARY_LENGTHS,
    TIERS,
    Lengths,
    Part,
    adversarial_parts,
    hypocritical_parts,
)

THREAT = ThreatModel(norm="l2", eps=0.25)


def told(parts: tuple[Part, ...]) -> list[tuple[str, str, int, int, str]]:
    """Search, loss, steps, targets and start of each."""
    return [
        (p.config.search, p.loss, p.config.steps, p.config.targets, p.config.start) for p in parts
    ]


def test_autoattack_is_what_was_published() -> None:
    """Croce & Hein 2020: APGD-CE and APGD-T of 100, FAB-T of 100, nine targets, 5,000 queries."""
    parts = adversarial_parts(TIERS["full"], THREAT)
    assert told(parts) == [
        ("apgd", "ce", 100, 0, "uniform"),
        ("apgd", "dlr", 100, 9, "uniform"),
        ("fab", "margin", 100, 9, "none"),
        ("square", "margin", 5000, 0, "none"),
    ]
    assert {p.config.threat for p in parts} == {THREAT}
    assert {(p.config.protocol, p.config.restarts) for p in parts} == {("strong", 1)}


def test_a_false_friend_has_one_target_and_three_losses() -> None:
    parts = hypocritical_parts(TIERS["full"], THREAT)
    assert told(parts) == [
        ("apgd", "dlr", 100, 0, "uniform"),
        ("apgd", "margin", 100, 0, "uniform"),
        ("apgd", "ce", 100, 0, "uniform"),
        ("fab", "margin", 100, 9, "none"),
        ("square", "margin", 5000, 0, "none"),
    ]
    assert {p.config.threat for p in parts} == {THREAT}
    assert {p.config.protocol for p in parts} == {"strong"}


@pytest.mark.parametrize(
    ("tier", "adversary", "friend"),
    [
        ("screen", [("ce", 20, 0), ("dlr", 20, 3)], [("dlr", 20), ("margin", 20), ("ce", 20)]),
        ("standard", [("ce", 100, 0), ("dlr", 50, 9)], [("dlr", 50), ("margin", 50), ("ce", 100)]),
    ],
)
def test_shorter_tiers_follow_gradients_alone(tier, adversary, friend) -> None:
    """The rest is what the canary is for."""
    apgd = [("apgd", loss, steps, targets, "uniform") for loss, steps, targets in adversary]
    assert told(adversarial_parts(TIERS[tier], THREAT)) == apgd
    apgd = [("apgd", loss, steps, 0, "uniform") for loss, steps in friend]
    assert told(hypocritical_parts(TIERS[tier], THREAT)) == apgd


def test_the_canary_is_eight_survivors_by_fab_and_square() -> None:
    expected = [("fab", "margin", 20, 9, "none"), ("square", "margin", 1000, 0, "none")]
    assert CANARY == 8
    for make in (adversarial_parts, hypocritical_parts):
        assert told(make(CANARY_LENGTHS, THREAT)) == expected


def test_a_length_of_none_leaves_its_part_out() -> None:
    nothing = {"ce": 0, "dlr": 0, "margin": 0, "targets": 2, "fab": 0, "square": 0}
    assert adversarial_parts(Lengths(**nothing), THREAT) == ()
    assert hypocritical_parts(Lengths(**nothing), THREAT) == ()
    assert str(Lengths(**nothing)) == ""
    alone = {
        "ce": ("ce", "apgd", 0, "APGD-CE 7"),
        "dlr": ("dlr", "apgd", 2, "APGD-DLR 7 (adversaries: 2 x 7)"),
        "fab": ("margin", "fab", 2, "FAB 7 (adversaries: 2 x 7)"),
        "square": ("margin", "square", 0, "Square 7 queries"),
    }
    for name, (loss, search, targets, said) in alone.items():
        lengths = Lengths(**nothing | {name: 7})
        (part,) = adversarial_parts(lengths, THREAT)
        config = part.config
        assert (part.loss, config.search, config.targets) == (loss, search, targets)
        assert config.steps == 7
        (friends,) = hypocritical_parts(lengths, THREAT)
        assert (friends.loss, friends.config.search, friends.config.steps) == (loss, search, 7)
        assert friends.config.targets == (2 if name == "fab" else 0)
        assert str(lengths) == said
    lengths = Lengths(**nothing | {"margin": 7})
    assert adversarial_parts(lengths, THREAT) == ()
    assert [p.loss for p in hypocritical_parts(lengths, THREAT)] == ["margin"]
    assert str(lengths) == "APGD-margin 7 (false friends)"


def test_lengths_are_told_as_readers_know_them() -> None:
    assert str(TIERS["full"]) == (
        "APGD-CE 100, APGD-DLR 100 (adversaries: 9 x 100), APGD-margin 100 (false friends), "
        "FAB 100 (adversaries: 9 x 100), Square 5000 queries"
    )
    assert str(TIERS["standard"]) == (
        "APGD-CE 100, APGD-DLR 50 (adversaries: 9 x 50), APGD-margin 50 (false friends)"
    )


@pytest.mark.parametrize("tier", ["screen", "standard", "full"])
def test_batteries_take_these_very_parts(tier) -> None:
    from fftune.config import BatteryConfig

    (auto,) = probes(BatteryConfig(name="autoattack", tier=tier), THREAT)
    assert auto.parts == adversarial_parts(TIERS[tier], THREAT) and auto.tier == tier
    *_, friend = probes(BatteryConfig(name="hypocritical", tier=tier), THREAT)
    assert friend.parts[1:] == hypocritical_parts(TIERS[tier], THREAT)
    assert canary(friend).parts == hypocritical_parts(CANARY_LENGTHS, THREAT)
    assert canary(auto).parts == adversarial_parts(CANARY_LENGTHS, THREAT)


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
    assert Part(config=config, loss="margin").follows is follows
