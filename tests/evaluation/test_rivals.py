"""Against torchattacks, an independent implementation, on a real net and real images."""

from dataclasses import replace

import plain
import pytest
import torch
from subjects import model_under_test

from fftune.config import AttackConfig, Loss, ThreatModel
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block import attack_block
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import Noise

torchattacks = pytest.importorskip("torchattacks")
EPS = 8 / 255
APGD = AttackConfig(threat=ThreatModel(eps=EPS), search="apgd", steps=20, protocol="first_success")
PGD = AttackConfig(threat=ThreatModel(eps=EPS), steps=20)


MARGIN = AttackConfig(
    threat=ThreatModel(eps=EPS), targets=9, start="none", protocol="first_success"
)
DEEPFOOL = replace(MARGIN, search="deepfool", steps=50)
FAB = replace(MARGIN, search="fab", steps=30)


def spread(data, count: int):
    return data.select(torch.arange(count) * len(data) // count, "test")


def verdicts(net, data, config: AttackConfig, loss: Loss = "margin") -> torch.Tensor:
    """(N,) bool: made, or found, wrong."""
    attack = Attack(name="x", goal="adversarial", stages=(AttackStage(config=config, loss=loss),))
    (block,) = data.batches(len(data))
    table = attack_block(model_under_test(net, data), block, attack, noise=Noise(0))
    return torch.tensor(table["success"].to_pylist())


def accuracy(net, data, config: AttackConfig, loss: Loss, goal="adversarial") -> float:
    attack = Attack(name="x", goal=goal, stages=(AttackStage(config=config, loss=loss),))
    (block,) = data.batches(len(data))
    table = attack_block(model_under_test(net, data), block, attack, noise=Noise(0)).to_pandas()
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
        ("APGD", APGD, "dlr"),
        ("APGDT", replace(APGD, targets=9), "dlr"),
        ("FAB", FAB, "margin"),
        ("Square", replace(MARGIN, search="square", steps=1000), "margin"),
    ],
)
def test_accuracy_within_a_point(name, config, loss, shared_net, cifar10) -> None:
    net = shared_net("fastat_small")
    more = {
        "PGD": {"alpha": EPS / 4, "steps": 20},
        "APGD": {"steps": 20, "loss": loss},
        "APGDT": {"steps": 20, "n_classes": 10},
        "FAB": {"steps": 30, "multi_targeted": True, "n_classes": 10},
        "Square": {"n_queries": 1000},
    }.get(name, {})
    attack = getattr(torchattacks, name)(net, eps=EPS, **more)
    data = spread(cifar10, 128) if name in ("APGDT", "FAB", "Square") else cifar10
    ours, other = accuracy(net, data, config, loss), theirs(net, data, attack)
    print(f"{name}, {loss}: ours {ours:.4f}, torchattacks {other:.4f}, n = {len(data)}")
    assert abs(ours - other) <= 0.01


@pytest.mark.slow
def test_cw_is_within_a_point_of_a_plain_loop(shared_net, cifar10) -> None:
    net = shared_net("fastat_small")
    ours = accuracy(net, cifar10, replace(PGD, search="cw"), "margin")
    plainly = theirs(net, cifar10, lambda x, y: plain.pgd_margin(net, x, y, eps=EPS, steps=20))
    print(f"C&W: ours {ours:.4f}, plain {plainly:.4f}, n = {len(cifar10)}")
    assert abs(ours - plainly) <= 0.01


@pytest.mark.parametrize("count", [6, pytest.param(128, marks=pytest.mark.slow)])
def test_deepfool_crosses_where_a_plain_loop_does(count, shared_net, cifar10) -> None:
    net, data = shared_net("fastat_small"), spread(cifar10, count)
    config = replace(DEEPFOOL, steps=50 if count > 6 else 5)
    _, x, y = next(data.batches(count))
    fooled = []
    for one, label in zip(x.split(1), y.tolist(), strict=True):
        x_pert = plain.deepfool_linf(net, one, label, steps=config.steps, rivals=9)
        inside = float((x_pert - one).abs().max()) <= EPS
        fooled.append(inside and int(net(x_pert).argmax()) != label)
    ours = verdicts(net, data, config)
    differ = (ours != torch.tensor(fooled)).nonzero().flatten()
    print(f"DeepFool: ours {int(ours.sum())}, plain {sum(fooled)} of {count}; {differ.tolist()}")
    assert len(differ) <= 0.01 * count


@pytest.mark.parametrize(
    ("count", "queries"), [(6, 50), pytest.param(128, 400, marks=pytest.mark.slow)]
)
def test_rays_reaches_what_a_plain_loop_does(count, queries, shared_net, cifar10) -> None:
    net, data = shared_net("fastat_small"), spread(cifar10, count)
    config = replace(MARGIN, search="rays", steps=queries)
    _, x, y = next(data.batches(count))
    fooled = [
        plain.rays(net, one, label, queries=queries, eps=EPS)[0]
        for one, label in zip(x.split(1), y.tolist(), strict=True)
    ]
    ours = verdicts(net, data, config)
    differ = (ours != torch.tensor(fooled)).nonzero().flatten()
    print(f"RayS: ours {int(ours.sum())}, plain {sum(fooled)} of {count}; {differ.tolist()}")
    assert len(differ) <= 0.01 * count


@pytest.mark.slow
def test_hypocritical_is_their_targeted_attack_at_the_true_class(shared_net, cifar10) -> None:
    net = shared_net("fastat_small")
    attack = torchattacks.PGD(net, eps=EPS, alpha=EPS / 4, steps=20)
    attack.set_mode_targeted_by_function(lambda _, labels: labels)
    ours = accuracy(net, cifar10, PGD, "ce", "hypocritical")
    assert abs(ours - theirs(net, cifar10, attack)) <= 0.01


@pytest.mark.slow
def test_a_robust_net_keeps_what_is_known_of_it(shared_net, cifar10) -> None:
    """README of the nets: 63.77 % clean and 35.6 % under PGD-20; 256 images are +- 6 points."""
    net = shared_net("fastat_small")
    assert abs(accuracy(net, cifar10, PGD, "ce") - 0.356) <= 0.06
