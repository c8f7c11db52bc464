"""CUDA graphs: the recorder of NVIDIA's devices."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor


class CudaGraphs:
    """Records into graphs that share a pool: none needs what another has left there."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, call: Callable[[], Any]) -> Any:
        """Run on the stream that records; see `Recorder.warm`."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = call()
        # What was allocated there is not given away again before this stream is waited for.
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def record(
        self, call: Callable[[], Any], persistent: Sequence[Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, Any]:
        """Record a graph; see `Recorder.record`."""
        del persistent  # a graph reads whatever lies at its addresses
        graph = torch.cuda.CUDAGraph()
        # Threads that feed the device go on meanwhile: they take memory, and ask for events.
        mode = "thread_local"
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode=mode):
            result = call()
        return graph, result


@cache
def cuda_recorder() -> CudaGraphs:
    """The one recorder of this process."""
    return CudaGraphs()
