import torch
from torch import nn

from fftune.config import AttackConfig, ThreatModel
from fftune.defenses.analysis import gradient_gap, ratio_gap, second_attacks

WEIGHT = torch.tensor([[1.0, -2.0, 0.0, 0.5], [0.25, 0.25, 0.0, 0.0]])


def linear_net() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    net[1].weight.data = WEIGHT
    return net.eval()


def test_slopes_of_a_linear_net_are_the_norms_of_its_weights(rng, noise) -> None:
    """||w_0||_1 = 3.5, ||w_1||_1 = .5; sampled ratios come near and never beyond."""
    x, zero, one = (
        torch.rand(6, 1, 2, 2, generator=rng),
        torch.zeros(6).long(),
        torch.ones(6).long(),
    )
    net, ids = linear_net(), torch.arange(6)
    torch.testing.assert_close(gradient_gap(net, x, zero, one), torch.full((6,), 3.0))
    torch.testing.assert_close(gradient_gap(net, x, one, zero), torch.full((6,), -3.0))
    sampled = ratio_gap(net, x, zero, one, eps=0.1, noise=noise, ids=ids)
    again = ratio_gap(net, x, one, zero, eps=0.1, noise=noise, ids=ids)
    assert torch.equal(sampled, -again)
    assert bool(((sampled > 1.5) & (sampled <= 3.5)).all())


def test_two_classes_share_the_slope_of_log_odds(rng) -> None:
    """grad log p_c = +- (1 - p_c) (w_0 - w_1): the surer class is the flatter one."""
    net, x = linear_net(), torch.rand(6, 1, 2, 2, generator=rng)
    zero, one = torch.zeros(6).long(), torch.ones(6).long()
    p = net(x).softmax(1)
    norm = (WEIGHT[0] - WEIGHT[1]).abs().sum()
    gap = gradient_gap(net, x, zero, one, score="log_prob")
    torch.testing.assert_close(gap, norm * (p[:, 1] - p[:, 0]).detach())


def test_a_second_attack_undoes_the_first_on_a_linear_net(noise) -> None:
    """Score x_0 - x_1 > 0 is class 0; one step of .1 moves it by .2, and back."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    net[1].weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    left = torch.tensor([0.55, 0.6, 0.9, 0.4])
    x = torch.stack([left, torch.full((4,), 0.5)], 1).view(4, 2, 1, 1)
    y = torch.zeros(4).long()  # the last is wrong before
    config = AttackConfig(threat=ThreatModel(eps=0.1), steps=1, step_size=0.1, start="none")
    settings = {"config": config, "noise": noise, "ids": torch.arange(4), "lengths": [0, 1]}
    nothing, found = second_attacks(net, x, y, **settings)
    assert (nothing.flipped, nothing.flipped_again, nothing.survivors_flipped) == (2, 0, 0)
    assert (found.correct, found.flipped, found.survived) == (3, 2, 1)
    # .05 - .2 + .2 and .1 - .2 + .2 are right again; .4 - .4 is a tie, which class 0 wins.
    assert (found.flipped_again, found.returned) == (2, 2)
    assert found.survivors_flipped <= 1
