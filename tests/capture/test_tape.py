"""The tape sees whatever would break a CUDA graph, and replays the rest to the bit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.capture import UnrecordableError
from fftune.capture.tape import Tape

FOREIGN = torch.arange(6.0)


def record(function: Callable[..., object], *inputs: Tensor, weights: tuple[Tensor, ...] = ()):
    return Tape().record(lambda: function(*inputs), weights, inputs)


FORBIDDEN: dict[str, tuple[str, Callable[[Tensor], object]]] = {
    "item": ("item asks the host", lambda x: x.sum().item()),
    "float": ("__float__ asks the host", lambda x: float(x.sum())),
    "int": ("__int__ asks the host", lambda x: int(x.sum())),
    "bool": ("__bool__ asks the host", lambda x: bool(x.any())),
    "if": ("__bool__ asks the host", lambda x: x * 2 if x.sum() > 0 else x),
    "index as a number": ("__index__ asks the host", lambda x: list(range(6))[x.long()[1]]),
    "slice by a tensor": ("asks the host", lambda x: x[: x.long()[2]]),
    "in": ("asks the host", lambda x: 3.0 in x),
    "tolist": ("tolist asks the host", lambda x: x.tolist()),
    "numpy": ("numpy asks the host", lambda x: x.numpy()),
    "array": ("asks the host", lambda x: np.asarray(x)),
    "cpu": ("cpu asks the host", lambda x: x.cpu()),
    "to cpu": ("to asks the host", lambda x: x.to("cpu")),
    "print": ("asks the host", lambda x: f"{x.sum():.2f}"),
    "equal": ("equal asks the host", lambda x: torch.equal(x, x + 1)),
    "allclose": ("allclose asks the host", lambda x: torch.allclose(x, x)),
    "tensor": ("lift_fresh asks the host", lambda x: x + torch.tensor([1.0])),
    "new_tensor": ("lift_fresh asks the host", lambda x: x + x.new_tensor(1.0)),
    "list as an index": ("lift_fresh asks the host", lambda x: x[[1, 2]]),
    "from_numpy": ("lift_fresh asks the host", lambda x: x + torch.from_numpy(np.ones(6))),
    "frombuffer": (
        "no argument",
        lambda x: x + torch.frombuffer(bytearray(24), dtype=torch.float32),
    ),
    "solve": (
        "_linalg_check_errors asks the host",
        lambda x: torch.linalg.solve(torch.eye(2), x[:2]),
    ),
    "nonzero": ("nonzero: its shape depends on data", lambda x: x.nonzero()),
    "mask as an index": ("index by a mask", lambda x: x[x > 2]),
    "mask to set": ("asks the host|by a mask", lambda x: x.clone().__setitem__(x > 2, 0.0)),
    "index_put_ by a mask": (
        "index_put_ by a mask",
        lambda x: x.clone().index_put_((x > 2,), x[0]),
    ),
    "masked_select": ("masked_select: its shape", lambda x: x.masked_select(x > 2)),
    "unique": ("_unique2: its shape", lambda x: x.unique()),
    "unique_consecutive": ("unique_consecutive: its shape", lambda x: x.unique_consecutive()),
    "unique rows": ("unique_dim: its shape", lambda x: x.view(3, 2).unique(dim=0)),
    "bincount": ("bincount: its shape", lambda x: x.long().bincount()),
    "repeat by a tensor": ("repeat_interleave: its shape", lambda x: x.repeat_interleave(x.long())),
    "set_": ("set_ lets a tensor lie elsewhere", lambda x: (x + 1).set_(x + 2)),
    "resize_": ("resize_ lets a tensor lie elsewhere", lambda x: (x + 1).resize_(12)),
    "data": ("data are set", lambda x: setattr(x + 1, "data", x)),
    "foreign": (r"add reads a tensor of \(6,\) that is no argument", lambda x: x + FOREIGN),
    "view of a foreign one": ("no argument", lambda x: x[:3] + FOREIGN[1:4]),
    "in place": ("add_ changes an argument in place", lambda x: x.add_(1)),
    "view in place": ("mul_ changes an argument in place", lambda x: x[1:].mul_(2)),
    "list in place": (
        "_foreach_add_ changes an argument in place",
        lambda x: torch._foreach_add_([x], 1.0),
    ),
    "out=": ("add changes an argument in place", lambda x: torch.add(x, 1, out=x)),
    "another device": ("another device", lambda x: x.to("meta")),
    "own generator": ("a generator of its own", lambda x: x + torch.rand(6, generator=RNG)),
}
RNG = torch.Generator()


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_no_graph_can_hold_is_refused(name: str) -> None:
    reason, function = FORBIDDEN[name]
    with pytest.raises(UnrecordableError, match=reason):
        record(function, torch.arange(6.0))


ALLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "arithmetic": lambda x: (x * 2 + 1).relu() / 3,
    "numbers": lambda x: torch.where(x > 2, 1.0, x) * np.float32(2),
    "constants": lambda x: x + torch.arange(6) * torch.full((6,), 2.0) + torch.eye(6)[0],
    "views": lambda x: x.view(2, 3).t().contiguous()[1:].flatten().flip(0),
    "index by a tensor": lambda x: x[x.long().clamp(0, 5)],
    "mask without a shape": lambda x: x.masked_fill(x > 2, 7.0),
    "sort and best": lambda x: x.sort(descending=True).values + x.topk(1).values,
    "scatter": lambda x: torch.zeros(6).scatter(0, x.long() % 6, x),
    "repeat by a number": lambda x: x.repeat_interleave(3)[::3],
    "chunks": lambda x: sum(x.chunk(3)),
    "own copy in place": lambda x: x.clone().mul_(2).clamp_(0, 5),
    "own list in place": lambda x: _stepped([x + 1, x + 2]),
    "sums of bools": lambda x: (x > 2).sum(0, keepdim=True) + x,
    "gradient": lambda x: torch.autograd.grad(_leaf(x).sin().sum(), LEAF)[0],
    "empty": lambda x: torch.cat([x[:0], x]),
    "metadata": lambda x: x.reshape(len(x), -1).squeeze(1) * x.numel() + x.dim(),
}
LEAF: list[Tensor] = []


def _leaf(x: Tensor) -> Tensor:
    LEAF[:] = [x.detach().requires_grad_(True)]
    return LEAF[0]


def _stepped(lists: list[Tensor]) -> Tensor:
    torch._foreach_mul_(lists, 0.5)
    return lists[0] + lists[1]


@pytest.mark.parametrize("name", ALLOWED)
def test_a_replay_gives_the_bits_of_a_call(name: str) -> None:
    function, x = ALLOWED[name], torch.arange(6.0)
    track, out = record(function, x)
    track.replay()
    assert torch.equal(out.detach(), function(x.clone()).detach())
    for seed in range(3):
        x.copy_(torch.rand(6, generator=torch.Generator().manual_seed(seed)) * 5)
        track.replay()
        assert torch.equal(out.detach(), function(x.clone()).detach())


def test_the_first_replay_is_the_run_that_was_recorded() -> None:
    total, x = torch.zeros(1), torch.ones(1)
    track, out = record(lambda x: total.add_(x) * 1, x, weights=(total,))
    track.replay()
    assert (total.item(), out.item()) == (1, 1)
    track.replay()
    assert (total.item(), out.item()) == (2, 2)


def test_weights_may_be_read_and_changed() -> None:
    weight, x = torch.ones(3), torch.arange(3.0)
    track, out = record(lambda x: weight.mul_(2) + x, x, weights=(weight,))
    for i in range(3):
        track.replay()
        assert torch.equal(weight, torch.full((3,), 2.0 ** (i + 1)))
        assert torch.equal(out, weight + x)


def test_a_recording_that_fails_leaves_weights_and_draws_as_they_were() -> None:
    weight, x = torch.ones(3), torch.ones(3)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)

    def fails(x: Tensor) -> Tensor:
        weight.add_(torch.rand(3))
        return x if weight.sum() > 0 else -x

    with pytest.raises(UnrecordableError):
        record(fails, x, weights=(weight,))
    assert torch.equal(weight, torch.ones(3)) and torch.equal(torch.rand(3), expected)


def test_draws_go_on_from_replay_to_replay() -> None:
    x = torch.ones(1000)
    torch.manual_seed(3)
    expected = [F.dropout(x, 0.5) for _ in range(3)]
    torch.manual_seed(3)
    track, out = record(lambda x: F.dropout(x, 0.5), x)
    for one in expected:
        track.replay()
        assert torch.equal(out, one)


def test_replays_under_autocast_cast_nothing_again() -> None:
    net, x = nn.Linear(4, 4).requires_grad_(False), torch.rand(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        track, out = record(lambda x: F.softmax(net(x), 1) @ x.t(), x, weights=(*net.parameters(),))
        torch.clear_autocast_cache()
        track.replay()
        for _ in range(3):
            x.uniform_()
            track.replay()
            expected = F.softmax(net(x), 1) @ x.t()
            assert out.dtype == expected.dtype and torch.equal(out, expected)


def test_a_user_error_is_not_turned_into_another() -> None:
    def fails(x: Tensor) -> Tensor:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        record(fails, torch.ones(1))
