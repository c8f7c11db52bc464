import math
from typing import get_args

import plain_losses
import pytest
import torch

from fftune.attacks.losses import (
    AttackObjective,
    all_classes,
    is_defined,
    kl,
    margin,
    require_margin,
    scale,
    steps_for_all_classes,
)
from fftune.config import Goal, Loss
from fftune.errors import ConfigError

P = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
Q = torch.tensor([[0.1, 0.3, 0.6]], dtype=torch.float64)
FOUR = torch.tensor([[4.0, 1.0, 3.0, -2.0]])


def loss_of(logits, y: int, goal: Goal, loss: Loss, target: int | None = None) -> float:
    label_schedule = None if target is None else torch.tensor([target])
    aim = AttackObjective(
        goal=goal, loss=loss, y=torch.tensor([y]), logits_clean=logits, target=label_schedule
    )
    return aim(logits).item()


def test_kl_is_from_the_first_to_the_second() -> None:
    by_hand = 0.7 * math.log(0.7 / 0.1) + 0.2 * math.log(0.2 / 0.3) + 0.1 * math.log(0.1 / 0.6)
    assert kl(P.log(), Q.log()).item() == pytest.approx(by_hand, rel=1e-12)
    assert kl(Q.log(), P.log()).item() != pytest.approx(by_hand, rel=0.01)


def test_cross_entropy_by_goal() -> None:
    assert loss_of(Q.log(), 2, "adversarial", "ce") == pytest.approx(-math.log(0.6))
    assert loss_of(Q.log(), 2, "targeted", "ce") == pytest.approx(math.log(0.6))
    assert loss_of(Q.log(), 2, "hypocritical", "ce") == pytest.approx(math.log(0.6))
    every = -math.log(0.1) - math.log(0.3) - math.log(0.6)
    assert loss_of(Q.log(), 2, "hedge", "ce") == pytest.approx(every)
    assert loss_of(Q.log(), 2, "label_free", "ce") == pytest.approx(-every)


def test_all_classes_is_a_kl_from_uniform() -> None:
    uniform = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    by_kl = 3 * kl(uniform.log(), Q.log()) + 3 * math.log(3)
    torch.testing.assert_close(all_classes(Q.log()), by_kl)


@pytest.mark.parametrize(
    ("y", "goal", "target", "value"),
    [
        (0, "adversarial", None, 3 - 4),
        (2, "adversarial", None, 4 - 3),
        (0, "adversarial", 1, 1 - 4),
        (2, "hypocritical", None, 3 - 4),
        (0, "targeted", None, 4 - 3),
    ],
)
def test_margin_by_hand(y, goal, target, value) -> None:
    assert loss_of(FOUR, y, goal, "margin", target) == pytest.approx(value)


@pytest.mark.parametrize(
    ("y", "goal", "target", "value"),
    [
        (0, "adversarial", None, (3 - 4) / (4 - 1)),
        (2, "adversarial", None, (4 - 3) / (4 - 1)),
        (0, "adversarial", 3, (-2 - 4) / (4 - (1 - 2) / 2)),
        (1, "hypocritical", None, (1 - 4) / (4 - (1 - 2) / 2)),
    ],
)
def test_dlr_by_hand(y, goal, target, value) -> None:
    assert loss_of(FOUR, y, goal, "dlr", target) == pytest.approx(value)


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize("logits", [[2.0, -1.0], [0.5, 2.0, -1.0], [0.5, 2.0, -1.0, 0.1, 3.0]])
def test_no_loss_is_flat_before_the_goal(goal, logits) -> None:
    """With two or three classes some DLR ratios would be constant."""
    z = torch.tensor([logits])
    for y in range(len(logits)):
        for loss in ("ce", "margin", "dlr", "probability_margin"):
            leaf = z.clone().requires_grad_()
            aim = AttackObjective(goal=goal, loss=loss, y=torch.tensor([y]))
            (grad,) = torch.autograd.grad(aim(leaf).sum(), leaf)
            if not aim.is_success(z):
                assert grad.abs().max() > 1e-3
                higher = aim(z + 1e-3 * grad / grad.norm())
                assert higher > aim(z)


