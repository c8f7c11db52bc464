"""Recordings are few, and gone with their nets."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from fftune.capture import store as rooms
from fftune.capture import use
from fftune.capture.owners import Serials
from fftune.capture.tape import Tape, Track
from tests.capture.recorded_nets import ascent, batch, logits, scaled, small_net, train_step


@pytest.fixture
def no_collector():
    """Python without its collector: whatever is part of a cycle lives on."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def living() -> int:
    """Bytes of all tensors that Python knows."""
    found = {id(o): o for o in gc.get_objects() if issubclass(type(o), Tensor)}
    return sum(t.untyped_storage().nbytes() for t in found.values())


def test_memory_is_flat_over_200_shapes(tape: Tape, store) -> None:
    sizes = []
    recordings: list[weakref.ref] = []
    for rows in range(1, 201):
        for _ in range(3):
            scaled(torch.ones(1000 + rows), 2)
        recordings.append(weakref.ref(next(reversed(store.recordings.values()))))
        if rows in (100, 200):
            gc.collect()
            sizes.append(living())
    assert tape.records == 200 and len(store.recordings) == rooms.KEPT
    assert sum(ref() is not None for ref in recordings) == rooms.KEPT
    assert sizes[1] < 1.1 * sizes[0]


def test_the_last_used_recordings_are_kept(tape: Tape, store, monkeypatch) -> None:
    monkeypatch.setattr(rooms, "KEPT", 2)

    def thrice(factor: int) -> None:
        for _ in range(3):
            scaled(torch.ones(2), factor)

    thrice(1)
    thrice(2)
    scaled(torch.ones(2), 1)  # so that 2 is the one that was not used for longest
    thrice(3)
    assert tape.records == 3
    scaled(torch.ones(2), 1)
    assert tape.records == 3
    scaled(torch.ones(2), 2)
    assert tape.records == 4


def test_recordings_take_no_more_bytes_than_there_is_room_for(store) -> None:
    tape, kilobyte = Tape(), torch.ones(256)
    tape.room = 5 * 1024  # each takes an input and an output of 1 KiB
    with use(tape):
        for factor in range(6):
            for _ in range(3):
                scaled(kilobyte, factor)
        assert len(store.recordings) == 2
        for _ in range(3):  # one alone is kept, whatever it takes
            scaled(torch.ones(10_000), 2)
        assert len(store.recordings) == 1


def test_memory_that_a_recording_takes_for_itself_counts(store, monkeypatch) -> None:
    monkeypatch.setattr(Track, "bytes", 4000)
    tape = Tape()
    tape.room = 9000
    with use(tape):
        for factor in range(6):
            for _ in range(3):
                scaled(torch.ones(1), factor)
    assert len(store.recordings) == 2


def test_shapes_that_are_counted_are_few(tape: Tape, store, monkeypatch) -> None:
    monkeypatch.setattr(rooms, "COUNTED", 10)
    for factor in range(100):
        scaled(torch.ones(1), factor)
    assert len(store.calls) == 10


def test_a_net_dies_with_its_last_reference_and_frees_its_recordings(
    tape: Tape, store, no_collector
) -> None:
    net = small_net().eval()
    other, (x, y) = small_net().eval(), batch(4)
    for _ in range(4):
        logits(net, x)
        logits(other, x)
        ascent(net, x, y, steps=2)
    recordings = [weakref.ref(recorded) for recorded in store.recordings.values()]
    weight, net_ref = weakref.ref(net[0].weight), weakref.ref(net)
    assert len(recordings) == 3
    del net
    assert net_ref() is None and weight() is None
    assert sum(ref() is not None for ref in recordings) == 1
    assert all(len(key.owners) == 1 for key in store.calls) and len(store.calls) == 1


def test_an_optimizer_dies_too(tape: Tape, store, no_collector) -> None:
    net = small_net()
    optimizer = SGD(net.parameters(), 0.1, momentum=0.9, fused=True)
    for i in range(5):
        train_step(net, optimizer, *batch(4, seed=i))
    assert store.recordings
    momentum = weakref.ref(next(iter(optimizer.state.values()))["momentum_buffer"])
    del optimizer
    assert momentum() is None and not store.recordings and not store.calls


def test_a_net_that_cannot_be_recorded_is_not_kept_alive(tape, store, no_collector) -> None:
    class Waiting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool(x.sum() > 0) else -x

    net = Waiting()
    for _ in range(5):
        logits(net, torch.ones(2))
    assert store.plain
    ref = weakref.ref(net)
    del net
    assert ref() is None and not store.plain


def test_an_address_that_python_gives_again_is_another_owner() -> None:
    gone: list[int] = []
    serials = Serials(gone.append)
    seen = set()
    for _ in range(50):
        net = nn.Identity()
        number = serials.of(net)
        assert serials.of(net) == number and serials.find(net) == number
        seen.add(number)
        del net
    assert len(seen) == 50 and sorted(gone) == sorted(seen)
    assert not serials.known


def test_a_net_at_the_address_of_a_dead_one_hits_no_old_recording(tape: Tape) -> None:
    addresses, x = set(), torch.ones(2)
    for factor in range(40):
        net = nn.Linear(2, 1, bias=False)
        net.weight.data.fill_(factor)
        for _ in range(4):
            assert logits(net, x).item() == 2 * factor
        addresses.add(id(net))
        del net
    assert len(addresses) < 40  # else nothing was tested


def test_a_net_that_dies_inside_a_captured_function_is_buried_after_it(tape, store) -> None:
    nets = [small_net().eval()]
    x, _ = batch(4)
    for _ in range(3):
        logits(nets[0], x)

    def last(x: Tensor) -> Tensor:
        nets.clear()
        gc.collect()
        assert store.recordings  # nobody's dictionary changes under him
        return x

    from fftune.capture import captured

    captured(last)(x)
    assert not store.recordings


def test_memory_of_weights_that_moved_is_not_given_to_others(tape: Tape, store) -> None:
    net, x = nn.Linear(64, 1, bias=False), torch.ones(64)
    for _ in range(3):
        logits(net, x)
    (recorded,) = store.recordings.values()
    assert recorded.held[0].data_ptr() == net.weight.data_ptr()
    net.weight.data = net.weight.data.clone()
    logits(net, x)
    assert recorded not in store.recordings.values()
