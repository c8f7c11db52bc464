"""Nets by name, with normalisation inside: they take images in [0, 1] and return logits."""

from collections.abc import Callable

import torch
from torch import nn

from fftune.config import Constants, InputSpec, ModelSpec, nearest, require
from fftune.errors import ConfigError, ModelError
from fftune.models.adapter import adapted
from fftune.models.contexts import device_of, eval_mode, frozen, placed, torch_threads
from fftune.models.fold_batchnorm import Folded, fold
from fftune.models.imagenet_resnet import resnet50, resnet101
from fftune.models.inference_copy import inference_copy, takes_bf16
from fftune.models.linf_dist import LinfDist
from fftune.models.loading import user_model
from fftune.models.mlp import MLP
from fftune.models.resnet18 import ResNet18
from fftune.models.small_cnn import SmallCNN
from fftune.models.small_resnet import SmallResNet
from fftune.models.vgg16 import VGG16
from fftune.models.weights import read_weights, save_weights, weights_hash
from fftune.models.wrn28_10 import WRN28x10
from fftune.user_code import answering

__all__ = [
    "MODELS",
    "Folded",
    "adapted",
    "device_of",
    "eval_mode",
    "factory_of",
    "fold",
    "frozen",
    "inference_copy",
    "load_model",
    "make_model",
    "placed",
    "save_weights",
    "takes_bf16",
    "torch_threads",
    "weights_hash",
]

OURS = "fftune:"

MODELS: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": SmallCNN,
    "small_resnet": SmallResNet,
    "mlp": MLP,
    "vgg16": VGG16,
    "resnet18": ResNet18,
    "wrn28_10": WRN28x10,
    "linf_dist": LinfDist,
    "resnet50": resnet50,
    "resnet101": resnet101,
}

TWO_READINGS = ("mlp", "wrn28_10")
"""Nets that the paper and its authors' code build or initialise differently."""


def factory_of(name: str) -> str:
    """How a `ModelSpec` names the net that `make_model` knows as `name`."""
    return name if ".py:" in name else OURS + name


def make_model(
    name: str,
    inputs: InputSpec,
    *,
    seed: int = 0,
    width: int | None = None,
    constants: Constants = "paper",
) -> nn.Module:
    """A freshly initialised net in train mode; the same seed gives the same weights.

    Args:
        name: one of `MODELS`, or a function of the user's (`user_model`), which knows its
            inputs by itself and has no other width.
        width: channels of the first stage or hidden units; none is the published net.

    Raises:
        ConfigError: there is no net of that name, or it cannot take such images or width.
        ModelError: the user's function gives no net.
    """
    require("width", width is None or width >= 1, ">= 1", width)
    own = ".py:" in name
    if own and width is not None:
        raise ConfigError(f"width must be left out for a net of one's own, got {width!r} ({name})")
    if not own and name not in MODELS:
        raise ConfigError(f"model must be one that exists, got {name!r}; {nearest(name, MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if own:
            with answering(f"model {name!r}"):
                return user_model(name).train()
        if name in TWO_READINGS:
            return MODELS[name](inputs, width=width, constants=constants)
        return MODELS[name](inputs, width=width)


def load_model(spec: ModelSpec) -> nn.Module:
    """The net of a spec, in eval mode.

    Raises:
        ModelError: the net cannot be built, or the weights are missing, damaged, of another
            net, or not those of the hash.
    """
    if spec.factory.startswith(OURS):
        if spec.inputs is None:
            raise ModelError(f"model {spec.factory!r} needs to know its inputs")
        name = spec.factory.removeprefix(OURS)
        model = make_model(name, spec.inputs, width=spec.width, constants=spec.constants)
    else:
        model = user_model(spec.factory)
    with answering(f"model {spec.factory!r}"):
        if spec.weights:
            read_weights(model, spec.weights)
        if spec.hash and (found := weights_hash(model)) != spec.hash:
            raise ModelError(f"weights {spec.weights!r} have hash {found}, expected {spec.hash}")
        return model.eval()
