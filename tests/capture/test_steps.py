"""A training step that is replayed leaves the bits that a step which is run leaves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from fftune.capture import captured, use
from fftune.capture.tape import Tape
from tests.capture.recorded_nets import accumulate, batch, small_net, state, train_step, update

Loop = Callable[[nn.Module, Optimizer, int], Tensor]


def trained(recorder: Tape | None, loop: Loop, *, steps: int = 10, dropout: float = 0.0) -> Tensor:
    """(V,) weights, buffers, momenta, gradients and losses after some steps of a loop."""
    net = small_net(dropout=dropout)
    lr = torch.tensor(0.1)
    optimizer = SGD(net.parameters(), lr, momentum=0.9, weight_decay=1e-3, fused=True)
    with use(recorder):
        losses = torch.stack([loop(net, optimizer, i) for i in range(steps)])
    momenta = [s["momentum_buffer"].flatten() for s in optimizer.state.values()]
    grads = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return torch.cat([state(net), *momenta, *grads, losses])


def one(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    return train_step(net, optimizer, *batch(6, seed=i))


def in_place(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    return train_step(net, optimizer, *batch(6, seed=i), to_none=False)


def two_shapes(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    return train_step(net, optimizer, *batch(4 if i % 3 == 2 else 6, seed=i))


def tensor_rate(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    optimizer.param_groups[0]["lr"].fill_(0.1 / (1 + i))
    return one(net, optimizer, i)


def number_rate(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    optimizer.param_groups[0]["lr"] = 0.1 if i < 5 else 0.01
    return one(net, optimizer, i)


def number_decay(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    optimizer.param_groups[0]["weight_decay"] = 0.0 if i < 5 else 0.1
    return one(net, optimizer, i)


def accumulated(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    """Two parts of a batch, the first of which makes gradients, and an update by itself."""
    optimizer.zero_grad()
    losses = [accumulate(net, *batch(4, seed=2 * i + j)) for j in range(2)]
    update(optimizer)
    return torch.stack(losses).sum()


def outside(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    """Gradients that a recording left are read and changed by what is not recorded."""
    optimizer.zero_grad()
    loss = accumulate(net, *batch(4, seed=i))
    nn.utils.clip_grad_norm_(net.parameters(), 0.1)
    optimizer.step()
    return loss


def replaced(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    """Gradients that are added to come to lie elsewhere in the middle."""
    optimizer.zero_grad(set_to_none=False)
    if i == 6:
        for weight in net.parameters():
            weight.grad = torch.zeros_like(weight)
    loss = accumulate(net, *batch(4, seed=i))
    optimizer.step()
    return loss


def loaded(net: nn.Module, optimizer: Optimizer, i: int) -> Tensor:
    """A resume in the middle: momenta lie elsewhere from then on."""
    if i == 6:
        optimizer.load_state_dict(optimizer.state_dict())
    return one(net, optimizer, i)


LOOPS = (one, in_place, two_shapes, tensor_rate, number_rate, number_decay)


@pytest.mark.parametrize("loop", [*LOOPS, accumulated, outside, replaced, loaded])
def test_replayed_steps_leave_equal_bits(loop: Loop) -> None:
    tape = Tape()
    assert torch.equal(trained(tape, loop), trained(None, loop))
    assert tape.records and tape.replays


def test_dropout_draws_as_it_would_have_drawn() -> None:
    tape = Tape()
    assert torch.equal(trained(tape, one, dropout=0.5), trained(None, one, dropout=0.5))
    assert tape.replays == 7


@pytest.mark.parametrize(
    ("loop", "records", "replays"),
    [(one, 1, 7), (two_shapes, 2, 5), (number_rate, 2, 5), (tensor_rate, 1, 7), (loaded, 2, 7)],
)
def test_steps_are_recorded_as_often_as_they_must_be(loop: Loop, records, replays) -> None:
    tape = Tape()
    trained(tape, loop)
    assert (tape.records, tape.replays) == (records, replays)


def test_gradients_of_one_recording_are_out_of_reach_of_another(tape: Tape, store) -> None:
    net, (x, y) = small_net().eval(), batch(4)
    for size in (4, 4, 4, 3, 3, 3):
        net.zero_grad()
        accumulate(net, *batch(size))
    net.zero_grad()
    accumulate(net, x, y)
    kept = [p.grad for p in net.parameters()]
    before = [grad.clone() for grad in kept]
    net.zero_grad()
    accumulate(net, *batch(3, seed=9))
    assert all(map(torch.equal, kept, before))
    made = {grad.data_ptr() for recorded in store.recordings.values() for grad in recorded.made}
    assert len(made) == 2 * len(kept)  # memory of recordings, which they share on a device
    assert not made & {weight.grad.data_ptr() for weight in net.parameters()}
    assert tape.records == 2


def test_an_optimizer_state_that_is_made_in_a_recording_is_no_recording(tape, caplog) -> None:
    def run(step: Callable[..., Tensor]) -> Tensor:
        net = small_net()
        optimizer = SGD(net.parameters(), 0.1, momentum=0.9)
        with caplog.at_level("INFO", logger="fftune.capture"):
            for i in range(8):
                optimizer.state.clear()
                step(net, optimizer, *batch(6, seed=i))
        return state(net)

    assert torch.equal(run(train_step), run(train_step.__wrapped__))
    assert len(caplog.messages) == 1 and "anew" in caplog.messages[0]


def test_a_failed_recording_undoes_itself(tape: Tape) -> None:
    """Weights, running means, momenta and gradients are put back before the plain call."""

    @captured
    def step(net: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
        loss = train_step.__wrapped__(net, optimizer, x, y)
        return loss if float(loss) > 0 else -loss

    def run(recorder: Tape | None) -> Tensor:
        return trained(recorder, lambda n, o, i: step(n, o, *batch(6, seed=i)), dropout=0.5)

    assert torch.equal(run(tape), run(None))
    assert tape.records == 0
