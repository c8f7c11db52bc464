"""Floating-point operations of one pass of a net, counted without computing anything."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fftune.config import InputSpec, TrainConfig
from fftune.errors import ModelError
from fftune.models import frozen, make_model
from fftune.user_code import answering

log = logging.getLogger(__name__)
EXAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """Operations of one example, 2 a multiplication with addition; products alone are counted."""

    forward: float
    craft: float
    """A forward pass and the gradient of the image, on a frozen net."""
    joint: float
    """A forward pass and the gradient of the weights."""


def flops_of(config: TrainConfig, inputs: InputSpec) -> Flops:
    """Count the operations of the net of a training, for images of these inputs.

    Raises:
        ModelError: the net cannot be asked with tensors that hold no numbers.
    """
    model = make_model(config.model, inputs, width=config.width, constants=config.constants)
    what = f"operations of model {config.model!r}"
    try:
        with answering(f"model {config.model!r}"):
            return count(lambda: model, inputs.shape)
    except ModelError:  # the net ends the program
        raise
    except Exception as error:  # whatever the user's code raises
        log.debug("flops of %s", config.model, exc_info=True)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{what} cannot be counted: {reason}") from error


def count(build: Callable[[], nn.Module], image: tuple[int, ...]) -> Flops:
    """Count the operations of a net on one image (C, H, W).

    Its tensors, and the weights of a net that is built only now, have shapes and no numbers.
    """
    shape = (EXAMPLES, *image)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build().eval()
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            model(torch.empty(shape))
        if not forward.get_total_flops():
            raise ValueError("it multiplies no matrices")
        with frozen(model), FlopCounterMode(display=False) as craft:
            model(torch.empty(shape, requires_grad=True)).sum().backward()
        with FlopCounterMode(display=False) as joint:
            model(torch.empty(shape)).sum().backward()
    each = (mode.get_total_flops() / EXAMPLES for mode in (forward, craft, joint))
    return Flops(**dict(zip(("forward", "craft", "joint"), each, strict=True)))
