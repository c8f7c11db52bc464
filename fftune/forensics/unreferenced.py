"""A look at a set without clean held-out images: traces of our friends, and no verdict."""

from dataclasses import asdict, dataclass

import torch
from torch import nn

from fftune.data import Dataset
from fftune.errors import DataError
from fftune.forensics.friends import Craft
from fftune.forensics.inspection import ASKED
from fftune.forensics.record import FEWEST, InspectConfig
from fftune.forensics.traces import NAMES, traces
from fftune.forensics.whitening import Whitening
from fftune.keyed_noise import Noise
from fftune.models import adapted, eval_mode, fits, frozen, inference_copy, torch_threads
from fftune.report.result_page import ResultPage, told
from fftune.risk import Rate

LOWEST = 0.05
"""Quantile of our friends' traces from which on an image is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Images of a set with traces like those of our own strong friend."""

    examples: int
    alike: Rate
    """Right images whose trace exceeds the lowest twentieth of the friend's."""
    level: float
    """That trace, a correlation."""
    friends: int
    """Images that our own friend has touched, mistakes that were left in the set."""


def look(net: nn.Module, data: Dataset, config: InspectConfig) -> Look:
    """Compare a set with what a strong friend makes of the mistakes that are left in it.

    Raises:
        DataError: too few mistakes are left.
        ModelError: the net does not fit the images.
    """
    _, x, y = next(data.batches(len(data)))
    with eval_mode(net), frozen(net), torch_threads(config.threads):
        asked = adapted(net, x[:ASKED])
        fits.logits_of(asked, x[:ASKED], len(data.source.classes), data=data.source.name)
        copied = inference_copy(asked, "fp32", x[:ASKED])
        whitening = Whitening.of(x)
        found = traces(copied, x, y, whitening)
        at = (~found.right).nonzero().flatten()[: config.friends]
        if len(at) < FEWEST:
            raise DataError(
                f"the net gets {len(at)} images of {data.source.name!r} wrong: our own friend "
                f"needs {FEWEST} mistakes at least; name clean held-out images by --clean"
            )
        craft = Craft(
            net=copied,
            threat=config.threat,
            noise=Noise(config.seed).fold("forensics"),
            margins=torch.zeros(1),
            score=lambda _, y: torch.zeros(len(y)),
        )
        points = craft.stored("strong", x[at], y[at], data.ids[at])
        touched = traces(copied, points, y[at], whitening)
    trace = NAMES.index("trace")
    own = touched.values[touched.right][:, trace]
    if not len(own):
        raise DataError("our own friend conceals no mistake: there is nothing to compare with")
    level = float(own.quantile(LOWEST))
    seen = found.values[found.right][:, trace]
    alike = Rate(int((seen >= level).sum()), len(seen))
    return Look(examples=len(data), alike=alike, level=level, friends=len(own))


def look_page(found: Look, net: str) -> ResultPage:
    """Lay out a look, which decides nothing."""
    return ResultPage(
        verb="data inspect",
        blocks=(
            f"{found.examples:,} images, {found.alike.n:,} of which {net} gets right",
            f"With traces like those of a strong friend (correlation {found.level:.3f} and more, "
            f"as 19 in 20 of our own {found.friends:,}): {told(found.alike)} of the right ones",
            "INCONCLUSIVE: without clean held-out images nobody knows how many a clean set has; "
            "name some by --clean. Touched cannot be excluded at any share.",
        ),
        more={"outcome": "inconclusive", "look": asdict(found)},
    )
