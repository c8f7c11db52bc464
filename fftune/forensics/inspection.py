"""Inspection of a set by a net: how many of its images look like a false friend's work.

Clean held-out images are parted in three, so that nothing is judged by what it was fitted to: one
fits the detector and the bins, one calibrates the test, one measures false alarms, the areas under
the ROC and the smallest share that is found. Our own friends touch mistakes of the first part for
the fit, and of the third for the measurements.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from fftune.data import Dataset
from fftune.errors import DataError
from fftune.forensics.detector import Auc, Detector
from fftune.forensics.exact import digests, levels_of
from fftune.forensics.friends import KINDS, Craft, Kind
from fftune.forensics.record import (
    FAR_FEWER,
    FEWEST,
    FITTED,
    CleanSeen,
    FriendSeen,
    InspectConfig,
    Inspection,
)
from fftune.forensics.share import (
    QUANTILES,
    Array,
    Mixture,
    null_ratios,
    p_value,
    share_interval,
    smallest_found,
    threshold,
)
from fftune.forensics.shifts import AS_IS, SHIFTS
from fftune.forensics.traces import NAMES, Traces, measured, traces
from fftune.forensics.whitening import Whitening
from fftune.keyed_noise import Noise
from fftune.models import adapted, eval_mode, fits, frozen, inference_copy, torch_threads
from fftune.risk import Rate

log = logging.getLogger(__name__)

UNUSUAL = QUANTILES.index(0.99)
"""Edge of the bins above which an image counts as unusual: one clean image in a hundred."""
ASKED = 4
"""Images on which a net and its faster copy are compared."""


def inspect_set(net: nn.Module, data: Dataset, clean: Dataset, config: InspectConfig) -> Inspection:
    """Inspect a set by a net and clean held-out images of the same kind.

    Raises:
        DataError: the images are of different shapes, or the clean ones are too few.
        ModelError: the net does not fit the images.
    """
    if data.shape != clean.shape:
        raise DataError(
            f"clean: images of {clean.source.name!r} are {clean.shape}, those of "
            f"{data.source.name!r} {data.shape}"
        )
    clean, dropped = _without(clean, data)
    few = next(data.batches(ASKED))[1]
    with eval_mode(net), frozen(net), torch_threads(config.threads):
        asked = adapted(net, few)
        fits.logits_of(asked, few, len(data.source.classes), data=data.source.name)
        copied = inference_copy(asked, "fp32", few)
        return Bench.of(copied, clean, config).inspected(data, dropped)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """A detector, calibrated for one net."""

    config: InspectConfig
    net: nn.Module
    whitening: Whitening
    detector: Detector
    fitted: Tensor
    touched: Tensor
    """Scores of clean images and of friends of the first part."""
    mixture: Mixture
    """Bins of these."""
    nulls: Mapping[str, Tensor]
    fresh: Mapping[str, Tensor]
    """Scores by kind of clean images, of the part that calibrates and of the part that measures."""
    accuracy: float
    """Share of right answers on the first part."""
    left_out: tuple[str, ...]
    """Kinds of which the net gets far fewer right than of clean images as they are."""
    friends: Mapping[Kind, tuple[Rate, Tensor]]
    """Success of each friend on the third part, and the scores of what it touched."""

    @classmethod
    def of(cls, net: nn.Module, clean: Dataset, config: InspectConfig) -> "Bench":
        """Fit and calibrate.

        Raises:
            DataError: the net makes too few mistakes on the clean images, or none is right.
        """
        fit, calibrating, measuring = _parts(clean, config.seed)
        whitening = Whitening.of(fit[1])
        found = traces(net, fit[1], fit[2], whitening)
        apart = traces(net, measuring[1], measuring[2], whitening)
        for part in (found, apart):
            _require_mistakes(part, clean)
        craft = Craft(
            net=net,
            threat=config.threat,
            noise=Noise(config.seed).fold("forensics"),
            margins=found.values[found.right][:, NAMES.index("margin")],
            score=lambda x, y: measured(net, x, y, whitening)[:, 0],
        )
        log.info("friends touch clean images to fit the detector")
        own = {k: _touched(craft, k, fit, found, whitening, config.friends)[1] for k in FITTED}
        known = [one.values[one.right] for one in own.values()]
        if not sum(map(len, known)):
            raise DataError("our own friends conceal no mistake of this net: nothing to look for")
        detector = Detector.of(found.values[found.right], known)
        craft = replace(craft, score=lambda x, y: detector(measured(net, x, y, whitening)))
        log.info("friends touch other clean images to be found")
        friends: dict[Kind, tuple[Rate, Tensor]] = {}
        for kind in KINDS:
            rate, seen = _touched(craft, kind, measuring, apart, whitening, config.friends)
            friends[kind] = rate, detector.scores(seen)
        log.info("clean sets of %d kinds calibrate the test", len(SHIFTS))
        fitted = detector.scores(found)
        touched = torch.cat([detector.scores(one) for one in own.values()])
        nulls = _shifted(net, calibrating, whitening, detector)
        kept = [k for k, pool in nulls.items() if len(pool) >= FAR_FEWER * len(nulls[AS_IS])]
        fresh = _shifted(net, measuring, whitening, detector, kept)
        return cls(
            config=config,
            net=net,
            whitening=whitening,
            detector=detector,
            fitted=fitted,
            touched=touched,
            mixture=Mixture.of(fitted, touched),
            nulls={kind: nulls[kind] for kind in kept},
            fresh=fresh,
            accuracy=len(fitted) / len(found),
            left_out=tuple(kind for kind in nulls if kind not in kept),
            friends=friends,
        )

    def calibrated(self, size: int) -> dict[str, Array]:
        """Ratios of clean sets with so many right images, by kind; see `share.null_ratios`."""
        rng = np.random.default_rng(self.config.seed)
        return {kind: self._ratios(pool, size, rng) for kind, pool in self.nulls.items()}

    def _ratios(self, pool: Tensor, size: int, rng: np.random.Generator) -> Array:
        mixture = self.mixture
        return null_ratios(mixture, mixture.counts(pool), size, rng, self.config.sets)

    def inspected(self, data: Dataset, dropped: int) -> Inspection:
        """Inspect a set."""
        log.info("%d images are inspected", len(data))
        _, x, y = next(data.batches(len(data)))
        return self.judged(traces(self.net, x, y, self.whitening), dropped)

    def judged(self, found: Traces, dropped: int = 0) -> Inspection:
        """Judge the traces of a set.

        Raises:
            DataError: the net gets none of its images right.
        """
        scores = self.detector.scores(found)
        size = len(scores)
        if not size:
            raise DataError("the net gets no image of the set right: there is no success to find")
        mixture, config = self.mixture, self.config
        rng = np.random.default_rng(config.seed + 1)
        counts = mixture.counts(scores)
        ratio = float(mixture.ratio(counts))
        nulls = self.calibrated(size)
        bar = max(map(threshold, nulls.values()))
        clean, touched = (mixture.counts(one) for one in (self.fitted, self.touched))
        low, high = share_interval(mixture, counts, clean, touched, rng, config.sets)
        of_all = size / len(found)
        edge = float(mixture.edges[min(UNUSUAL, len(mixture.edges) - 1)])
        alarms = {
            kind: Rate(int((self._ratios(pool, size, rng) > bar).sum()), config.sets)
            for kind, pool in self.fresh.items()
        }
        return Inspection(
            examples=len(found),
            right=size,
            clean_right=(len(self.fitted), len(self.nulls[AS_IS]), len(self.fresh[AS_IS])),
            dropped=dropped,
            unusual=Rate(int((scores > edge).sum()), size),
            unusual_clean=Rate(int((self.fresh[AS_IS] > edge).sum()), len(self.fresh[AS_IS])),
            share=float(mixture.share(counts)) * of_all,
            low=low * of_all,
            high=high * of_all,
            p=max(p_value(ratio, one) for one in nulls.values()),
            clean=tuple(
                CleanSeen(kind=kind, p=p_value(ratio, nulls[kind]), alarms=rate)
                for kind, rate in alarms.items()
            ),
            left_out=self.left_out,
            clean_accuracy=self.accuracy,
            friends=tuple(self._seen(kind, size, bar) for kind in KINDS),
            matters=config.matters,
        )

    def _seen(self, kind: Kind, size: int, bar: float) -> FriendSeen:
        rate, scores = self.friends[kind]
        clean, mixture = self.fresh[AS_IS], self.mixture
        return FriendSeen(
            kind=kind,
            success=rate,
            auc=Auc.of(clean, scores),
            smallest=smallest_found(
                mixture,
                clean=mixture.counts(clean),
                touched=mixture.counts(scores),
                size=size,
                bar=bar,
                seed=self.config.seed,
                sets=self.config.sets,
            ),
        )


Part = tuple[Tensor, Tensor, Tensor]
"""ids, images and labels."""


def _parts(clean: Dataset, seed: int) -> list[Part]:
    """Three random parts of the clean images."""
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    return [next(clean.batches(len(rows), order=rows)) for rows in order.tensor_split(3)]


def _touched(
    craft: Craft, kind: Kind, part: Part, found: Traces, whitening: Whitening, most: int
) -> tuple[Rate, Traces]:
    """Success of a friend on mistakes of a part, and traces of what it touched."""
    at = (~found.right).nonzero().flatten()[:most]
    ids, x, y = (one[at] for one in part)
    seen = traces(craft.net, craft.stored(kind, x, y, ids), y, whitening)
    return Rate(int(seen.right.sum()), len(at)), seen


def _shifted(
    net: nn.Module,
    part: Part,
    whitening: Whitening,
    detector: Detector,
    kinds: Iterable[str] = SHIFTS,
) -> dict[str, Tensor]:
    """Scores of the clean images of a part under these shifts."""
    return {
        kind: detector.scores(traces(net, SHIFTS[kind](part[1]), part[2], whitening))
        for kind in kinds
    }


def _without(clean: Dataset, data: Dataset) -> tuple[Dataset, int]:
    """The clean images that are not in the set, too, and how many are."""
    held = set(digests(levels_of(data)))
    kept = [i for i, one in enumerate(digests(levels_of(clean))) if one not in held]
    if len(kept) == len(clean):
        return clean, 0
    dropped = len(clean) - len(kept)
    log.warning("%d clean images are in the set, too, and left out", dropped)
    return clean.select(torch.tensor(kept, dtype=torch.int64), clean.split), dropped


def _require_mistakes(found: Traces, clean: Dataset) -> None:
    wrong = int((~found.right).sum())
    if wrong < FEWEST or wrong == len(found):
        raise DataError(
            f"clean: of a third of {clean.source.name!r}, {len(found)} images, the net gets "
            f"{wrong} wrong: our own friends need {FEWEST} mistakes at least, and right answers"
        )
