"""Examination of a net: all checks on a few images, each told as it ends."""

import logging
from dataclasses import dataclass
from functools import cache, partial

from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    ModelSpec,
    Split,
    ThreatModel,
)
from fftune.data.model_spec import load_for
from fftune.data.subset import sample
from fftune.doctor.behaviours import behaviours
from fftune.doctor.check import Check
from fftune.doctor.sound import checks_of
from fftune.evaluation.direct import has_gradients
from fftune.models import device_of, weights_hash
from fftune.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Checks of a net, with what they are of."""

    net: str
    weights: str
    """Hash of the weights."""
    data: str
    split: str
    n: int
    threat: ThreatModel
    device: str
    seed: int
    defense: str
    evaluation: tuple[Check, ...]
    """Checks of the evaluation itself."""
    gradients: tuple[Check, ...] | None
    """The five of obfuscated gradients; None for a net that has none to follow."""

    @property
    def passed(self) -> bool:
        """Did every check pass?"""
        return self.gradients is not None and all(
            check.passed for check in (*self.evaluation, *self.gradients)
        )


def examined(
    spec: ModelSpec,
    data: DataSpec,
    split: Split,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    defense: str,
    settings: DefenseConfig,
) -> Examination:
    """Run all checks, each of which is logged as it ends."""
    device = device_of(battery.device)
    images = cache(partial(sample, data, split, battery.examples))
    net, spec = load_for(spec, images)
    dataset = images()
    log.info("%s on %s: 17 checks on %d images", spec.label, device, len(dataset))
    progress = Progress("doctor", unit="parts", total=2, fractions=True)
    progress.update(note="the evaluation")
    with progress:
        followed = has_gradients(net, dataset, battery)
        sound = checks_of(net, dataset, battery, threat=threat, on_check=_tell)
        found = None
        if followed:
            progress.update(1, note="obfuscated gradients")
            found = behaviours(
                net,
                dataset,
                battery,
                threat=threat,
                defense=defense,
                settings=settings,
                on_check=_tell,
            )
        progress.update(2)
    return Examination(
        net=spec.label,
        weights=weights_hash(net),
        data=dataset.source.name,
        split=split,
        n=len(dataset),
        threat=threat,
        device=device,
        seed=battery.seed,
        defense=defense,
        evaluation=tuple(sound),
        gradients=None if found is None else tuple(found),
    )


def _tell(check: Check) -> None:
    log.info("%s", check if not check.passed else f"pass  {check.name}")