@pytest.mark.parametrize("target", [0, 2])
def test_targeted_dlr_of_three_classes_is_not_flat(target) -> None:
    leaf = torch.tensor([[0.5, 2.0, -1.0]]).requires_grad_()
    aim = AttackObjective(
        goal="adversarial", loss="dlr", y=torch.tensor([1]), target=torch.tensor([target])
    )
    (grad,) = torch.autograd.grad(aim(leaf).sum(), leaf)
    assert grad.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("y", "goal", "target", "value"),
    [
        (0, "adversarial", None, 0.2 - 0.7),
        (2, "adversarial", None, 0.7 - 0.1),
        (0, "adversarial", 2, 0.1 - 0.7),
        (2, "hypocritical", None, 0.1 - 0.7),
        (0, "targeted", None, 0.7 - 0.2),
    ],
)
def test_probability_margin_by_hand(y, goal, target, value) -> None:
    found = loss_of(P.log() + 5, y, goal, "probability_margin", target)
    assert found == pytest.approx(value, rel=1e-12)


def lead_gradient(lead: float, goal: Goal) -> tuple[float, list[float]]:
    """Probability margin and its gradient, where class 0 leads class 1 by so much in float32."""
    z = torch.tensor([[lead, 0.0, -lead]], requires_grad=True)
    y = torch.tensor([0 if goal == "adversarial" else 1])
    loss = AttackObjective(goal=goal, loss="probability_margin", y=y)(z)
    (grad,) = torch.autograd.grad(loss.sum(), z)
    return loss.item(), grad[0].tolist()


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
def test_probability_margin_of_saturated_logits_stays_finite_and_goes_flat(goal) -> None:
    """As its docstring says: both logits count, then the rival's alone, then none."""
    loss, (own, rival, _) = lead_gradient(5, goal)
    assert loss > -1 and own < 0 < rival and rival == pytest.approx(-own, rel=0.02)
    loss, (own, rival, _) = lead_gradient(20, goal)
    assert (loss, own) == (-1, 0) and rival == pytest.approx(2 * math.exp(-20), rel=1e-5)
    assert lead_gradient(105, goal) == (-1, [0, 0, 0])
    assert lead_gradient(3e4, goal) == (-1, [0, 0, 0])  # a lead of 3 at a temperature of 1e4


def test_dlr_ignores_the_scale_of_the_logits() -> None:
    for y in range(4):
        one, ten = (loss_of(s * FOUR, y, "adversarial", "dlr") for s in (1, 10))
        assert one == pytest.approx(ten, rel=1e-5)


def test_equal_logits_stay_finite() -> None:
    z = torch.zeros(1, 5)
    for loss in ("margin", "dlr"):
        assert math.isfinite(loss_of(z, 1, "adversarial", loss))
        assert math.isfinite(loss_of(z, 1, "hypocritical", loss))


def test_margin_is_positive_where_the_net_is_wrong() -> None:
    assert (margin(FOUR.expand(4, 4), torch.arange(4)) > 0).tolist() == [False, True, True, True]


@pytest.mark.parametrize(("goal", "loss"), [("adversarial", "kl"), ("hedge", "margin")])
def test_a_goal_without_that_loss_is_refused(goal, loss) -> None:
    with pytest.raises(ConfigError, match=f"{loss!r} is not defined for goal {goal!r}"):
        loss_of(FOUR, 0, goal, loss)


GOALS = ("adversarial", "targeted", "hypocritical", "stability", "hedge", "label_free")
DEFINED = {
    "adversarial": {"ce", "margin", "dlr", "probability_margin", "linear"},
    "targeted": {"ce", "margin", "dlr", "probability_margin", "linear"},
    "hypocritical": {"ce", "margin", "dlr", "probability_margin", "linear"},
    "stability": {"ce", "margin", "dlr", "probability_margin", "linear", "kl"},
    "hedge": {"ce", "linear"},
    "label_free": {"ce", "linear"},
}


