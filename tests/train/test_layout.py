from pathlib import Path

import pytest
import torch

from fftune.train import train
from tests.train.tinies import tiny

NETS = Path(__file__).with_name("user_net.py")


@pytest.mark.parametrize("objective", ["standard", "thrm"])
def test_a_net_with_view_after_a_convolution_is_trained(objective) -> None:
    """And becomes what the same net becomes that says `flatten`, which takes any layout."""
    lam = 5.0 if objective == "thrm" else 0.0
    weights = [
        train(tiny(objective, 2, lam=lam, model=f"{NETS}:{net}")).model.state_dict()
        for net in ("viewed", "flattened")
    ]
    for one, two in zip(*(list(each.values()) for each in weights), strict=True):
        torch.testing.assert_close(one.contiguous(), two.contiguous(), rtol=1e-2, atol=1e-3)
