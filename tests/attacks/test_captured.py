"""Searches as a device runs them: recorded, in buckets of rows, looked at now and then."""

from dataclasses import replace

import pytest
import torch
from nets import images, smooth

from fftune import devices
from fftune.attacks import attack_spec, success
from fftune.attacks.query_counter import QueryCounter
from fftune.capture import use
from fftune.capture.tape import Tape
from fftune.config import AttackConfig, ThreatModel
from fftune.keyed_noise import Noise

SHAPE = (2, 4, 4)
DEVICE = replace(devices.CUDA, buckets=(4, 8, 16, 24, 32), width=24)
CASES = [
    ("pgd", "ce", "linf", {"steps": 7}),
    ("pgd", "ce", "l2", {"steps": 23, "restarts": 2}),
    ("pgd", "dlr", "linf", {"steps": 12, "protocol": "strong"}),
    ("pgd_hedged", "ce", "linf", {"steps": 6}),
    ("apgd", "ce", "linf", {"steps": 30}),
    ("apgd", "dlr", "l2", {"steps": 30, "protocol": "strong"}),
    ("apgd", "dlr", "linf", {"steps": 30, "protocol": "strong", "targets": 2}),
    ("fab", "margin", "linf", {"steps": 12, "targets": 2}),
    ("fab", "margin", "l2", {"steps": 12, "protocol": "strong"}),
    ("deepfool", "margin", "linf", {"steps": 12, "targets": 2}),
    ("square", "margin", "linf", {"steps": 300, "protocol": "strong"}),
    ("square", "ce", "l2", {"steps": 60, "restarts": 2}),
    ("rays", "margin", "linf", {"steps": 120}),
]


@pytest.fixture
def tape(monkeypatch) -> Tape:
    """A device's policy and a recorder, on the CPU."""
    monkeypatch.setitem(devices._POLICIES, "cpu", DEVICE)
    return Tape()


def run(search, loss, norm, settings, goal, seed, net):
    """Points, success and counts of nine examples, of which some are decided early."""
    x = images(9, SHAPE, seed)
    with torch.no_grad():
        counted = QueryCounter(net, net(x))
    order = counted.logits_clean.argsort(1, descending=True)
    y = order[:, 1] if goal == "hypocritical" else order[:, 0]
    threat = ThreatModel(norm=norm, eps={"linf": 0.07, "l2": 0.25}[norm])
    config = AttackConfig(threat=threat, search=search, **settings)
    x_pert = attack_spec(search).run(
        counted, x, y, config=config, goal=goal, loss=loss,
        noise=Noise(seed).fold("somewhere"), ids=torch.arange(9) + 100 * seed,
    )  # fmt: skip
    with torch.no_grad():
        won = success(goal, net(x_pert).argmax(1), counted.logits_clean.argmax(1), y)
    return x_pert, won, counted.counts


@pytest.mark.parametrize(("search", "loss", "norm", "settings"), CASES)
@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
def test_a_recorded_search_finds_what_the_plain_one_finds(
    search, loss, norm, settings, goal, tape, monkeypatch, caplog
) -> None:
    """Other images, noise and weights at every call: nothing of an earlier one is left."""
    caplog.set_level("INFO", logger="fftune.capture")
    net, met = smooth(4, SHAPE, 1).requires_grad_(False), 0
    # A job goes on a little after another one of its example has succeeded beside it.
    beside = (search, norm) == ("square", "l2") or (search, norm, loss) == ("apgd", "linf", "dlr")
    for seed in range(5):
        with torch.no_grad():
            net[0].weight.mul_(1.05)
        with use(tape):
            found = run(search, loss, norm, settings, goal, seed, net)
        with monkeypatch.context() as plain:
            plain.setitem(devices._POLICIES, "cpu", devices.CPU)
            known = run(search, loss, norm, settings, goal, seed, net)
        assert torch.equal(found[1], known[1])
        if not beside:
            torch.testing.assert_close(found[0], known[0], rtol=0, atol=1e-7)
            assert torch.equal(found[2], known[2])
        met += int(known[1].sum())
    assert 0 < met < 45  # else nothing was told apart
    assert tape.replays > tape.records > 0
    assert not caplog.text  # nothing fell back
