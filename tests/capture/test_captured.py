"""A captured function is the function: whatever changes between two calls, a replay sees it."""

import sys
import threading
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from fftune.capture import captured, first_use, forget, recording, use
from fftune.capture.store import WARM
from fftune.capture.tape import Tape
from fftune.errors import ConfigError
from tests.capture.recorded_nets import ascent, batch, logits, scaled, small_net


class Pair(NamedTuple):
    first: Tensor
    rest: dict[str, Any]


@captured
def structured(x: Tensor, both: tuple[Tensor, Tensor], *, name: str) -> Pair:
    return Pair(x + both[0], {"name": name, "none": None, "many": [both[1] * 2, x]})


@captured
def told(x: Tensor) -> tuple[Tensor, bool]:
    return x + 1, recording()


@captured
def outer(net: nn.Module, x: Tensor) -> Tensor:
    return logits(net, x) * 2


def test_the_third_call_is_recorded_and_all_later_ones_replay(tape: Tape) -> None:
    net = small_net().eval()
    for i in range(6):
        x, _ = batch(3, seed=i)
        assert torch.equal(logits(net, x), net(x))
        assert (tape.records, tape.replays) == ((0, 0) if i < WARM else (1, i - 1))


def test_without_a_recorder_a_function_is_called(store) -> None:
    assert [told(torch.zeros(1))[1] for _ in range(5)] == [False] * 5
    assert not store.recordings and not store.calls


def test_a_function_knows_while_it_is_recorded(tape: Tape) -> None:
    seen = [told(torch.zeros(1))[1] for _ in range(4)]
    assert seen == [False, False, True, True]  # a number in the result is part of the recording
    assert not recording()


def test_results_keep_their_structure(tape: Tape) -> None:
    for i in range(5):
        x, one, two = (torch.full((2,), float(i + j)) for j in range(3))
        got = structured(x, (one, two), name="a")
        assert isinstance(got, Pair) and got.rest["name"] == "a" and got.rest["none"] is None
        assert torch.equal(got.first, x + one)
        assert torch.equal(got.rest["many"][0], two * 2) and torch.equal(got.rest["many"][1], x)
    assert tape.records == 1


def test_a_result_outlives_later_calls(tape: Tape) -> None:
    results = [scaled(torch.full((3,), float(i)), 2) for i in range(6)]
    assert [r[0].item() for r in results] == [0, 2, 4, 6, 8, 10]
    assert len({r.data_ptr() for r in results}) == 6


@pytest.mark.parametrize(
    "factors", [(2, 3), (1, True, 1.0), (0.0, -0.0), (float("nan"), float("nan"))]
)
def test_settings_that_differ_are_recorded_apart(tape: Tape, factors) -> None:
    x = torch.tensor([1.0, -2.0])
    for _ in range(4):
        for factor in factors:
            got, expected = scaled(x, factor), x * factor
            assert torch.equal(torch.signbit(got), torch.signbit(expected))
            assert torch.allclose(got, expected, equal_nan=True)
    assert tape.records == len({(type(f), str(f)) for f in factors})


def test_shapes_layouts_and_dtypes_are_recorded_apart(tape: Tape) -> None:
    x = torch.rand(2, 3, 4, 4)
    kinds = (x, x[:1], x.double(), x.to(memory_format=torch.channels_last), x.transpose(2, 3))
    for _ in range(4):
        for kind in kinds:
            got = scaled(kind, 2)
            assert torch.equal(got, kind * 2) and got.stride() == (kind * 2).stride()
    assert tape.records == len(kinds)


def test_weights_that_change_in_place_are_seen(tape: Tape) -> None:
    net = small_net().eval()
    x, y = batch(4)
    for i in range(6):
        for weight in net.parameters():
            weight.data.add_(0.1 * i)
        assert torch.equal(ascent(net, x, y, steps=2), ascent.__wrapped__(net, x, y, steps=2))
    assert tape.records == 1


def test_weights_that_move_are_recorded_anew(tape: Tape) -> None:
    net = small_net().eval()
    x, _ = batch(4)
    for i in range(8):
        if i == 5:
            net[0].weight.data = net[0].weight.data * 2
        assert torch.equal(logits(net, x), net(x))
    assert tape.records == 2


def test_a_net_whose_weights_never_stay_is_given_up(tape: Tape, store, caplog) -> None:
    net, (x, _) = small_net().eval(), batch(4)
    with caplog.at_level("INFO", logger="fftune.capture"):
        for _ in range(20):
            net[0].weight.data = net[0].weight.data * 1.01
            assert torch.equal(logits(net, x), net(x))
    assert tape.records < 10 and len(store.plain) == 1
    assert len(caplog.messages) == 1 and "lie elsewhere" in caplog.messages[0]


