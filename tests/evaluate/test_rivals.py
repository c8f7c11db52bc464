"""Against torchattacks, an independent implementation, on a real net and real images."""

import pytest
import torch
from subjects import subject_of

from fftune.config import AttackConfig, Loss, ThreatModel
from fftune.evaluate.battery import Probe
from fftune.evaluate.block import attack_block
from fftune.evaluate.tiers import Part
from fftune.noise import Noise

torchattacks = pytest.importorskip("torchattacks")
EPS = 8 / 255
APGD = AttackConfig(threat=ThreatModel(eps=EPS), search="apgd", steps=20, protocol="strong")
PGD = AttackConfig(threat=ThreatModel(eps=EPS), steps=20)


def accuracy(net, data, config: AttackConfig, loss: Loss, goal="adversarial") -> float:
    probe = Probe(attack="x", goal=goal, parts=(Part(config=config, loss=loss),))
    (block,) = data.batches(len(data))
    table = attack_block(subject_of(net, data), block, probe, noise=Noise(0)).to_pandas()
    return float((table["pred_pert"] == table["y"]).mean())


def theirs(net, data, attack) -> float:
    (_, x, y) = next(data.batches(len(data)))
    torch.manual_seed(0)
    x_pert = attack(x, y)
    with torch.no_grad():
        return float((net.eval()(x_pert).argmax(1) == y).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config", "loss"),
    [
        ("FGSM", AttackConfig(threat=PGD.threat, search="fgsm"), "ce"),
        ("PGD", PGD, "ce"),
        ("APGD", APGD, "ce"),
    ],
)
def test_accuracy_within_a_point(name, config, loss, shared_net, cifar10) -> None:
    net = shared_net("fastat_small")
    more = {"PGD": {"alpha": EPS / 4, "steps": 20}, "APGD": {"steps": 20}}.get(name, {})
    attack = getattr(torchattacks, name)(net, eps=EPS, **more)
    assert abs(accuracy(net, cifar10, config, loss) - theirs(net, cifar10, attack)) <= 0.01


@pytest.mark.slow
def test_hypocritical_is_their_targeted_attack_at_the_true_class(shared_net, cifar10) -> None:
    net = shared_net("fastat_small")
    attack = torchattacks.PGD(net, eps=EPS, alpha=EPS / 4, steps=20)
    attack.set_mode_targeted_by_function(lambda _, labels: labels)
    ours = accuracy(net, cifar10, PGD, "ce", "hypocritical")
    assert abs(ours - theirs(net, cifar10, attack)) <= 0.01


def test_a_robust_net_keeps_what_is_known_of_it(shared_net, cifar10) -> None:
    """README of the nets: 63.77 % clean and 35.6 % under PGD-20; 256 images are +- 6 points."""
    net = shared_net("fastat_small")
    assert abs(accuracy(net, cifar10, PGD, "ce") - 0.356) <= 0.06
