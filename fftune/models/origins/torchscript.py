"""`torchscript:FILE`: a net that `torch.jit.save` wrote, with its code and weights."""

import warnings
from typing import Any

import torch

from fftune.errors import ModelError
from fftune.models.equivalence import first_line
from fftune.models.origins.found_weights import named_file, told_file
from fftune.models.origins.spec import AS_THEY_ARE, Asked, Built, ModelSource
from fftune.storage import sha256


def build(asked: Asked) -> Built:
    """The net of a file.

    Raises:
        ModelError: the file is missing or damaged, or no TorchScript.
    """
    path = named_file(asked.name, "TorchScript")
    load: Any = torch.jit.load
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # files of it are here to stay
            net = load(str(path), map_location="cpu")
    except Exception as error:  # damaged files fail by many errors
        raise ModelError(
            f"TorchScript {asked.name!r} cannot be loaded: {first_line(error)}"
        ) from error
    return Built(
        net=net,
        version=f"sha256 {sha256(path)}",
        told=f"TorchScript {told_file(path)}",
        said_by=AS_THEY_ARE,
    )


SOURCE = ModelSource(build=build, sized=False, runs_file=True)
