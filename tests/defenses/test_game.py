import pytest
import torch
from scipy.special import betainc
from torch import nn

from fftune.attacks import pgd
from fftune.config import AttackConfig, HedgeConfig, ThreatModel
from fftune.defenses import hedge
from fftune.defenses.theory.game import play, smooth_success
from fftune.keyed_noise import Noise


@pytest.mark.parametrize("dim", [1, 12, 3072])
@pytest.mark.parametrize("margin", [0.3, 0.9, 1.0, 1.02, 1.4])
def test_the_part_along_the_gradient_is_a_beta(dim, margin) -> None:
    """(t + 1) / 2 is Beta((dim + 1) / 2, (dim + 1) / 2); in one dimension the noise is uniform."""
    a = (dim + 1) / 2
    expected = betainc(a, a, ((1 - margin) / 1.5 + 1) / 2)
    found = smooth_success(margin, eps=1, eps_d=1.5, dim=dim)
    assert found == pytest.approx(expected, abs=1e-9)
    if dim == 1:
        assert found == pytest.approx(((1 - margin) / 1.5 + 1) / 2, abs=1e-9)


def test_beyond_both_radii_nothing_is_left_to_chance() -> None:
    assert smooth_success(3.0, eps=1, eps_d=1.5, dim=12) == 0
    assert smooth_success(0.4, eps=1, eps_d=0.5, dim=12) == 1
    assert smooth_success(1.0, eps=1, eps_d=0.5, dim=12) == pytest.approx(0.5, abs=1e-12)


def test_noise_helps_whom_the_attacker_just_reached_and_hurts_whom_it_just_missed() -> None:
    reached, missed = torch.tensor([0.9, 0.95]), torch.tensor([1.05, 1.1])
    for margins, sign in ((reached, -1), (missed, 1)):
        game = play(margins, eps=1, eps_d=1, dim=12)
        assert game.direct == -sign and (game.smooth - game.direct) * sign > 0
    both = play(torch.cat([reached, missed]), eps=1, eps_d=1, dim=12)
    assert both.direct == pytest.approx(0, abs=1e-12)


def test_our_attack_and_our_random_defense_play_that_game(linear: nn.Module) -> None:
    """One l_2 step, then hedge without steps, on 2,000 copies of a linear net's example."""
    n, eps, eps_d = 2000, 0.05, 0.2
    normal = linear.weight / linear.weight.norm()
    x = (0.5 + 0.03 * normal.detach()).view(1, 3, 2, 2).repeat(n, 1, 1, 1)
    score = float(x[0].flatten() @ linear.weight)
    linear = Shifted(linear, score - 0.03 * float(linear.weight.norm()))
    ids, noise = torch.arange(n), Noise(0).fold("game")
    y = torch.ones(n, dtype=torch.long)
    threat = ThreatModel(norm="l2", eps=eps)
    fgm = AttackConfig(threat=threat, steps=1, step_size=eps, start="none")
    x_adv = pgd(linear, x, y, config=fgm, goal="adversarial", loss="ce", noise=noise, ids=ids)
    random = HedgeConfig(norm="l2", eps_d=eps_d, steps=0)
    x_ran = hedge(linear, x_adv, config=random, noise=noise.fold("defender"), ids=ids)
    turned = float((linear(x_ran).argmax(1) != y).float().mean())
    expected = smooth_success(0.03, eps=eps, eps_d=eps_d, dim=12)
    assert 0.5 < expected < 0.95
    assert turned == pytest.approx(expected, abs=4 * (expected * (1 - expected) / n) ** 0.5)
    assert bool((linear(x_adv).argmax(1) != y).all())


class Shifted(nn.Module):
    """Class 1 where w.x is above a threshold."""

    def __init__(self, net: nn.Module, threshold: float) -> None:
        super().__init__()
        self.net, self.threshold = net, threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) - torch.tensor([0.0, self.threshold])
