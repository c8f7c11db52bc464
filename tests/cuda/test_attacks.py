"""Searches on a device: captured and plain decide alike, starts are those of a CPU."""

import pytest
import torch
from torch import Tensor, nn

from fftune.attacks import attack_spec
from fftune.capture import first_use
from fftune.config import AttackConfig, ThreatModel
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start
from tests.capture.recorded_nets import batch, small_net

THREAT = ThreatModel(eps=0.1)
ROWS = 256


def net_on(device) -> nn.Module:
    return small_net().eval().requires_grad_(False).to(device)


def perturbed(net: nn.Module, search: str, protocol: str, *, goal: str = "adversarial") -> Tensor:
    device = net[0].weight.device
    x, y = (part.to(device) for part in batch(ROWS))
    config = AttackConfig(threat=THREAT, search=search, steps=20, protocol=protocol)
    noise, ids = Noise(0).fold("digits", "test"), torch.arange(ROWS)
    spec = attack_spec(search)
    return spec.run(net, x, y, config=config, goal=goal, loss="ce", noise=noise, ids=ids)


def wrong(x_pert: Tensor) -> Tensor:
    with torch.no_grad():
        return net_on(x_pert.device)(x_pert).argmax(1) != batch(ROWS)[1].to(x_pert.device)


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize(
    ("search", "protocol"),
    [("pgd", "last_iterate"), ("pgd", "first_success"), ("apgd", "first_success")],
)
def test_captured_and_plain_searches_decide_alike(device, plain, search, protocol, goal) -> None:
    net = net_on(device)
    expected = plain(lambda: perturbed(net, search, protocol, goal=goal))
    assert first_use().recorded == 0
    for _ in range(5):
        got = perturbed(net, search, protocol, goal=goal)
        assert torch.equal(wrong(got), wrong(expected))
    assert first_use().recorded and first_use().replayed


def test_a_device_and_a_cpu_search_find_almost_the_same(device) -> None:
    found = [
        wrong(perturbed(net_on(at), "apgd", "first_success")).cpu()
        for at in (device, torch.device("cpu"))
    ]
    assert (found[0] != found[1]).sum() <= 1


def test_random_starts_are_those_of_a_cpu(device) -> None:
    x, _ = batch(ROWS)
    noise = ExampleNoise(Noise(0).fold("digits", "test"), torch.arange(ROWS))
    expected = start(x, AttackConfig(threat=THREAT), noise)
    assert torch.equal(start(x.to(device), AttackConfig(threat=THREAT), noise).cpu(), expected)


def test_graphs_go_with_the_nets_that_were_attacked(device, store) -> None:
    net = net_on(device)
    for _ in range(4):
        perturbed(net, "pgd", "last_iterate")
    assert [key for key in store.recordings if key.owners]
    del net
    assert not [key for key in store.recordings if key.owners]
