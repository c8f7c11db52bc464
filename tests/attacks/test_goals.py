import pytest
import torch

from fftune.attacks import success
from fftune.config import Goal

PRED, PRED_CLEAN, Y = (
    torch.tensor([0, 1, 1, 2]),
    torch.tensor([0, 0, 1, 1]),
    torch.tensor([0, 0, 1, 2]),
)


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("adversarial", [False, True, False, False]),
        ("targeted", [True, False, True, True]),
        ("hypocritical", [True, False, True, True]),
        ("stability", [False, True, False, True]),
    ],
)
def test_success_by_hand(goal: Goal, expected: list[bool]) -> None:
    assert success(goal, PRED, PRED_CLEAN, Y).tolist() == expected
