"""What a perturbation is for, and whether it got there."""

from torch import Tensor

from fftune.config import Goal


def success(goal: Goal, pred: Tensor, pred_clean: Tensor, y: Tensor) -> Tensor:
    """(B,) bool: did the perturbed prediction `pred` serve the goal?

    Args:
        pred, pred_clean: (B,) int64, predictions with and without the perturbation.
        y: (B,) int64, the label that the goal speaks of: the true class, or for "targeted"
            the target.
    """
    match goal:
        case "adversarial":
            return pred != y
        case "targeted" | "hypocritical":
            return pred == y
        case "stability":
            return pred != pred_clean
