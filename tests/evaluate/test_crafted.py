import pytest
import torch

from fftune.config import AttackConfig, BatteryConfig, HedgeConfig, ThreatModel
from fftune.errors import DataError
from fftune.evaluate import judge
from fftune.evaluate.crafted import Crafted, craft, defended_counts
from fftune.risk import RiskCounts

THREAT = ThreatModel(eps=0.05)
BATTERY = BatteryConfig(steps=3, block_size=40)
ATTACK = AttackConfig(threat=THREAT, steps=3)


@pytest.fixture(scope="module")
def crafted(toy, blobs) -> Crafted:
    return craft(toy, blobs, BATTERY, ATTACK, model_hash="m")


def test_without_a_defence_it_counts_what_the_battery_counts(toy, blobs, crafted) -> None:
    direct = HedgeConfig(eps_d=0, steps=0)
    plain = judge(toy, blobs, BATTERY, threat=THREAT)
    assert defended_counts(toy, crafted, direct, battery=BATTERY) == RiskCounts.of(
        plain, attack="pgd-3", split="test"
    )


def test_a_cache_gives_the_same_counts(toy, crafted, tmp_path) -> None:
    crafted.write(tmp_path / "c.pt")
    again = Crafted.read(tmp_path / "c.pt")
    assert again.threat == THREAT and torch.equal(again.x_hyp, crafted.x_hyp)
    config = HedgeConfig(eps_d=0.1, steps=2)
    counts = defended_counts(toy, crafted, config, battery=BATTERY)
    assert defended_counts(toy, again, config, battery=BATTERY) == counts
    assert counts != defended_counts(toy, crafted, config, battery=BATTERY, seed=1)
    (tmp_path / "c.pt").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read"):
        Crafted.read(tmp_path / "c.pt")
