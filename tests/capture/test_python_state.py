"""Nets that keep a schedule or draw outside torch: never replayed as they once were."""

import random
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recorded_nets import logits
from torch import Tensor, nn

from fftune.capture.python_state import held_by


class Stateful(nn.Module):
    """Answers by what an attribute gives, which each call moves on."""

    def __init__(self, state, move) -> None:
        super().__init__()
        self.state, self.move = state, move

    def forward(self, x: Tensor) -> Tensor:
        return x * self.move(self.state)


def _list(state) -> int:
    state[0] += 1
    return state[0]


def _deep(state) -> int:
    state["a"][0].count += 1
    return state["a"][0].count


def _grown(state) -> int:
    (state.add if isinstance(state, set) else state.append)(len(state))
    return len(state)


def _array(state) -> float:
    state += 1
    return float(state[0])


HOLDS = [
    (lambda: [0], _list),
    (lambda: {"a": (SimpleNamespace(count=0),)}, _deep),
    (deque, _grown),
    (set, _grown),
    (lambda: np.zeros(2), _array),
]
DRAWS = [
    (lambda: None, lambda _: random.random()),
    (lambda: None, lambda _: np.random.rand()),  # noqa: NPY002 (what users' nets do)
    (lambda: random.Random(3), lambda state: state.random()),
    (lambda: np.random.default_rng(3), lambda state: state.random()),
]


@pytest.mark.parametrize(("make", "move"), HOLDS + DRAWS)
def test_a_schedule_goes_on_as_without_recordings(make, move, tape, caplog) -> None:
    """Over 220 calls, so that nets which draw are tried again; the failed recordings count not."""
    found = []
    for call in (logits.__wrapped__, logits):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        net = Stateful(make(), move)
        with caplog.at_level("INFO", logger="fftune.capture"):
            found.append([call(net, torch.ones(2)) for _ in range(220)])
    assert all(map(torch.equal, *found))
    assert tape.replays == 0
    (said,) = caplog.messages
    reason = "draws from a random generator" if (make, move) in DRAWS else "changes what state of"
    assert reason in said


def test_a_net_is_recorded_again_once_nobody_draws_meanwhile(tape, caplog) -> None:
    """Another thread may have drawn."""
    net = Stateful([0], lambda state: 2 if state[0] else random.random())
    for _ in range(3):
        logits(net, torch.ones(2))
    net.state[0] = 1
    for _ in range(110):
        assert torch.equal(logits(net, torch.ones(2)), torch.full((2,), 2.0))
    assert tape.records == 1


@pytest.mark.parametrize("make", [list, dict, lambda: np.zeros(0), lambda: {"a": [torch.ones(1)]}])
def test_state_that_stays_is_recorded(make, tape) -> None:
    net = Stateful(make(), lambda _: 2)
    for _ in range(5):
        logits(net, torch.ones(2))
    assert tape.records == 1


def test_what_refers_to_itself_is_looked_into_once() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert len(held_by(ring)) == 1


@pytest.mark.parametrize("opaque", [nn.Linear(1, 1), torch.ones(1), len, print, 3, "text", int])
def test_nets_tensors_and_plain_values_are_not_looked_into(opaque) -> None:
    assert held_by(opaque) == []