def test_an_exchanged_part_of_a_net_is_seen(tape: Tape) -> None:
    net, (x, _) = small_net().eval(), batch(4)
    for i in range(8):
        if i == 5:
            net[5] = nn.Linear(16, 3)
        assert torch.equal(logits(net, x), net(x))


def test_modes_are_part_of_a_recording(tape: Tape) -> None:
    net, (x, _) = small_net(), batch(4)

    def both() -> None:
        before = net[1].running_mean.clone()
        got, mean = logits(net, x), net[1].running_mean.clone()
        net[1].running_mean.copy_(before)
        assert torch.equal(got, logits.__wrapped__(net, x))
        assert torch.equal(mean, net[1].running_mean)

    for _ in range(5):
        net.train()
        both()
        net[1].eval()  # one part alone
        both()
        net.eval()
        both()
        with torch.autocast("cpu", torch.bfloat16):
            both()
        with torch.no_grad():
            both()
    assert tape.records == 5


def test_casts_that_autocast_remembers_are_of_the_weights_now(tape: Tape) -> None:
    net, (x, _) = small_net().eval(), batch(4)

    @captured
    def cast(net: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = net(x)
        return out.detach()

    for i in range(6):
        with torch.autocast("cpu", torch.bfloat16):
            net(x)  # fills the memory
            got = cast(net, x)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(got, net(x)), i
        net[5].weight.data.mul_(1.5)
    assert tape.records == 1


def test_frozen_weights_are_recorded_apart(tape: Tape) -> None:
    net = small_net().eval()
    x, y = batch(4)
    for i in range(8):
        net.requires_grad_(i % 2 == 0)
        assert torch.equal(ascent(net, x, y, steps=1), ascent.__wrapped__(net, x, y, steps=1))
    assert tape.records == 2


def test_two_nets_share_no_recording(tape: Tape) -> None:
    nets, (x, _) = [small_net(seed).eval() for seed in (0, 1)], batch(4)
    for _ in range(5):
        for net in nets:
            assert torch.equal(logits(net, x), net(x))
    assert tape.records == 2


def test_a_captured_function_inside_another_is_part_of_it(tape: Tape) -> None:
    net = small_net().eval()
    for i in range(8):
        x, _ = batch(4, seed=i)
        assert torch.equal(outer(net, x), net(x) * 2)
    assert tape.records == 1  # the inner one was called twice by itself, then as part of the outer


def test_a_number_of_a_net_is_part_of_a_recording_until_it_is_forgotten(tape: Tape) -> None:
    net, (x, _) = small_net().eval(), batch(4)
    for _ in range(4):
        logits(net, x)
    net[1].eps = 1.0
    assert not torch.equal(logits(net, x), net(x))
    forget(net)
    assert torch.equal(logits(net, x), net(x))


def test_forgetting_all_drops_every_recording(tape: Tape, store) -> None:
    for _ in range(3):
        scaled(torch.ones(2), 2)
    assert len(store.recordings) == 1
    forget()
    assert not store.recordings


def test_a_call_from_another_thread_meanwhile_runs_plainly(tape: Tape, store) -> None:
    got: list[Tensor] = []

    def forced(x: Tensor) -> None:
        with use(tape):
            got.append(scaled(x, 2))

    @captured
    def slow(x: Tensor) -> Tensor:
        thread = threading.Thread(target=forced, args=(x,))
        thread.start()
        thread.join(10)
        return x + 1

    for i in range(2):
        assert torch.equal(slow(torch.full((2,), float(i))), torch.full((2,), float(i + 1)))
    assert [v[0].item() for v in got] == [0, 2]
    assert not any(key.function is scaled.__wrapped__ for key in store.calls)


def test_the_cost_of_recording_is_counted(tape: Tape) -> None:
    for _ in range(7):
        scaled(torch.ones(2), 3)
    spent = first_use()
    assert (spent.warmed, spent.recorded, spent.replayed) == (WARM, 1, 7 - WARM - 1)
    assert spent.warming > 0 and spent.recording > 0


def test_the_environment_turns_recording_off(monkeypatch) -> None:
    room, recorder, device = sys.modules["fftune.capture.captured"], object(), torch.device("cuda")
    monkeypatch.setattr(room, "cuda_recorder", lambda _: recorder)
    assert room._recorder(device) is recorder
    assert room._recorder(torch.device("cpu")) is None and room._recorder(None) is None
    monkeypatch.setenv("FFTUNE_CAPTURE", "on")
    assert room._recorder(device) is recorder
    monkeypatch.setenv("FFTUNE_CAPTURE", "off")
    assert room._recorder(device) is None
    monkeypatch.setenv("FFTUNE_CAPTURE", "of")
    with pytest.raises(ConfigError, match="FFTUNE_CAPTURE must be on or off, got 'of'"):
        room._recorder(device)
