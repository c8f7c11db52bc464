import math

import pytest
import torch

from fftune.attacks.losses import attack_loss, kl
from fftune.errors import ConfigError

P = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
Q = torch.tensor([[0.1, 0.3, 0.6]], dtype=torch.float64)


def test_kl_is_from_the_first_to_the_second() -> None:
    by_hand = 0.7 * math.log(0.7 / 0.1) + 0.2 * math.log(0.2 / 0.3) + 0.1 * math.log(0.1 / 0.6)
    assert kl(P.log(), Q.log()).item() == pytest.approx(by_hand, rel=1e-12)
    assert kl(Q.log(), P.log()).item() != pytest.approx(by_hand, rel=0.01)


def test_signs_of_the_goals(linear) -> None:
    x, y, logits = torch.rand(1, 3, 2, 2), torch.tensor([2]), Q.log()
    adversarial = attack_loss(linear, x, y, goal="adversarial", loss="ce")(logits)
    targeted = attack_loss(linear, x, y, goal="targeted", loss="ce")(logits)
    hypocritical = attack_loss(linear, x, y, goal="hypocritical", loss="ce")(logits)
    assert adversarial.item() == pytest.approx(-math.log(0.6))
    assert targeted.item() == hypocritical.item() == pytest.approx(math.log(0.6))


def test_a_goal_without_that_loss_is_refused(linear) -> None:
    with pytest.raises(ConfigError, match="'kl' is not defined for goal 'adversarial'"):
        attack_loss(
            linear, torch.rand(1, 3, 2, 2), torch.tensor([0]), goal="adversarial", loss="kl"
        )