@pytest.mark.parametrize("goal", GOALS)
def test_each_goal_has_its_losses(goal) -> None:
    losses = get_args(Loss)
    assert {loss for loss in losses if is_defined(goal, loss)} == DEFINED[goal]
    for loss in losses:
        if loss not in DEFINED[goal]:
            with pytest.raises(ConfigError, match=f"loss {loss!r} is not defined for goal"):
                AttackObjective(goal=goal, loss=loss, y=torch.tensor([0]))


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
@pytest.mark.parametrize("goal", GOALS)
def test_every_loss_is_the_plain_formula(goal, classes) -> None:
    """For every label and every class aimed at, on rows of a batch that differ."""
    rng = torch.Generator().manual_seed(classes)
    z, clean = (2 * torch.randn(2, 3, classes, generator=rng)).double()
    for loss in sorted(DEFINED[goal]):
        for label in range(classes):
            y = (torch.arange(3) + label) % classes
            for shift in (None, *range(1, classes)):
                target = None if shift is None else (y + shift) % classes
                aim = AttackObjective(goal=goal, loss=loss, y=y, logits_clean=clean, target=target)
                plain = [
                    plain_losses.climbed(
                        z[i],
                        goal,
                        loss,
                        int(y[i]),
                        clean[i],
                        None if shift is None else int(target[i]),
                    )
                    for i in range(3)
                ]
                torch.testing.assert_close(aim(z), torch.stack(plain), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("goal", GOALS)
def test_the_goal_is_reached_where_the_prediction_says_so(goal) -> None:
    z = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    clean = z[[1, 1, 2, 0]]  # predicts 0, 0, 2, 1; z predicts 1, 0, 2, 2
    y = torch.tensor([1, 1, 2, 0])
    aim = AttackObjective(goal=goal, loss="ce", y=y, logits_clean=clean)
    plain = [plain_losses.reached(z[i], goal, int(y[i]), clean[i]) for i in range(4)]
    assert aim.is_success(z).tolist() == plain
    if goal not in ("stability", "label_free"):
        assert AttackObjective(goal=goal, loss="ce", y=y).is_success(z).tolist() == plain


def test_stability_moves_the_clean_predictions_score_and_the_others_their_labels() -> None:
    clean, y = FOUR.expand(2, 4), torch.tensor([3, 1])
    for goal in GOALS:
        label = AttackObjective(goal=goal, loss="ce", y=y, logits_clean=clean).label.tolist()
        assert label == ([0, 0] if goal == "stability" else [3, 1])


def test_each_turn_has_its_label_and_minus_one_is_all_classes() -> None:
    turns = torch.tensor([[0, -1, 2], [1, -1, 0]])
    for loss in ("ce", "margin", "linear"):
        aim = AttackObjective(
            goal="hypocritical",
            loss=loss,
            y=turns[:, 0],
            turns=turns,
            every=steps_for_all_classes(turns),
        )
        first, every, last = (aim.at(step) for step in range(3))
        assert (first.goal, first.loss, first.y.tolist()) == ("hypocritical", loss, [0, 1])
        assert (last.goal, last.loss, last.y.tolist()) == ("hypocritical", loss, [2, 0])
        assert (every.goal, every.loss) == ("hedge", "linear" if loss == "linear" else "ce")
    assert AttackObjective(goal="hedge", loss="ce", y=turns[:, 0]).at(1).turns is None


def test_a_step_is_for_all_classes_where_any_row_says_so() -> None:
    assert steps_for_all_classes(torch.tensor([[0, 1, -1], [-1, 1, -1]])) == (0, 2)
    assert steps_for_all_classes(None) == ()


def test_what_dlr_divides_by() -> None:
    z = torch.tensor([[5.0, 1.0, 3.0, 2.0, -4.0]], dtype=torch.float64)
    for logits, third, fourth in (
        (z, 5 - 2, 5 - 1.5),
        (z[:, :4], 5 - 2, 5 - 1.5),
        (z[:, :3], 5 - 1, 5 - 2),
        (z[:, :2], 1, 1),
    ):
        assert scale(logits, 3).item() == pytest.approx(third)
        assert scale(logits, 4).item() == pytest.approx(fourth)
    assert scale(torch.zeros(1, 4), 3).item() == pytest.approx(1e-12, rel=1e-6, abs=0)
    assert scale(torch.zeros(2, 2), 3).tolist() == [1, 1]


def test_a_search_for_the_margin_takes_no_other_loss() -> None:
    require_margin("fab", "margin")
    with pytest.raises(ConfigError, match="loss of 'fab' must be 'margin', got 'dlr'"):
        require_margin("fab", "dlr")
