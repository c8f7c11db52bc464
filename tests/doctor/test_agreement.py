"""Verdicts by several ways to compute them, and what is listed of those that differ."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune.cli.doctor import main
from fftune.config import BatteryConfig, ThreatModel
from fftune.data import Dataset, Source
from fftune.devices import CPU
from fftune.doctor.agreement import Way, agreements, ways
from fftune.errors import ConfigError
from fftune.models import verdict

STILL = BatteryConfig(steps=0, device="cpu", precision="fp32")
THREAT = ThreatModel(eps=0.0)
"""No search moves a pixel, so that every prediction is that of the clean image."""


class ByCompany(nn.Module):
    """Tells four quarters of a grey apart; alone, an image seems darker by .125."""

    def forward(self, x: Tensor) -> Tensor:
        grey = x.flatten(1).mean(1) - 0.125 * (len(x) == 1)
        return 1 - (grey[:, None] - torch.tensor([0.125, 0.375, 0.625, 0.875])).abs()


def greys() -> Dataset:
    """Five greys of 8; centres of classes are odd ones, and even ones lie between two classes."""
    pixels = torch.tensor([1, 3, 4, 6, 7], dtype=torch.uint8).view(5, 1, 1, 1)
    source = Source(name="greys", classes=tuple("abcd"), levels=8, mean=(0.5,), std=(0.5,))
    y = torch.tensor([0, 1, 2, 3, 3])
    return Dataset(source=source, split="test", ids=10 * torch.arange(5), pixels=pixels, y=y)


def test_ways_are_all_pairs_and_the_battery_fills_in() -> None:
    assert ways(BatteryConfig(device="cpu"), (), (), backwards=False) == (
        Way(device="cpu", block_size=256),
    )
    found = ways(BatteryConfig(block_size=9), ("cpu", "cpu"), (), backwards=True)
    assert [(way.block_size, way.backwards) for way in found] == [(9, False), (9, True)] * 2
    found = ways(BatteryConfig(), ("cpu",), (250, 1000), backwards=False)
    assert [str(way) for way in found] == ["cpu, blocks of 250", "cpu, blocks of 1,000"]
    assert str(replace(found[0], backwards=True)).endswith("250, the last example first")


def test_what_differs_is_listed_with_both_margins() -> None:
    """Greys .125, .375, .5, .75 and .875 seem 0, .25, .375, .625 and .75 alone.

    The first stays 0; the second is 1, and becomes even between 0 and 1, whose first is 0; the
    third is even between 1 and 2, and becomes 1; the fourth is even between 2 and 3, and becomes
    2; the last is 3, and becomes even between 2 and 3.
    """
    chosen = ways(STILL, ("cpu",), (5, 1), backwards=False)
    first, second = agreements(ByCompany(), greys(), STILL, chosen, threat=THREAT)
    assert first.differing == ()
    clean = [one for one in second.differing if one.row.attack == "clean"]
    assert [(one.row.id, one.row.pred) for one in clean] == [(10, (1, 0)), (40, (3, 2))]
    for one, margins in zip(clean, [(0.25, 0), (0.25, 0)], strict=True):
        assert one.margins == pytest.approx(margins, abs=1e-6)
    became = "class 3 (margin 0.25) became 2 (margin 0)"
    assert str(clean[1]) == f"id 40, clean, goal adversarial: {became}"
    # Both searches have the same rows again: 2 of 5 differ in each.
    assert (second.share.count, second.share.n) == (6, 15)
    assert {name: rate.count for name, rate in first.accuracies.items()} == dict.fromkeys(
        ("clean", "pgd-0 adversarial", "pgd-0 hypocritical"), 3
    )
    head, count, *listed = second.lines(first)
    assert head.startswith("cpu, blocks of 1: accuracy clean ")
    assert count == "  6 of 15 verdicts differ (40 %); accuracies by at most 40 points"
    assert len(listed) == 6 and len(list(first.lines(first))) == 1


def test_pieces_of_one_size_leave_nothing_that_differs(monkeypatch) -> None:
    """The net then never sees an image alone: equal images have equal verdicts."""
    monkeypatch.setattr(verdict, "policy", lambda _: replace(CPU, piece=4))
    chosen = ways(STILL, ("cpu",), (5, 1, 2), backwards=True)
    found = agreements(ByCompany(), greys(), STILL, chosen, threat=THREAT)
    assert [one.differing for one in found] == [()] * 6


@pytest.mark.slow
def test_the_command_lists_and_ends_well(capsys) -> None:
    net = ["--model", "mlp", "--data", "digits", "--examples", "40", "--battery.steps", "2"]
    main([*net, "--devices", "cpu", "cpu", "--block-sizes", "40", "7", "--both-orders"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("test, n = 40; digits, linf, eps ")
    assert said[1].startswith("cpu, blocks of 40: accuracy clean ")
    assert sum("of 120 verdicts differ" in line for line in said) == 7


def test_bad_ways_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"block_sizes must be >= 1, got \(4, 0\)"):
        main(["--model", "mlp", "--data", "digits", "--block-sizes", "4", "0"])
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            main(["--model", "mlp", "--data", "digits", "--devices", "cpu", "cuda"])
