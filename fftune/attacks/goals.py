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
        case "stability" | "label_free":
            return pred != pred_clean
        case "hedge":  # a defence, which has nothing to succeed in: it runs its steps
            return pred != pred


def is_toward(goal: Goal) -> bool:
    """Whether the goal is to be predicted as a label, rather than as any other."""
    return goal in ("targeted", "hypocritical")
