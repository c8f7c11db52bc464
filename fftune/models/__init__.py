"""Nets with normalisation inside: they take images in [0, 1] and return logits.

The table of architectures is `fftune.registry.MODELS`; each lives in a file of its own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fftune.models.adapter import adapted
    from fftune.models.contexts import device_of, eval_mode, frozen, placed, torch_threads
    from fftune.models.entry import ModelEntry
    from fftune.models.fold_batchnorm import Folded, fold
    from fftune.models.inference_copies import inference_copy, takes_bf16
    from fftune.models.loading import load_model, make_model
    from fftune.models.specs import factory_of
    from fftune.models.weights import save_weights, weights_hash

__all__ = [
    "Folded",
    "ModelEntry",
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

_HOMES = {
    "adapter": ["adapted"],
    "contexts": ["device_of", "eval_mode", "frozen", "placed", "torch_threads"],
    "entry": ["ModelEntry"],
    "fold_batchnorm": ["Folded", "fold"],
    "inference_copies": ["inference_copy", "takes_bf16"],
    "loading": ["load_model", "make_model"],
    "specs": ["factory_of"],
    "weights": ["save_weights", "weights_hash"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a function when it is asked for, and torch with it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
