"""CUDA graphs: the recorder of NVIDIA's devices."""

import gc
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

log = logging.getLogger(__name__)

SHARE = 0.5
"""Share of a device's memory that recordings may take."""
_WAITS = "called a synchronizing CUDA operation"
_PROTOTYPE = "Synchronization debug mode is a prototype"
"""What torch says once of the mode that makes it warn."""


class Graph:
    """A recorded CUDA graph."""

    def __init__(self, graph: torch.cuda.CUDAGraph, grown: int) -> None:
        self.graph, self.bytes = graph, grown

    def replay(self) -> None:
        """Launch it on the current stream."""
        self.graph.replay()


class CudaGraphs:
    """Records into graphs of one device that share memory: none needs what another left there.

    Replays follow each other on one stream, and outputs are copied before the next.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        self.alive: WeakSet[Graph] = WeakSet()
        self.room = SHARE * torch.cuda.get_device_properties(device).total_memory

    def warm(self, call: Callable[[], Any]) -> tuple[Any, str]:
        """Run on the stream that records; see `Recorder.warm`.

        A function that waits for the device is found out here, by torch's own warning: nothing is
        left half done, as a recording that was broken off would leave it.
        """
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with _watched() as waits:
            try:
                with torch.cuda.stream(self.stream):
                    result = call()
            finally:
                # What was allocated there is not given away again before this stream is waited for.
                current.wait_stream(self.stream)
        return result, f"it waits for the device ({waits[0]})" if waits else ""

    def record(
        self, call: Callable[[], Any], persistent: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> tuple[Graph, Any]:
        """Record a graph; see `Recorder.record`."""
        del persistent, inputs  # a graph reads whatever lies at its addresses
        if not self.alive:  # torch gives a pool up with its last graph
            self.pool = torch.cuda.graph_pool_handle()
        try:
            return self._record(call)
        except BaseException:
            self._recover()
            raise

    def _record(self, call: Callable[[], Any]) -> tuple[Graph, Any]:
        current, graph = torch.cuda.current_stream(self.device), torch.cuda.CUDAGraph()
        # "thread_local": other threads may go on loading data meanwhile.
        capture = torch.cuda.graph(
            graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
        )
        try:
            with _uncollected(), torch.cuda.device(self.device), capture:
                before = torch.cuda.memory_reserved(self.device)
                result = call()
                grown = torch.cuda.memory_reserved(self.device) - before
        except BaseException:
            # Freed with its traceback, it could break off another recording that is under way.
            with suppress(RuntimeError):
                graph.reset()
            raise
        finally:
            # A capture whose end raises leaves its own stream the current one.
            torch.cuda.set_stream(current)
        made = Graph(graph, grown)
        self.alive.add(made)
        return made, result

    def _recover(self) -> None:
        """Make the device usable again after a recording that was broken off.

        Before torch 2.13 such a one keeps its pool under way, and generators in the state of
        recording, until the next one ends well.
        """
        # What is still recording forbids waiting, and its stream is given up.
        with suppress(RuntimeError):
            torch.cuda.synchronize(self.device)
        self.stream = torch.cuda.Stream(self.device)
        index = torch.cuda.current_device() if self.device.index is None else self.device.index
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(index, self.pool)
        self.pool = torch.cuda.graph_pool_handle()
        self.alive.clear()
        self._record(self.probe)

    def probe(self) -> Tensor:
        """The least that can be recorded."""
        return torch.zeros(1, device=self.device)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave cyclic garbage alone: a dead net's graph, freed in a recording, would break it off."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _watched() -> Iterator[list[str]]:
    """List the places of this thread that wait for the device, as torch warns of them."""
    waits: list[str] = []
    mode, here = torch.cuda.get_sync_debug_mode(), threading.get_ident()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def sift(
            message: Any,
            category: Any,
            filename: str,
            lineno: int,
            file: Any = None,
            line: Any = None,
        ) -> None:
            if _WAITS not in str(message):
                show(message, category, filename, lineno, file, line)
            elif threading.get_ident() == here:  # a loader of data may wait meanwhile
                waits.append(f"{filename}:{lineno}")

        warnings.filterwarnings("always", message=_WAITS)
        warnings.filterwarnings("ignore", message=_PROTOTYPE)
        warnings.showwarning = sift
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(mode)


@cache
def cuda_recorder(device: torch.device) -> CudaGraphs | None:
    """The one recorder of a device in this process; None, with a line in the log: it has none."""
    try:
        recorder = CudaGraphs(device)
        recorder.warm(recorder.probe)  # else its kernel would be loaded in the recording
        recorder.record(recorder.probe, (), ())[0].replay()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        log.info("CUDA %s records no graphs, functions run: %s", torch.version.cuda, reason)
        return None
    return recorder
