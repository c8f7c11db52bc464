"""Audits of real nets, with bars on either side of what is known of them."""

import os
from pathlib import Path

import pytest

from fftune import audit
from fftune.data.catalog import data_root

SHARED = Path(os.environ.get("FFTUNE_SHARED", Path(__file__).parents[3] / "shared"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("net", "data", "eps", "bars", "outcome"),
    [
        # 71.43 % right; PGD-20 breaks all of it, and conceals all mistakes.
        ("natural_small", "cifar10", 8 / 255, {"accuracy": 0.71, "inflation": 0.29}, "pass"),
        ("natural_small", "cifar10", 8 / 255, {"hypocritical_risk": 0.8}, "fail"),
        # 98.20 % right; certified at least 94.2 %, PGD leaves 95.9 %.
        ("wk_mnist_0.1", "mnist", 0.1, {"accuracy": 0.98, "robust_accuracy": 0.9}, "pass"),
        ("wk_mnist_0.1", "mnist", 0.1, {"robust_accuracy": 0.983}, "fail"),
        # 63.77 % right; an ensemble leaves 30.6 %.
        ("fastat_small", "cifar10", 8 / 255, {"robust_accuracy": 0.42}, "fail"),
    ],
)
def test_the_verdict_is_the_known_one(
    net: str, data: str, eps: float, bars: dict[str, float], outcome: str
) -> None:
    file = SHARED / "models/architectures.py"
    if not file.is_file() or not (data_root() / data).is_dir():
        pytest.skip(f"the shared nets, or {data}, are not here")
    found = audit(f"{file}:load:{net}", data, bars, eps=eps, tier="screen", device="cpu")
    assert found.outcome == outcome
    assert all(finding.examined < 1000 for finding in found.record.findings if finding.found_by)
