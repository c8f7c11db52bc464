"""A net of one pixel and searches made by hand, so that what a block does can be counted."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor, nn

from fftune.config import AttackConfig, ThreatModel
from fftune.defenses import Hedge
from fftune.evaluation import block
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block import attack_block
from fftune.evaluation.defended import DefenseSet
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import Noise

THREAT = ThreatModel(eps=0.25)
NOISE = Noise(11).fold("cells", "test")
IDS = torch.tensor([30, 4, 17, 8, 52])
X = torch.tensor([0.125, 0.375, 0.625, 0.875, 0.125])
"""One pixel each; the net says in which quarter of [0, 1] it is."""
CLASSES = torch.tensor([0, 1, 2, 3, 0])
Y = torch.tensor([0, 1, 2, 0, 3])
"""The last two are wrong when clean."""


class Quarter(nn.Module):
    """Four classes of one pixel, with a slope so that searches can ask for gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[float]] = []

    def forward(self, x: Tensor) -> Tensor:
        v = x.flatten(1).squeeze(1)
        self.asked.append(v.tolist())
        return 1 - (v[:, None] - torch.tensor([0.125, 0.375, 0.625, 0.875])).abs()


class Says(nn.Module):
    """One class, whatever the image."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(torch.tensor(self.label), 4) + 0 * x.flatten(1)


def images(values: Tensor = X) -> Tensor:
    return values.view(-1, 1, 1, 1)


BLOCK = (IDS, images(), Y)


def model_under_test(**nets: nn.Module | DefenseSet | None) -> ModelUnderTest:
    net = nets.pop("net", None) or Quarter()
    columns = {"dataset_hash": "d", "split": "test", "model_hash": "m"}
    nets = {"surrogate": Quarter(), "surrogate_lowp": Quarter()} | nets
    return ModelUnderTest(net=net, classes=4, columns=columns, source="cells", **nets)


def part(
    search: str = "pgd", *, protocol: str | None = None, loss: str = "ce", **settings
) -> AttackStage:
    start = "none" if search in ("fab", "square") else "uniform"
    config = AttackConfig(
        threat=settings.pop("threat", THREAT),
        search=search,
        protocol=protocol,
        start=settings.pop("start", start),
        **settings,
    )
    return AttackStage(config=config, loss=loss)


def attack(*stages: AttackStage, goal: str = "adversarial", **settings) -> Attack:
    return Attack(name="x", goal=goal, stages=stages, **settings)


class Searches:
    """Stand in for searches: each puts pixels where it is told, and notes what it was given."""

    def __init__(self, monkeypatch) -> None:
        self.monkeypatch = monkeypatch
        self.given: list[dict] = []

    def set(self, name: str, moves: Callable[[Tensor, Tensor], Tensor]) -> None:
        """`moves(ids, x)` are the pixels that the search ends at."""

        def search(net, x, label, *, config, goal, loss, noise, ids):
            self.given.append(
                {"search": name, "net": net, "ids": ids.tolist(), "label": label.tolist()}
                | {"goal": goal, "loss": loss, "config": config, "noise": noise}
            )
            return moves(ids, x.flatten()).view_as(x)

        real = block.attack_spec
        mine = replace(real(name), run=search)
        self.monkeypatch.setattr(
            block, "attack_spec", lambda one: mine if one == name else real(one)
        )

    @property
    def tried(self) -> list[tuple[str, list[int]]]:
        return [(given["search"], given["ids"]) for given in self.given]


def frame(subject: ModelUnderTest, attack: Attack, data=BLOCK) -> pd.DataFrame:
    return attack_block(subject, data, attack, noise=NOISE).to_pandas()


def move(which: dict[int, float]) -> Callable[[Tensor, Tensor], Tensor]:
    """Examples by their ids; the others stay."""
    return lambda ids, x: torch.tensor(
        [which.get(i, v) for i, v in zip(ids.tolist(), x.tolist(), strict=True)]
    )


def guard_of(hedges, *, repeats: int = 1, control: int = 1) -> DefenseSet:
    noise = Noise(5).fold("defense", "cells", "test")
    defenses = {name: Hedge(config=config) for name, config in hedges.items()}
    return DefenseSet(defenses=defenses, repeats=repeats, control=control, noise=noise, draws=1)
