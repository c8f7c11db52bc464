"""A net and images whose rates under attack are known by counting."""

import torch
from torch import Tensor, nn

EPS = 0.1
NEAR, FAR = 0.05, 0.3
"""Distances from the threshold of images that attacks within `EPS` can move across, and cannot."""
TRUTH = {
    "accuracy": 200 / 300,
    "natural_risk": 100 / 300,
    "robust_accuracy": 180 / 300,
    "adversarial_risk": 20 / 200,
    "hypocritical_risk": 40 / 100,
    "inflation": 40 / 300,
}
"""Rates of `examples()` and `Threshold()`, by counting."""


class Threshold(nn.Module):
    """Class 1 where the one pixel is above .5."""

    def __init__(self, slope: float = 20.0) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: Tensor) -> Tensor:
        score = self.slope * (x.flatten(1)[:, :1] - 0.5)
        return torch.cat([-score, score], 1)


def net() -> nn.Module:
    return Threshold()


def examples() -> tuple[Tensor, Tensor]:
    """300 images of one pixel and their labels: 100 mistakes, of which 40 are near; of the right
    answers 20 are."""
    counts = {(True, True): 20, (True, False): 180, (False, True): 40, (False, False): 60}
    x, y = [], []
    for (right, near), count in counts.items():
        for i in range(count):
            above = i % 2
            x.append(0.5 + (NEAR if near else FAR) * (1 if above else -1))
            y.append(above if right else 1 - above)
    mixed = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x).view(-1, 1, 1, 1)[mixed], torch.tensor(y)[mixed]
