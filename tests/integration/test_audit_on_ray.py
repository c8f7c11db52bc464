"""An audit on Ray: several blocks at once, and the verdict of one process."""

from dataclasses import replace
from pathlib import Path

import pytest

from fftune import audit
from fftune.config import Resources

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(1500)]

NET = f"{Path(__file__).with_name('pool_net.py')}:quick"
BARS = {"accuracy": 0.05, "hypocritical_risk": 0.5, "adversarial_risk": 0.97}


@pytest.mark.parametrize("examples", [None, 40])
def test_it_stops_at_the_same_block(examples: int | None) -> None:
    asked = {"eps": 0.1, "block_size": 16, "device": "cpu", "examples": examples}
    here = audit(NET, "digits", BARS, "risks", **asked)
    there = audit(NET, "digits", BARS, "risks", backend="ray", resources=Resources(), **asked)
    assert replace(here.record, created="") == replace(there.record, created="")
    assert here.outcomes.table.equals(there.outcomes.table)
