"""The recorder of CUDA graphs against a device that is made up: its order, and how it recovers."""

import logging
import threading
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from fftune.capture import cuda_graphs
from fftune.capture.cuda_graphs import CudaGraphs, cuda_recorder

DEVICE = torch.device("cuda", 0)


class FakeCuda:
    """Streams, graphs and pools by name; what happens is written down."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        self.current, self.pools, self.mode, self.reserved = FakeStream(self, "main"), 0, 0, 0
        self.broken = self.capturing = False
        for name in ("graph_pool_handle", "current_stream", "set_stream", "synchronize", "graph"):
            patch.setattr(torch.cuda, name, getattr(self, name))
        patch.setattr(torch.cuda, "Stream", lambda _: FakeStream(self, "side"))
        patch.setattr(torch.cuda, "CUDAGraph", self.new_graph)
        patch.setattr(torch.cuda, "stream", self.on)
        patch.setattr(torch.cuda, "device", self.nothing)
        patch.setattr(torch.cuda, "memory_reserved", lambda _: self.reserved)
        patch.setattr(torch.cuda, "get_sync_debug_mode", lambda: self.mode)
        patch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: setattr(self, "mode", mode))
        memory = SimpleNamespace(total_memory=1000)
        patch.setattr(torch.cuda, "get_device_properties", lambda _: memory)
        patch.setattr(torch._C, "_cuda_endAllocateToPool", self.end_pool, raising=False)
        patch.setattr(torch, "zeros", lambda *_, **__: self.happened.append("probe"))

    def new_graph(self) -> SimpleNamespace:
        return SimpleNamespace(replay=lambda: None, reset=self.reset)

    def reset(self) -> None:
        assert not self.capturing
        self.happened.append("reset")

    def graph_pool_handle(self) -> tuple[int, int]:
        self.pools += 1
        return (0, self.pools)

    def current_stream(self, _: object) -> "FakeStream":
        return self.current

    def set_stream(self, stream: "FakeStream") -> None:
        self.current = stream

    def synchronize(self, _: object) -> None:
        assert not self.capturing
        self.happened.append("synchronize")

    def end_pool(self, index: int, pool: tuple[int, int]) -> None:
        self.happened.append(f"end pool {pool[1]} of {index}")
        raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    @contextmanager
    def nothing(self, _: object):
        yield

    @contextmanager
    def on(self, stream: "FakeStream"):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph, *, pool, stream, capture_error_mode):
        """As torch's: where its end raises, its stream stays the current one."""
        assert capture_error_mode == "thread_local"
        before, self.current, self.capturing = self.current, stream, True
        self.happened.append(f"capture in {pool[1]}")
        try:
            yield
        finally:
            self.capturing = False
            if self.broken:
                self.broken = False
                raise RuntimeError("operation failed due to a previous error during capture")
            self.current = before


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: "FakeStream") -> None:
        self.cuda.happened.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def cuda(monkeypatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def test_a_call_before_a_recording_runs_between_two_waits(cuda: FakeCuda) -> None:
    recorder = CudaGraphs(DEVICE)

    def call() -> str:
        cuda.happened.append(f"run on {cuda.current.name}")
        assert cuda.mode == "warn"
        return "result"

    assert recorder.warm(call) == ("result", "")
    assert cuda.happened == ["side waits for main", "run on side", "main waits for side"]
    assert cuda.current.name == "main" and cuda.mode == 0


def test_a_call_that_fails_leaves_the_streams_in_order(cuda: FakeCuda) -> None:
    def call() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        CudaGraphs(DEVICE).warm(call)
    assert cuda.happened[-1] == "main waits for side" and cuda.mode == 0


def test_a_call_that_waits_for_the_device_is_found_out(cuda: FakeCuda) -> None:
    def call() -> int:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something of the net's", stacklevel=1)
        return 3

    def elsewhere() -> None:
        thread = threading.Thread(
            target=lambda: warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        )
        thread.start()
        thread.join()

    with pytest.warns(UserWarning, match="something of the net's") as told:
        result, objection = CudaGraphs(DEVICE).warm(call)
    assert result == 3 and "it waits for the device" in objection and __file__ in objection
    assert len(told) == 1
    assert CudaGraphs(DEVICE).warm(elsewhere) == (None, "")


def test_what_torch_says_of_its_mode_is_not_passed_on(cuda: FakeCuda, monkeypatch) -> None:
    says = "Synchronization debug mode is a prototype feature and does not yet detect all"
    monkeypatch.setattr(
        torch.cuda, "set_sync_debug_mode", lambda _: warnings.warn(says, stacklevel=1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CudaGraphs(DEVICE).warm(lambda: 3) == (3, "")


def test_graphs_share_a_pool_as_long_as_one_lives(cuda: FakeCuda) -> None:
    recorder = CudaGraphs(DEVICE)
    kept = [recorder.record(lambda: 1, (), ())[0] for _ in range(3)]
    pools = [line for line in cuda.happened if line.startswith("capture")]
    assert len(set(pools)) == 1
    del kept[1:]
    recorder.record(lambda: 1, (), ())
    assert cuda.happened[-1] == pools[0]
    kept.clear()  # torch refuses the pool of a graph that was its last
    recorder.record(lambda: 1, (), ())
    assert cuda.happened[-1] != pools[0]


def test_the_memory_that_a_graph_takes_is_known(cuda: FakeCuda) -> None:
    recorder = CudaGraphs(DEVICE)

    def call() -> None:
        cuda.reserved += 40

    assert recorder.record(call, (), ())[0].bytes == 40
    assert recorder.room == 500


def test_a_recording_that_breaks_off_leaves_the_device_usable(cuda: FakeCuda) -> None:
    recorder = CudaGraphs(DEVICE)
    kept = recorder.record(lambda: 1, (), ())[0]
    first = recorder.pool

    def call() -> None:
        cuda.broken = True
        raise RuntimeError("cannot copy between CPU and CUDA tensors during capture")

    with pytest.raises(RuntimeError, match="previous error") as raised:
        recorder.record(call, (), ())
    assert "cannot copy" in str(raised.value.__context__)
    assert cuda.current.name == "main"
    # What was begun is freed before the next recording, which it could break off.
    assert cuda.happened[2:4] == ["reset", "synchronize"]
    assert cuda.happened[4:6] == [f"end pool {first[1]} of 0", "capture in 3"]
    assert "probe" in cuda.happened  # a recording that ends well, after which generators draw
    recorder.record(lambda: 1, (), ())
    assert cuda.happened[-1] != f"capture in {first[1]}" and kept.graph is not None


def test_a_cuda_that_cannot_record_is_told_of_once(cuda: FakeCuda, monkeypatch, caplog) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA graphs may only be used in Pytorch built with CUDA >= 11.0\nmore")

    monkeypatch.setattr(torch.cuda, "graph", refuses)
    cuda_recorder.cache_clear()
    with caplog.at_level(logging.INFO, logger=cuda_graphs.__name__):
        assert cuda_recorder(DEVICE) is None
        assert cuda_recorder(DEVICE) is None
    assert len(caplog.messages) == 1 and "CUDA >= 11.0" in caplog.messages[0]
    assert "more" not in caplog.messages[0]
    cuda_recorder.cache_clear()
