"""Modes that a block of code forces for a while: of a net's modules, of torch's threads."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fftune.config import Device
from fftune.errors import DeviceError


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Put every submodule in eval mode inside the block, and in its former mode after it.

    One BatchNorm left in train mode lets an example's prediction depend on its neighbours.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


def freeze(model: nn.Module) -> nn.Module:
    """The net itself, none of whose parameters learns; `requires_grad_` scripted nets lack."""
    for parameter in model.parameters():
        parameter.requires_grad = False
    return model


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """No parameter takes part in gradients inside the block, which then are of inputs alone."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    freeze(model)
    try:
        yield model
    finally:
        for parameter, learns in before:
            parameter.requires_grad = learns


@contextmanager
def placed(model: nn.Module, device: str) -> Iterator[nn.Module]:
    """The net on a device inside the block, and after it where it was before."""
    tensors = (*model.parameters(), *model.buffers())
    before = {tensor.device for tensor in tensors}
    try:
        yield model.to(device)
    finally:
        if len(before) == 1:
            model.to(before.pop())


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch on `count` CPU threads inside the block: other counts give other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_of(device: Device) -> str:
    """The device of a setting: `auto` is CUDA if torch sees it.

    Raises:
        DeviceError: CUDA was asked for, and torch cannot use it; the line says why.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device must be one that torch sees; {_why_no_cuda()}")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _why_no_cuda() -> str:
    """The reason why torch cannot use CUDA: no device, no driver, or one that is too old."""
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        if old := re.search(r"too old \(found version (\d+)\)", str(error)):
            found = int(old[1])
            has = f"{found // 1000}.{found % 1000 // 10}"
            return (
                f"the NVIDIA driver is too old: it knows CUDA {has}, torch {torch.__version__} was "
                f"built for {torch.version.cuda}; update the driver, or install a torch for {has}"
            )
        if "no NVIDIA driver" in str(error):
            return "there is no NVIDIA driver, and no CUDA device"
    return "there is no CUDA device"
