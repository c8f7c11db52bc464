import pytest
import torch

from fftune.attacks import success
from fftune.attacks.goals import is_toward
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
        ("label_free", [False, True, False, True]),
        ("hedge", [False, False, False, False]),
    ],
)
def test_success_by_hand(goal: Goal, expected: list[bool]) -> None:
    assert success(goal, PRED, PRED_CLEAN, Y).tolist() == expected


@pytest.mark.parametrize(
    ("goal", "toward"),
    [("targeted", True), ("hypocritical", True), ("adversarial", False), ("stability", False),
     ("hedge", False), ("label_free", False)],
)  # fmt: skip
def test_two_goals_have_a_label_to_be_predicted_as(goal: Goal, toward: bool) -> None:
    assert is_toward(goal) == toward
