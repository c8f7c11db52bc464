"""Weights between two nets, as model soups have them (Wortsman et al. 2022; Rame et al. 2023)."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fftune.config import Augmentation, TrainConfig
from fftune.models import device_of
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.phases import open_stream


def blended(first: Checkpoint, second: Checkpoint, share: float) -> Checkpoint:
    """The net whose weights lie between those of two nets, its BatchNorm measured again.

    It is worth something where `second` was fine-tuned from `first`: between nets that were
    trained apart lies a wall.

    Args:
        share: of the way from `first` to `second`, in [0, 1]; the ends are the nets as they are.
    """
    if share in (0, 1):
        return second if share else first
    net = copy.deepcopy(second.model)
    ends = dict(first.model.named_parameters())
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.copy_(torch.lerp(ends[name], weight, share))
    measure_norms(net, second.config)
    return replace(second, model=net.eval())


def measure_norms(net: nn.Module, config: TrainConfig) -> None:
    """Give BatchNorms the statistics of all training images, clean and as they are stored.

    Means are over batches of the training's size, each of equal weight but for the last one's.
    """
    device = device_of(config.device)
    plain = replace(config, augmentation=Augmentation())
    stream = open_stream(plain, ProcessGroup(), device=device)
    net.to(device).eval()
    with _measuring(net), torch.no_grad():
        for _, x, _ in stream.batches(1):
            net(x)


@contextmanager
def _measuring(net: nn.Module) -> Iterator[None]:
    """BatchNorms begin anew inside the block, and average what they see with equal weights."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
