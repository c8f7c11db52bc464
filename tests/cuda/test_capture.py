"""CUDA graphs of captured functions: equal bits, no harm after a failure, freed memory."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from fftune.capture import captured, first_use, recording
from fftune.capture.cuda_graphs import cuda_recorder
from tests.capture.recorded_nets import (
    accumulate,
    ascent,
    batch,
    logits,
    scaled,
    small_net,
    train_step,
    update,
)
from tests.capture.recorded_nets import state as weights_of


def inputs(size: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    x, y = batch(size, seed=seed)
    return x.to(device), y.to(device)


def test_graphs_can_be_recorded_here(device) -> None:
    assert cuda_recorder(device) is not None


def test_replays_give_the_bits_of_calls(device, store, plain) -> None:
    net = small_net().eval().to(device)
    for i in range(8):
        x, y = inputs(4 if i % 2 else 6, i, device)
        net[0].weight.data.mul_(1.01)
        assert torch.equal(logits(net, x), plain(lambda x=x: logits(net, x)))
        crafted = plain(lambda x=x, y=y: ascent(net, x, y, steps=3))
        assert torch.equal(ascent(net, x, y, steps=3), crafted)
    assert len(store.recordings) == 4 and first_use().replayed == 4


def trained(device: torch.device, *, parts: int, dropout: float = 0.0) -> Tensor:
    net = small_net(dropout=dropout).to(device)
    lr = torch.tensor(0.1, device=device)
    optimizer = SGD(net.parameters(), lr, momentum=0.9, weight_decay=1e-3, fused=True)
    torch.cuda.manual_seed(0)
    losses = []
    for i in range(10):
        lr.fill_(0.1 / (1 + i))
        if parts == 1:
            losses.append(train_step(net, optimizer, *inputs(6, i, device)))
            continue
        optimizer.zero_grad()
        losses += [accumulate(net, *inputs(6, parts * i + j, device)) for j in range(parts)]
        update(optimizer)
    return torch.cat([weights_of(net), torch.stack(losses).double()])


@pytest.mark.parametrize(("parts", "dropout"), [(1, 0.0), (2, 0.0), (1, 0.5)])
def test_steps_leave_the_bits_of_calls(device, store, plain, parts, dropout) -> None:
    expected = plain(lambda: trained(device, parts=parts, dropout=dropout))
    assert torch.equal(trained(device, parts=parts, dropout=dropout), expected)
    assert first_use().recorded >= 1 and not store.plain


class Waiting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x * 3


@captured
def breaks(x: Tensor) -> Tensor:
    """Waits only while it is recorded, so that nothing warns of it before."""
    return x * float(x.sum()) if recording() else x * 2


@pytest.mark.parametrize("call", [lambda x: logits(Waiting(), x), breaks])
def test_the_device_is_usable_after_what_cannot_be_recorded(device, store, caplog, call) -> None:
    x, net = torch.ones(3, device=device), Waiting()
    run: Callable[[], Tensor] = (lambda: breaks(x)) if call is breaks else lambda: logits(net, x)
    with caplog.at_level("INFO", logger="fftune.capture"):
        for _ in range(6):
            assert torch.equal(run(), x * 2)
    lines = [m for m in caplog.messages if "runs unrecorded" in m]
    assert len(lines) == 1 and len(store.plain) == 1
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.cuda.manual_seed(0)
    drawn = torch.rand(4, device=device)
    torch.cuda.manual_seed(0)
    assert torch.equal(torch.rand(4, device=device), drawn)
    for i in range(5):
        assert torch.equal(scaled(x + i, 3), (x + i) * 3)
    assert len(store.recordings) == 1
    torch.cuda.empty_cache()


def test_memory_is_flat_over_200_shapes(device) -> None:
    taken = []
    for rows in range(1, 201):
        x = torch.ones(rows, 1024, device=device)
        for _ in range(4):
            scaled(x, 2)
        if rows in (100, 200):
            torch.cuda.synchronize()
            taken.append(torch.cuda.memory_allocated() - x.nbytes)
    assert taken[1] < 3 * taken[0]  # the last 48 of shapes twice as large


def test_memory_comes_back_when_a_net_dies(device, store) -> None:
    def use_one() -> None:
        net = nn.Linear(4096, 4096).to(device)
        x = torch.ones(512, 4096, device=device)
        for _ in range(4):
            logits(net, x)
        assert len(store.recordings) == 1

    use_one()  # cuBLAS takes a workspace for each stream, and keeps it
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in range(5):
        use_one()
        assert not store.recordings
    assert torch.cuda.memory_allocated() - before < 2**20
    torch.cuda.empty_cache()


def test_a_recording_without_memory_gives_way(device, store) -> None:
    @captured
    def large(x: Tensor) -> Tensor:
        spare = torch.cuda.mem_get_info()[1] if recording() else 4
        return x + torch.empty(spare, dtype=torch.float32, device=x.device)[:1].zero_()

    for _ in range(4):
        scaled(torch.ones(3, device=device), 2)
    assert store.recordings
    for _ in range(4):
        assert torch.equal(large(torch.ones(3, device=device)), torch.ones(3, device=device))
    assert not store.recordings and not store.plain
    for i in range(4):
        assert scaled(torch.full((3,), float(i), device=device), 5)[0] == 5 * i
    assert store.recordings


def test_autocast_around_a_function_casts_the_weights_of_now(device, plain) -> None:
    net, (x, _) = small_net().eval().to(device), inputs(4, 0, device)
    for _ in range(6):
        with torch.autocast("cuda", torch.bfloat16):
            got = logits(net, x)
        with torch.autocast("cuda", torch.bfloat16):
            expected = plain(lambda: logits(net, x))
        assert torch.equal(got, expected)
        net[5].weight.data.mul_(1.5)


def test_tensors_of_two_devices_run(device, store, caplog) -> None:
    @captured
    def mixed(x: Tensor, ids: Tensor) -> Tensor:
        return x + len(ids)

    with caplog.at_level("INFO", logger="fftune.capture"):
        for _ in range(5):
            assert mixed(torch.ones(2, device=device), torch.arange(3))[0] == 4
    assert len(caplog.messages) == 1 and "lie on" in caplog.messages[0]
