"""The net that searches ask while another trains: its frozen copy, folded, perhaps in bf16.

The copy lies at the same addresses all the time, so that a search on it can be recorded once.
"""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fftune.config import InputSpec, TrainConfig
from fftune.models import eval_mode, fold
from fftune.models.contexts import freeze
from fftune.models.equivalence import BF16, answers, difference, first_line
from fftune.models.fold_batchnorm import refresh
from fftune.models.inference_copies import Converted
from fftune.models.linf_dist import LinfDist
from fftune.objectives import objective_of
from fftune.training.compiling import Compiled

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CraftingNet:
    """The net that searches ask in place of one that trains, and how it follows that one."""

    source: nn.Module
    """The net that trains."""
    asked: nn.Module
    """It takes and returns fp32, whatever it computes in."""
    copied: nn.Module | None = None
    """The copy inside `asked`; None: there the net itself is."""
    norms: tuple[tuple[str, str], ...] = ()
    """Convolutions of the copy that have taken in a BatchNorm; see `refresh`."""

    def compiled(self, rows: frozenset[int]) -> "CraftingNet":
        """The same, compiled for batches of these sizes."""
        return replace(self, asked=Compiled(self.asked, rows, "the net that is crafted on"))

    @contextmanager
    def current(self) -> Iterator[nn.Module]:
        """The net to ask inside the block: in eval mode, with the weights of this moment."""
        if self.copied is None:
            with eval_mode(self.source):
                yield self.asked
            return
        refresh(self.copied, self.source, self.norms)
        yield self.asked


def crafting_net(
    model: nn.Module, config: TrainConfig, inputs: InputSpec, device: str
) -> CraftingNet | None:
    """The fastest net to craft on that answers as the net does; None: the net itself, if any.

    In bf16 that is a copy whose *weights* are in bf16, as a cast of frozen weights at every call
    costs more than the products. Where no such copy is faithful, products alone are in bf16.
    """
    objective = objective_of(config)
    if objective.crafting is None or objective.all_lambdas:  # whose net is another for each row
        return None
    pixels = probe_pixels(inputs, device)
    with eval_mode(model), torch.random.fork_rng(devices=[]):
        folded = fold(model, pixels)
        found = CraftingNet(source=model, asked=model)
        if folded is not None:
            found = replace(found, asked=folded.net, copied=folded.net, norms=folded.norms)
        half = config.crafts_in == "bf16" and not _is_of_distances(model)
        return _in_bf16(found, pixels, device) if half else found


def probe_pixels(inputs: InputSpec, device: str) -> Tensor:
    """(2, C, H, W), the same in every process, to ask a net about."""
    pixels = torch.rand(2, *inputs.shape, generator=torch.Generator().manual_seed(0))
    return pixels.to(device)


def _in_bf16(found: CraftingNet, pixels: Tensor, device: str) -> CraftingNet:
    try:
        made = _halved(found)
        reason = difference(made.asked, answers(found.source, pixels), pixels, BF16)
    except Exception as error:  # whatever copying raises, and whatever the user's code does
        log.debug("a copy in bf16 failed", exc_info=True)
        made, reason = found, first_line(error)
    if not reason:
        return made
    log.info("crafted on weights in fp32, with products in bf16: %s", reason)
    return replace(found, asked=Autocast(found.asked, device))


def _halved(found: CraftingNet) -> CraftingNet:
    """A copy with weights in bf16, made of the folded one if there is one."""
    copied = freeze(copy.deepcopy(found.asked).eval())
    asked = Converted(copied, torch.bfloat16, channels_last=False)
    for module in copied.modules():
        if isinstance(module, _BatchNorm):  # its statistics span more than bf16 can tell apart
            module.float()
    refresh(copied, found.source, found.norms)
    return replace(found, asked=asked, copied=copied)


def _is_of_distances(model: nn.Module) -> bool:
    return any(isinstance(module, LinfDist) for module in model.modules())


class Autocast(nn.Module):
    """A net whose products are in bf16, and its logits in the type of its images.

    The block opens and closes at each call: no cast of a weight outlives the weight.
    """

    def __init__(self, model: nn.Module, device: str) -> None:
        super().__init__()
        self.model, self.device = model, device

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(self.device, torch.bfloat16):
            logits: Tensor = self.model(x)
        return logits.to(x.dtype)
