"""Verdicts of one battery by several ways to compute it: devices, sizes of blocks, orders.

A search is the same one in other blocks and on other devices but for rounding, which it may amplify
until another point is found. Here each verdict that differs is listed with its margins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from fftune.comparison import Moved, moved
from fftune.config import AttackConfig, BatteryConfig, Device, ThreatModel
from fftune.data import Dataset
from fftune.evaluation.batteries import Attack, attacks_of, single
from fftune.evaluation.block import judged_block
from fftune.evaluation.defended import CLEAN
from fftune.evaluation.job import EvalJob, block_size_of, check_images, under_test
from fftune.models import device_of
from fftune.outcomes import Outcomes
from fftune.risk import Rate

Margins = dict[tuple[str, str, int, int], float]
"""Margin of each prediction, by attack, goal, target and id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Device, size of blocks and order in which a battery is computed."""

    device: Device
    block_size: int
    backwards: bool = False
    """The last example first."""

    def __str__(self) -> str:
        order = ", the last example first" if self.backwards else ""
        return f"{self.device}, blocks of {self.block_size:,}{order}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """A verdict that two ways do not share, with its margin in either."""

    row: Moved
    margins: tuple[float, float]

    def __str__(self) -> str:
        row, (one, two) = self.row, self.margins
        goal = row.goal if row.goal != "targeted" else f"{row.goal} at class {row.target}"
        first, second = row.pred
        return (
            f"id {row.id}, {row.attack}, goal {goal}: "
            f"class {first} (margin {one:.2g}) became {second} (margin {two:.2g})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Verdicts of one way, compared with those of the first."""

    way: Way
    accuracies: dict[str, Rate]
    """Share of right predictions, by attack and goal."""
    differing: tuple[Differing, ...] = ()

    @property
    def share(self) -> Rate:
        """Share of the verdicts that differ."""
        return Rate(len(self.differing), sum(rate.n for rate in self.accuracies.values()))

    def lines(self, first: "Agreement") -> Iterator[str]:
        """Lines of a report; those of the first way itself are its accuracies alone."""
        known = ", ".join(f"{name} {100 * r.value:.2f}" for name, r in self.accuracies.items())
        yield f"{self.way}: accuracy {known} %"
        if self is first:
            return
        far = max(
            abs(rate.value - first.accuracies[name].value) for name, rate in self.accuracies.items()
        )
        share = self.share
        yield (
            f"  {share.count:,} of {share.n:,} verdicts differ ({100 * share.value:.2g} %); "
            f"accuracies by at most {100 * far:.2g} points"
        )
        yield from (f"  {one}" for one in self.differing)


def ways(
    battery: BatteryConfig, devices: Sequence[Device], sizes: Sequence[int], *, backwards: bool
) -> tuple[Way, ...]:
    """Every device with every size of blocks, and in both orders where that is asked for.

    Args:
        devices: default the battery's own.
        sizes: default the battery's own, or what the first device wants.

    Raises:
        ConfigError: CUDA was asked for, and torch sees none.
    """
    there = [_resolved(device) for device in devices or (battery.device,)]
    sizes = sizes or (block_size_of(battery, there[0]),)
    return tuple(
        Way(device=device, block_size=size, backwards=order)
        for device in there
        for size in sizes
        for order in ((False, True) if backwards else (False,))
    )


def _resolved(device: Device) -> Device:
    return "cuda" if device_of(device) == "cuda" else "cpu"


def agreements(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    chosen: Sequence[Way],
    *,
    threat: ThreatModel,
) -> Iterator[Agreement]:
    """Compute a battery by one way after the other, each compared with the first.

    Clean images are a part of it, as an attack that does nothing. No tier escalates.

    Raises:
        ModelError: the net does not take the images, or does not return logits of their classes.
        ConfigError: CUDA was asked for, and torch sees none.
    """
    still = AttackConfig(threat=replace(threat, eps=0.0), steps=0, start="none")
    attacks = (
        single(CLEAN, "adversarial", "ce", still),
        *attacks_of(battery, threat, classes=len(dataset.source.classes)),
    )
    first: tuple[Outcomes, Margins] | None = None
    for way in chosen:
        found = _computed(net, dataset, battery, attacks, way)
        yield Agreement(
            way=way,
            accuracies=_accuracies(found[0]),
            differing=() if first is None else tuple(_differing(first, found)),
        )
        first = first or found


def _computed(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, attacks: Sequence[Attack], way: Way
) -> tuple[Outcomes, Margins]:
    battery = replace(battery, device=way.device, block_size=way.block_size)
    job = EvalJob.bare(net, dataset, battery, attacks)
    order = torch.arange(len(dataset))
    tables, margins = [], Margins()
    with under_test(net, job) as subject:
        check_images(subject, dataset)
        for attack in attacks:
            for task in job.tasks(attack, order.flip(0) if way.backwards else order):
                rows, near = judged_block(subject, job.block(task), attack, noise=job.noise)
                tables.append(rows)
                of = (attack.name, attack.goal, -1 if attack.target is None else attack.target)
                margins |= {(*of, one): margin for one, margin in near.items()}
    return Outcomes.of(tables), margins


def _differing(
    first: tuple[Outcomes, Margins], second: tuple[Outcomes, Margins]
) -> Iterator[Differing]:
    for row in moved(first[0], second[0]):
        key = (row.attack, row.goal, row.target if row.goal == "targeted" else -1, row.id)
        yield Differing(row=row, margins=(first[1][key], second[1][key]))


def _accuracies(outcomes: Outcomes) -> dict[str, Rate]:
    columns = (outcomes.table[name].to_pylist() for name in ("attack", "goal", "pred_pert", "y"))
    right: dict[str, list[bool]] = {}
    for attack, goal, pred, y in zip(*columns, strict=True):
        name = CLEAN if attack == CLEAN else f"{attack} {goal}"
        right.setdefault(name, []).append(pred == y)
    return {name: Rate(sum(hits), len(hits)) for name, hits in right.items()}
