"""The processes that train one net together, and how they communicate."""

import logging
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """This process's rank among `size` processes; alone, nothing is communicated."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "ProcessGroup":
        """The group that torch.distributed has been set up with, or a process alone."""
        if not dist.is_initialized():
            return cls()
        return cls(rank=dist.get_rank(), size=dist.get_world_size())

    @property
    def leads(self) -> bool:
        """True in the process that logs and writes for all."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def leaders(self, value: T) -> T:
        """The leading process's value, in every process."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box)
        return box[0]  # type: ignore[no-any-return]

    def wrap(self, model: nn.Module, device: str) -> nn.Module:
        """The net whose backward averages gradients over all processes.

        BatchNorm's statistics are those of all processes on CUDA, and of each alone on the CPU,
        where torch has no synchronised BatchNorm.
        """
        if self.size == 1:
            return model
        if self.leads and any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()
        ):
            whose = "each process alone" if device == "cpu" else "all processes"
            log.info("BatchNorm takes the statistics of %s", whose)
        if device != "cpu":
            return DistributedDataParallel(
                nn.SyncBatchNorm.convert_sync_batchnorm(model),
                device_ids=[torch.cuda.current_device()],
            )
        return DistributedDataParallel(model)
