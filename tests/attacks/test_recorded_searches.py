"""Searches as a device runs them: recorded, in buckets of rows, looked at now and then."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from nets import images, smooth
from torch.utils._python_dispatch import TorchDispatchMode

from fftune import devices
from fftune.attacks import attack_spec, pgd, success
from fftune.attacks.query_counter import QueryCounter
from fftune.attacks.search_state import checked_before
from fftune.capture import use
from fftune.capture.tape import Tape
from fftune.config import AttackConfig, ThreatModel
from fftune.keyed_noise import Noise
from tests.each_once import each_once

SHAPE = (2, 4, 4)
DEVICE = replace(devices.CUDA, buckets=(4, 8, 16, 24, 32), width=24)
ALL = [
    ("pgd", "ce", "linf", {"steps": 7}),
    ("pgd", "ce", "l2", {"steps": 23, "restarts": 2}),
    ("pgd", "dlr", "linf", {"steps": 12, "protocol": "first_success"}),
    ("pgd_hedged", "ce", "linf", {"steps": 6}),
    ("apgd", "ce", "linf", {"steps": 30}),
    ("apgd", "dlr", "l2", {"steps": 30, "protocol": "first_success"}),
    ("apgd", "dlr", "linf", {"steps": 30, "protocol": "first_success", "targets": 2}),
    ("fab", "margin", "linf", {"steps": 12, "targets": 2}),
    ("fab", "margin", "l2", {"steps": 12, "protocol": "first_success"}),
    ("deepfool", "margin", "linf", {"steps": 12, "targets": 2}),
    ("square", "margin", "linf", {"steps": 300, "protocol": "first_success"}),
    ("square", "ce", "l2", {"steps": 60, "restarts": 2}),
    ("rays", "margin", "linf", {"steps": 120}),
    ("cr", "margin", "linf", {"steps": 45, "targets": 2, "restarts": 2}),
]
CASES = each_once(
    [(*case, goal) for case in ALL for goal in ("adversarial", "hypocritical")],
    lambda it: [(it[0], feature) for feature in (*it[1:3], it[4])],
)


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


@pytest.mark.some(8)
@pytest.mark.parametrize(("search", "loss", "norm", "settings", "goal"), CASES)
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


class Looks(TorchDispatchMode):
    """Counts what waits for a device: values that are read, and shapes that depend on data."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Counter[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        waiting = name in {"_local_scalar_dense", "nonzero", "_unique2", "equal", "masked_select"}
        if name.startswith("index") and isinstance(args[1], list | tuple):
            waiting |= any(at is not None and at.dtype == torch.bool for at in args[1])
        if waiting:
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


def looks(search, loss, steps, goal="adversarial", **settings) -> int:
    """Looks of a search that succeeds nowhere, on examples whose range was checked before."""
    net, x = smooth(4, SHAPE, 1).requires_grad_(False), images(9, SHAPE, 2)
    with torch.no_grad():
        counted = QueryCounter(net, net(x))
    y = counted.logits_clean.argmax(1)
    config = AttackConfig(threat=ThreatModel(eps=1e-6), search=search, steps=steps, **settings)
    with checked_before(), Looks() as counts:
        attack_spec(search).run(
            counted, x, y, config=config, goal=goal, loss=loss, noise=Noise(0), ids=torch.arange(9)
        )
    return sum(counts.count.values())


@pytest.mark.parametrize("goal", ["adversarial", "stability", "hedge"])
@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_pgd_of_a_training_never_waits_for_the_device(goal, start, tape) -> None:
    assert looks("pgd", "ce", 45, goal, start=start) == 0


def test_the_range_of_pixels_is_looked_at_where_nobody_has_checked_it(tape) -> None:
    net, x = smooth(4, SHAPE, 1).requires_grad_(False), images(3, SHAPE, 2)
    config = AttackConfig(steps=1)
    with Looks() as counts:
        pgd(
            net, x, torch.zeros(3).long(), config=config, goal="adversarial", loss="ce",
            noise=Noise(0), ids=torch.arange(3),
        )  # fmt: skip
    assert counts.count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "loss", "each"),
    [
        ("pgd", "ce", 5),
        pytest.param("apgd", "dlr", 5, marks=pytest.mark.slow),
        pytest.param("square", "margin", 25, marks=pytest.mark.slow),
    ],
)
def test_a_strong_search_looks_once_a_few_steps(search, loss, each, tape) -> None:
    """Ten times as many steps are looked at as often as there are chunks more."""
    few, many = (looks(search, loss, steps, protocol="first_success") for steps in (100, 1000))
    assert few < 45  # what no chunk is left for goes step by step
    assert many - few <= 900 // each + 10
