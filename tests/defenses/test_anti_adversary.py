"""The anti-adversary: steps that make a net surer of its own answer."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fftune.config import AntiAdversaryConfig, DefenseConfig, ThreatModel
from fftune.defenses.anti_adversary import AntiAdversary, anti_adversary
from fftune.defenses.spec import defenses_of
from fftune.testing.examples import left_alone, random_images, small_net

WEIGHT = torch.tensor([[1.0, -2.0, 0.0, 0.5], [-1.0, 1.0, 0.0, 1.0]])


def linear() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[1].weight[:] = WEIGHT
    return net


@pytest.mark.parametrize(("steps", "clamp"), [(1, False), (2, False), (3, True)])
def test_a_linear_net_is_followed_to_its_own_side(steps: int, clamp: bool) -> None:
    """Whatever the truth: along the signs of the difference of both classes' weights."""
    x = torch.tensor([[0.9, 0.1, 0.5, 0.5], [0.1, 0.9, 0.5, 0.5]]).view(2, 1, 2, 2)
    config = AntiAdversaryConfig(steps=steps, step_size=0.125, clamp=clamp)
    net = linear()
    with left_alone(net, x):
        found = anti_adversary(net, x, config=config)
    sign = (WEIGHT[0] - WEIGHT[1]).sign().view(1, 2, 2)
    expected = x + steps * 0.125 * torch.stack([sign, -sign])
    assert torch.equal(found, expected.clamp(0, 1) if clamp else expected)
    assert not found.requires_grad


def test_the_loss_of_its_own_answer_falls_at_every_step() -> None:
    net, x = small_net((3, 6, 6), 4, 0), random_images(32, (3, 6, 6), 0)
    said = net(x).argmax(1)

    def losses(steps: int) -> torch.Tensor:
        config = AntiAdversaryConfig(steps=steps, step_size=0.01)
        x_anti = anti_adversary(net, x, config=config)
        return F.cross_entropy(net(x_anti), said, reduction="none").detach()

    before = F.cross_entropy(net(x), said, reduction="none").detach()
    assert bool((losses(1) < before).all()) and bool((losses(4) < losses(1)).all())


def test_the_net_is_asked_once_a_step() -> None:
    asked, net = [], linear()
    net.register_forward_hook(lambda *_: asked.append(1))
    made = defenses_of(DefenseConfig(names=("anti_adversary",)), ThreatModel())["anti_adversary"]
    assert made == AntiAdversary(config=AntiAdversaryConfig(steps=2, step_size=0.15))
    made.purify(net, torch.rand(3, 1, 2, 2), noise=None, ids=None)
    assert len(asked) == made.passes == 2 and made.needs_gradients
