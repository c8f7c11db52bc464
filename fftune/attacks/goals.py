"""Success of a perturbation: does its prediction serve the goal?"""

from torch import Tensor

from fftune.config import Goal


def success(goal: Goal, pred: Tensor, pred_clean: Tensor, y: Tensor) -> Tensor:
    """(B,) bool, True where the perturbed prediction `pred` serves the goal.

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
        case "stability" | "label_free":
            return pred != pred_clean
        case "hedge":  # a defense has no success: it runs all its steps
            return pred != pred


def is_toward(goal: Goal) -> bool:
    """Tell goals that want one label predicted from those that want any other."""
    return goal in ("targeted", "hypocritical")
