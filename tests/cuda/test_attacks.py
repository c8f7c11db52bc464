"""Searches on a device: captured and plain decide alike, starts are those of a CPU."""

import pytest
import torch

from fftune.attacks import attack_spec
from fftune.capture import first_use
from fftune.config import AttackConfig, ThreatModel
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start
from tests.capture.nets import batch, small_net

THREAT = ThreatModel(eps=0.1)
ROWS = 256


def perturbed(device, search: str, protocol: str, *, goal: str, steps: int = 20) -> torch.Tensor:
    net = small_net().eval().requires_grad_(False).to(device)
    x, y = (part.to(device) for part in batch(ROWS))
    config = AttackConfig(threat=THREAT, search=search, steps=steps, protocol=protocol)
    noise, ids = Noise(0).fold("digits", "test"), torch.arange(ROWS)
    spec = attack_spec(search)
    return spec.run(net, x, y, config=config, goal=goal, loss="ce", noise=noise, ids=ids)


def wrong(device, x_pert: torch.Tensor) -> torch.Tensor:
    net = small_net().eval().to(device)
    with torch.no_grad():
        return net(x_pert).argmax(1) != batch(ROWS)[1].to(device)


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize(
    ("search", "protocol"), [("pgd", "fixed"), ("pgd", "strong"), ("apgd", "strong")]
)
def test_captured_and_plain_searches_decide_alike(device, plain, search, protocol, goal) -> None:
    expected = plain(lambda: perturbed(device, search, protocol, goal=goal))
    assert first_use().recorded == 0
    for _ in range(3):
        got = perturbed(device, search, protocol, goal=goal)
        assert torch.equal(wrong(device, got), wrong(device, expected))
        assert (got - expected).abs().max() <= 2 * THREAT.eps


def test_a_search_is_recorded_and_replayed(device) -> None:
    for _ in range(4):
        perturbed(device, "pgd", "fixed", goal="adversarial", steps=50)
    spent = first_use()
    assert spent.recorded >= 1 and spent.replayed >= 1


def test_a_device_and_a_cpu_search_find_almost_the_same(device) -> None:
    found = [
        wrong(at, perturbed(at, "apgd", "strong", goal="adversarial")).cpu()
        for at in (device, torch.device("cpu"))
    ]
    assert (found[0] != found[1]).sum() <= 1


def test_random_starts_are_those_of_a_cpu(device) -> None:
    x, _ = batch(ROWS)
    noise = ExampleNoise(Noise(0).fold("digits", "test"), torch.arange(ROWS))
    expected = start(x, AttackConfig(threat=THREAT), noise)
    assert torch.equal(start(x.to(device), AttackConfig(threat=THREAT), noise).cpu(), expected)


def test_graphs_go_with_the_nets_that_were_attacked(device, store) -> None:
    perturbed(device, "pgd", "fixed", goal="adversarial", steps=50)
    perturbed(device, "apgd", "strong", goal="adversarial", steps=50)
    torch.cuda.synchronize()
    assert not [key for key in store.recordings if key.owners]
