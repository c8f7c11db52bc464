"""Random functions over random calls: captured and plain agree, whatever order shapes come in."""

import sys

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD

from fftune.capture import captured, use
from fftune.capture.store import Store
from fftune.capture.tape import Tape

UNARY = {
    "sin": torch.sin,
    "sign": torch.sign,
    "softmax": lambda x: x.softmax(1),
    "flip": lambda x: x.flip(0),
    "sorted": lambda x: x.sort(1).values,
    "view": lambda x: x.t().reshape(x.shape),
    "positive": lambda x: torch.where(x > 0, x, 0.5),
    "kept": lambda x: x.clone().mul_(2),
    "best": lambda x: torch.zeros_like(x).scatter_(1, x.argmax(1, keepdim=True), 1.0),
}
BINARY = {
    "add": torch.add,
    "mul": torch.mul,
    "least": torch.minimum,
    "matmul": lambda x, y: (x @ y.t()) @ y,
    "choice": lambda x, y: torch.where(x > y, x, y),
}
NAMES = st.lists(st.sampled_from([*UNARY, *BINARY, "net", "slope", "grow"]), min_size=1, max_size=6)
CALLS = st.lists(
    st.tuples(
        st.integers(1, 3),  # rows
        st.integers(0, 2**16),  # seed of values
        st.sampled_from((0.5, 2, True)),
        st.sampled_from(("none", "refresh", "move", "no_grad", "train", "eval")),
    ),
    min_size=4,
    max_size=14,
)


@captured
def program(
    net: nn.Module, x: Tensor, others: tuple[Tensor, ...], names: tuple[str, ...], scale: float
) -> dict[str, Tensor]:
    start = x
    for name in names:
        if name in UNARY:
            x = UNARY[name](x)
        elif name in BINARY:
            x = BINARY[name](x, others[0])
        elif name == "net":
            x = net(x).detach()
        elif name == "grow":
            with torch.no_grad():
                net.weight.mul_(1.01)
        else:
            with torch.enable_grad():
                leaf = x.detach().requires_grad_(True)
                (x,) = torch.autograd.grad((net(leaf) ** 2).sum(), leaf)
    return {"x": x * scale, "sum": x.sum(), "start": start}


def run(recorder: Tape | None, names: list[str], calls: list[tuple]) -> list[Tensor]:
    torch.manual_seed(0)
    net, found = nn.Linear(4, 4), []
    with use(recorder):
        for rows, seed, scale, event in calls:
            if event == "refresh":
                net.weight.data.add_(0.1)
            elif event == "move":
                net.bias.data = net.bias.data * 0.5
            elif event in ("train", "eval"):
                net.train(event == "train")
            rng = torch.Generator().manual_seed(seed)
            x, other = (torch.randn(rows, 4, generator=rng) for _ in range(2))
            with torch.set_grad_enabled(event != "no_grad"):
                found += program(net, x, (other,), tuple(names), scale).values()
    return [*found, net.weight.detach().clone()]


@settings(max_examples=60, deadline=None)
@given(names=NAMES, calls=CALLS)
def test_captured_programs_give_the_bits_of_plain_ones(names: list[str], calls) -> None:
    room = sys.modules["fftune.capture.captured"]
    room._STORE = Store()  # hypothesis calls one test many times
    calls = [call for call in calls for _ in range(2)] + calls
    for got, expected in zip(run(Tape(), names, calls), run(None, names, calls), strict=True):
        assert torch.equal(got, expected)


STEPS = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from((0.1, 0.2)), st.booleans()),
    min_size=5,
    max_size=12,
)


@captured
def step(net: nn.Module, optimizer: SGD, x: Tensor, *, to_none: bool) -> Tensor:
    optimizer.zero_grad(set_to_none=to_none)
    loss = net(x).tanh().mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, nesterov=st.booleans(), fused=st.booleans())
def test_captured_steps_leave_the_bits_of_plain_ones(steps, nesterov, fused) -> None:
    sys.modules["fftune.capture.captured"]._STORE = Store()

    def weights(recorder: Tape | None) -> Tensor:
        torch.manual_seed(0)
        net = nn.Linear(4, 2)
        optimizer = SGD(net.parameters(), 0.1, momentum=0.9, nesterov=nesterov, fused=fused)
        with use(recorder):
            for i, (rows, lr, to_none) in enumerate(steps + steps):
                optimizer.param_groups[0]["lr"] = lr
                step(net, optimizer, torch.full((rows, 4), float(i % 4)), to_none=to_none)
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    assert torch.equal(weights(Tape()), weights(None))
