"""Table of accelerators: published peaks, and rates that were measured, each with its source."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

CardName = Literal["h200", "h100", "a100", "l4"]
"""Names of the cards of the table."""
Part = Literal["craft", "joint"]
"""`craft`: a forward pass and the gradient of the images, on a frozen net; `joint`: a forward
pass, the gradient of the weights and the update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An accelerator as its vendor's data sheet has it: TFLOP/s of dense products, TB/s, GB."""

    name: str
    title: str
    """Word by which a device's own name tells it, as in "NVIDIA H200"."""
    bf16: float
    tf32: float
    fp32: float
    """Peak without tensor cores."""
    bandwidth: float
    memory: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """TFLOP/s that were measured on a card."""

    card: str
    part: Part
    precision: str
    model: str
    gflop: float
    """Operations of a forward pass of one image, in 10^9."""
    batch: int
    tflops: float
    what: str
    """Program that was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """TFLOP/s to expect of a card, from a rate that was measured on it or on another."""

    rate: Rate
    slow: float
    """Rate by the slower of both ratios of the cards, of peak and of bandwidth."""
    fast: float
    """Rate by the other ratio."""


@cache
def cards() -> dict[str, Card]:
    """Cards of the table, by name."""
    return {card.name: card for card in (Card(**row) for row in _table()["card"])}


@cache
def rates() -> tuple[Rate, ...]:
    """All rates that were measured."""
    return tuple(Rate(**row) for row in _table()["rate"])


def card_of(device: str) -> Card | None:
    """Find the card by a device's own name, as in "NVIDIA H100 80GB HBM3"; None if it is no other.

    The L4 is not the L40.
    """
    words = re.findall(r"[A-Z0-9]+", device.upper())
    return next((card for card in cards().values() if card.title in words), None)


def speed_on(card: Card, part: Part, precision: str, *, model: str, batch: int) -> Speed:
    """Take the rate of the nearest case that was measured, and scale it to the card.

    The nearest case is of the same net, where there is one, and of the largest batch that is not
    above this one, where there is one. A pass is bound by products or by memory: the slower of
    both ratios is the estimate, the other the end of its range.
    """
    alike = [r for r in rates() if (r.part, r.precision) == (part, precision)]
    found = min(alike, key=lambda r: (r.model != model, r.batch > batch, abs(r.batch - batch)))
    measured = cards()[found.card]
    # cuDNN takes TF32 for convolutions of fp32, as torch has it by default.
    peak = {"bf16": card.bf16 / measured.bf16, "fp32": card.tf32 / measured.tf32}[precision]
    ratios = (peak, card.bandwidth / measured.bandwidth)
    return Speed(rate=found, slow=found.tflops * min(ratios), fast=found.tflops * max(ratios))


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    text = (files("fftune") / "cards.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
