"""Cards by their names, and rates scaled by hand."""

from typing import get_args

import pytest

from fftune.hardware import CardName, card_of, cards, rates, speed_on


def test_every_card_can_be_named_and_has_a_source() -> None:
    assert set(get_args(CardName)) == set(cards())
    assert all(card.source for card in cards().values())
    assert {(r.card, r.part, r.precision) for r in rates()} == {
        ("h200", part, precision) for part in ("craft", "joint") for precision in ("fp32", "bf16")
    }


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", None),
        ("Tesla V100-SXM2-16GB", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_a_card_is_told_by_its_own_name(device: str, name: str | None) -> None:
    found = card_of(device)
    assert (found and found.name) == name


def test_a_measured_card_has_its_rate_and_no_range() -> None:
    speed = speed_on(cards()["h200"], "craft", "bf16", model="resnet18", batch=128)
    assert (speed.rate.tflops, speed.slow, speed.fast) == (252, 252, 252)


@pytest.mark.parametrize(
    ("name", "precision", "slow", "fast"),
    [
        ("h100", "bf16", 3.35 / 4.8, 1.0),
        ("a100", "bf16", 312 / 989, 2.039 / 4.8),  # bound by products, not by memory
        ("a100", "fp32", 156 / 494.5, 2.039 / 4.8),
        ("l4", "bf16", 0.3 / 4.8, 121 / 989),
    ],
)
def test_the_slower_ratio_is_the_estimate(name, precision, slow, fast) -> None:
    speed = speed_on(cards()[name], "joint", precision, model="resnet18", batch=128)
    assert speed.slow == pytest.approx(speed.rate.tflops * slow)
    assert speed.fast == pytest.approx(speed.rate.tflops * fast)


@pytest.mark.parametrize(
    ("model", "batch", "expected"),
    [
        ("resnet18", 128, ("resnet18", 128)),
        ("resnet18", 500, ("resnet18", 128)),
        ("resnet18", 4096, ("resnet18", 512)),
        ("resnet18", 32, ("resnet18", 128)),
        ("wrn28_10", 512, ("wrn28_10", 128)),
        ("vgg16", 128, ("resnet18", 128)),
    ],
)
def test_the_nearest_case_that_was_measured(model, batch, expected) -> None:
    rate = speed_on(cards()["h200"], "craft", "bf16", model=model, batch=batch).rate
    assert (rate.model, rate.batch) == expected
