"""`exported:FILE`: a program that `torch.export.save` wrote, with its weights."""

from typing import Any

import torch
from torch import Tensor, nn

from fftune.errors import ModelError
from fftune.models.equivalence import first_line
from fftune.models.origins.found_weights import named_file, told_file
from fftune.models.origins.spec import AS_THEY_ARE, Asked, Built, ModelSource
from fftune.storage import sha256


class Exported(nn.Module):
    """An exported program, which knows one mode: that in which it was exported."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> "Exported":
        """Note the mode; the program itself refuses to be asked for one."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Any:
        return self.program(x)


def build(asked: Asked) -> Built:
    """The net of a file.

    Raises:
        ModelError: the file is missing or damaged, or no exported program.
    """
    path = named_file(asked.name, "exported program")
    try:
        program = torch.export.load(str(path)).module()
    except Exception as error:  # damaged files fail by many errors
        raise ModelError(
            f"exported program {asked.name!r} cannot be loaded: {first_line(error)}"
        ) from error
    told = f"exported program {told_file(path)}"
    net = Exported(program)
    return Built(net=net, version=f"sha256 {sha256(path)}", told=told, said_by=AS_THEY_ARE)


SOURCE = ModelSource(build=build, sized=False, runs_file=True)
