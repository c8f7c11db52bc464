"""Mistakes that a false friend conceals, image by image: what galleries are made of.

The perturbed images are those of the battery `risks`, which keeps rows and no images: the blocks
that hold the wanted examples are attacked again, with the same noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fftune.config import BatteryConfig, ModelSpec, ThreatModel
from fftune.data import Dataset
from fftune.data.dataset import Batch
from fftune.data.model_spec import load_for
from fftune.data.subset import sampled
from fftune.errors import DataError
from fftune.evaluation.batteries import Attack, attacks_of
from fftune.evaluation.block import searched
from fftune.evaluation.job import EvalJob, check_images, under_test
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.hedge_study.pictures import png
from fftune.keyed_noise import Noise
from fftune.papers.tasks import Given

SHOWN = 4
"""Examples of a gallery that nobody has chosen, as in Tao et al. 2022, table 4."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Touched:
    """An image, and a net's predictions before and after a false friend has touched it."""

    id: int
    y: int
    before: int
    after: int
    x: Tensor
    x_hyp: Tensor
    """(C, H, W) in [0, 1], as `x`."""

    @property
    def is_concealed(self) -> bool:
        """True for a mistake that looks right once touched."""
        return self.before != self.y == self.after


def conceal(given: Given) -> Mapping[str, Any]:
    """Perturb examples towards their own label, and tell what each net sees before and after.

    Settings are `ids`, exactly the examples to show; or `first`, which are shown if every net gets
    them wrong and a friend conceals that, others of which this is true filling up to `count`. Where
    too few are concealed for all nets, those come next that are for most, and none that is for
    no net.

    Returns:
        `classes`; `scale`, the factor of displayed perturbations; `ids`; `searched`, how many
        examples were attacked, and of these `common`, which are concealed for all nets; and for
        each net `shown`, a list with an entry an id: `y`, `before`, `after`, and the PNGs `x`,
        `delta` and `x_hyp`.

    Raises:
        DataError: an id is none of the test images.
    """
    dataset, _ = sampled(given.data, "test", given.examples)
    wanted = given.settings.get("ids")
    count = int(given.settings.get("count", SHOWN))
    first = given.settings.get("first", ())
    if wanted is not None:
        _require_known(wanted, dataset)
        first, count = wanted, len(set(wanted))
    found: dict[int, tuple[Touched, ...]] = {}
    for touched in _touched(given, dataset, first):
        found |= {each[0].id: each for each in touched}
        done = _common(found) if wanted is None else set(wanted) & found.keys()
        if len(done) >= count:
            break
    ids = _chosen(found, first, count) if wanted is None else list(wanted)
    scale = _scale(given.threat, [one for i in ids for one in found[i]])
    return {
        "classes": dataset.source.classes,
        "scale": scale,
        "ids": ids,
        "searched": len(found),
        "common": len(_common(found)),
        "shown": [[_told(found[i][net], scale) for i in ids] for net in range(len(given.nets))],
    }


def _touched(
    given: Given, dataset: Dataset, first: Sequence[int]
) -> Iterator[list[tuple[Touched, ...]]]:
    """Yield blocks of examples as every net sees them; first the blocks that hold some ids."""
    battery = BatteryConfig(name="risks", device=given.device)
    attacks = attacks_of(battery, given.threat)
    (friend,) = (attack for attack in attacks if attack.goal == "hypocritical")
    with ExitStack() as opened:
        nets = [opened.enter_context(_opened(net, dataset, battery)) for net in given.nets]
        if not nets:
            return
        job = nets[0][1]
        early = torch.isin(dataset.ids, torch.tensor(list(first), dtype=torch.int64))
        tasks = sorted(job.tasks(friend), key=lambda task: not early[list(task.rows)].any())
        for task in tasks:
            block = job.block(task)
            each = [_seen(subject, block, friend, one.noise) for subject, one in nets]
            yield list(zip(*each, strict=True))


@contextmanager
def _opened(
    spec: ModelSpec, dataset: Dataset, battery: BatteryConfig
) -> Iterator[tuple[ModelUnderTest, EvalJob]]:
    """Prepare a net for the attack, as evaluations do.

    Raises:
        ModelError: it cannot be built, or does not take the images.
    """
    net, _ = load_for(spec, lambda: dataset)
    job = EvalJob.bare(net, dataset, battery)
    with under_test(net, job) as subject:
        check_images(subject, dataset)
        yield subject, job


def _seen(subject: ModelUnderTest, block: Batch, friend: Attack, noise: Noise) -> list[Touched]:
    attempt = searched(subject, block, friend, noise)
    before, after = attempt.clean.argmax(1).tolist(), attempt.pred.tolist()
    return [
        Touched(id=i, y=y, before=b, after=a, x=x, x_hyp=x_hyp)
        for i, y, b, a, x, x_hyp in zip(
            attempt.ids.tolist(),
            attempt.y.tolist(),
            before,
            after,
            attempt.x.cpu(),
            attempt.x_pert.cpu(),
            strict=True,
        )
    ]


def _common(found: Mapping[int, Sequence[Touched]]) -> set[int]:
    """Ids of the mistakes of all nets that are concealed for all of them."""
    return {i for i, each in found.items() if all(one.is_concealed for one in each)}


def _chosen(found: Mapping[int, Sequence[Touched]], first: Sequence[int], count: int) -> list[int]:
    """Choose up to `count` ids: concealed for most nets, then those of `first`, then the least."""
    nets = {i: sum(one.is_concealed for one in each) for i, each in found.items()}
    concealed = [i for i in found if nets[i]]
    concealed.sort(key=lambda i: (-nets[i], i not in first, i))
    return sorted(concealed[:count])


def _scale(threat: ThreatModel, shown: Sequence[Touched]) -> float:
    """Factor at which the largest displayed change of a pixel spans half of [0, 1]."""
    changes = [float((one.x_hyp - one.x).abs().max()) for one in shown]
    largest = threat.eps if threat.norm == "linf" else max(changes, default=0.0)
    return 0.5 / largest if largest else 1.0


def _told(one: Touched, scale: float) -> dict[str, Any]:
    return {
        "y": one.y,
        "before": one.before,
        "after": one.after,
        "x": png(one.x),
        "delta": png(0.5 + scale * (one.x_hyp - one.x)),
        "x_hyp": png(one.x_hyp),
    }


def _require_known(wanted: Sequence[int], dataset: Dataset) -> None:
    """Refuse ids that are none of the images.

    Raises:
        DataError: one is not; the known range is named.
    """
    unknown = [i for i in wanted if i not in set(dataset.ids.tolist())]
    if not unknown:
        return
    low, high = int(dataset.ids.min()), int(dataset.ids.max())
    whole = high - low + 1 == len(dataset)
    nearest = int(dataset.ids[(dataset.ids - unknown[0]).abs().argmin()])
    hint = "" if whole else f", not all of these; nearest {nearest}"
    raise DataError(
        f"ids must be of the {len(dataset):,} test images of {dataset.source.name!r}, "
        f"{low} to {high}{hint}; got {', '.join(map(str, unknown))}"
    )
