"""A function that cannot be recorded runs, and says once why."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fftune.capture import captured, forget
from fftune.capture.store import REST
from fftune.capture.tape import Tape
from tests.capture.recorded_nets import batch, logits, scaled, small_net

TABLE = torch.arange(3.0)


class Counting(nn.Module):
    """Net that counts its calls in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 2


class Keeping(nn.Module):
    """Net that keeps its last features, and a mean of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.zeros(())
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.features = x * 2
        return self.features


class Running(Keeping):
    """Net that puts a new tensor in the place of its buffer."""

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.5 * self.mean + 0.5 * x.mean()
        return x - self.mean


class Waiting(nn.Module):
    """Net that branches on data."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x * 3


class Closed(nn.Module):
    """Module that says of itself that it is not to be recorded."""

    recordable = False

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Outer(nn.Module):
    """A net of which a part cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Closed()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


@captured
def net_of(net: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = net(x)
    return out


@captured
def table(x: Tensor) -> Tensor:
    return x + TABLE


@captured
def changes(x: Tensor) -> Tensor:
    return x.add_(1)


def messages(caplog, run: Callable[[], object], times: int = 8) -> list[str]:
    with caplog.at_level("INFO", logger="fftune.capture"):
        for _ in range(times):
            run()
    return [r.getMessage() for r in caplog.records if r.levelname == "INFO"]


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Waiting(), "__bool__ asks the host"),
        (Counting(), "it makes calls of its net or optimizer anew"),
        (Keeping(), "it makes features of its net or optimizer anew"),
        (Running(), "it makes mean of its net or optimizer anew"),
        (Closed(), "what Closed answers depends on more than tensors"),
        (Outer(), "what Closed answers depends on more than tensors"),
    ],
)
def test_nets_that_cannot_be_recorded_are_run(net: nn.Module, reason, tape, caplog) -> None:
    x = torch.tensor([1.0, -2.0, 3.0])
    mine, other = [], type(net)()
    said = messages(caplog, lambda: mine.append(net_of(net, x)))
    assert all(map(torch.equal, mine, [other(x) for _ in mine]))
    assert {
        k: str(v) for k, v in net.__dict__.items() if k in ("calls", "features", "_buffers")
    } == {k: str(v) for k, v in other.__dict__.items() if k in ("calls", "features", "_buffers")}
    assert said == [f"net_of runs unrecorded: {reason}"]
    assert tape.replays == 0


def test_each_net_has_its_line(tape, caplog) -> None:
    nets, x = [Waiting(), Waiting()], torch.ones(3)
    assert len(messages(caplog, lambda: [net_of(net, x) for net in nets])) == 2


@pytest.mark.parametrize(
    ("call", "expected", "reason"),
    [
        (lambda: table(torch.ones(3)), TABLE + 1, "reads a tensor of (3,) that is no argument"),
        (lambda: changes(torch.ones(3)), torch.full((3,), 2.0), "changes an argument in place"),
        (
            lambda: scaled(torch.ones(3, requires_grad=True), 2),
            torch.full((3,), 2.0),
            "an argument requires grad",
        ),
        (
            lambda: net_of(nn.Linear(1, 1, bias=False).requires_grad_(), torch.zeros(1, 1)),
            torch.zeros(1, 1),
            "returns a tensor that requires grad",
        ),
    ],
)
def test_calls_that_cannot_be_recorded_are_run(call, expected, reason, tape, caplog) -> None:
    kept: list[Tensor] = []  # a net that lives on is one net
    net = nn.Linear(1, 1, bias=False)
    run = call if "returns" not in reason else lambda: net_of(net, torch.zeros(1, 1))
    said = messages(caplog, lambda: kept.append(run()))
    assert all(torch.equal(got, expected) for got in kept)
    assert len(said) == 1 and reason in said[0]


def test_a_gradient_goes_through_a_call_whose_argument_requires_it(tape: Tape) -> None:
    for _ in range(5):
        x = torch.ones(3, requires_grad=True)
        scaled(x, 2).sum().backward()
        assert torch.equal(x.grad, torch.full((3,), 2.0))


def test_a_setting_that_cannot_be_hashed_is_no_error(tape: Tape, caplog) -> None:
    class Setting:
        __hash__ = None  # type: ignore[assignment]

        def __rmul__(self, x: Tensor) -> Tensor:
            return x * 2

    said = messages(caplog, lambda: scaled(torch.ones(2), Setting()))
    assert len(said) == 1 and "a setting cannot be told from others" in said[0]


def test_an_error_of_the_function_comes_out_as_it_is(tape: Tape, store, caplog) -> None:
    net, (x, _) = small_net().eval(), batch(4)
    for i in range(4):
        with pytest.raises(RuntimeError, match="size"):
            logits(net, x[:, :1])
        if i < 3:
            logits(net, x)
    assert not store.plain and not caplog.messages
    assert torch.equal(logits(net, x), net(x)) and tape.records == 1


class Tight(Tape):
    """Tape that has no memory for a recording as long as it is told so."""

    full = False

    def record(self, call, persistent, inputs):
        if not self.full:
            return super().record(call, persistent, inputs)
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except torch.OutOfMemoryError:
            raise RuntimeError("the capture ended badly")  # noqa: B904 - as torch's exit does


def test_without_memory_all_recordings_go_and_a_later_one_is_tried(store, caplog) -> None:
    from fftune.capture import use

    tape, x = Tight(), torch.ones(3)
    with use(tape), caplog.at_level("INFO", logger="fftune.capture"):
        for _ in range(4):
            scaled(x, 2)
        assert len(store.recordings) == 1
        tape.full = True
        for _ in range(3):
            assert torch.equal(scaled(x, 3), x * 3)
        assert not store.recordings and not store.plain
        tape.full = False
        for _ in range(REST + 2):
            scaled(x, 3)
        assert not store.recordings
        scaled(x, 3)
        assert len(store.recordings) == 1
    assert [r.getMessage() for r in caplog.records if r.levelname == "INFO"] == [
        "scaled runs unrecorded: memory ran out; all recordings are dropped"
    ]


def test_a_call_that_runs_out_of_memory_frees_all_recordings(tape: Tape, store) -> None:
    @captured
    def greedy(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for _ in range(3):
        scaled(torch.ones(2), 2)
    assert store.recordings
    with pytest.raises(torch.OutOfMemoryError):
        greedy(torch.ones(2))
    assert not store.recordings


class Objecting(Tape):
    """Tape that objects to the first calls, as CUDA does to a function that waits for it."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def warm(self, call):
        self.times -= 1
        return call(), "it waits" if self.times >= 0 else ""


@pytest.mark.parametrize(("times", "records"), [(0, 1), (1, 1), (2, 1), (3, 0)])
def test_an_objection_counts_where_it_comes_again(times, records, store, caplog) -> None:
    from fftune.capture import use

    tape = Objecting(times)
    with use(tape):
        said = messages(caplog, lambda: scaled(torch.ones(2), 2), times=9)
    assert tape.records == records
    assert said == (["scaled runs unrecorded: it waits"] if not records else [])


def test_what_was_given_up_is_tried_again_once_the_net_is_forgotten(tape: Tape, store) -> None:
    net, x = Waiting(), torch.ones(3)
    for _ in range(4):
        net_of(net, x)
    assert len(store.plain) == 1
    forget(net)
    assert not store.plain
