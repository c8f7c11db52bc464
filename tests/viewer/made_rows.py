"""Rows by hand: what a net says of each image, clean and under each attack."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fftune.config import AttackConfig, ThreatModel
from fftune.evaluation.batteries import Attack
from fftune.evaluation.saved_images import ImageFolder, Perturbed
from fftune.evaluation.tiers import AttackStage
from fftune.outcomes import Outcomes, rows
from tests.questions import ASKED

Says = Mapping[tuple[str, str], Sequence[int | None]]
"""Predictions by attack and goal; None where it was not run."""


def made(
    y: Sequence[int], clean: Sequence[int], says: Says, ids: Sequence[int] = (), **columns: Any
) -> Outcomes:
    """Rows of a net on images with these labels."""
    ids = ids or range(len(y))
    tables = []
    for (attack, goal), answers in says.items():
        at = [i for i, one in enumerate(answers) if one is not None]
        pred = [answers[i] for i in at]
        labels, before = [y[i] for i in at], [clean[i] for i in at]
        friend = goal == "hypocritical"
        won = [(p == label) == friend for p, label in zip(pred, labels, strict=True)]
        tables.append(
            rows(
                len(at),
                {
                    "dataset_hash": "d",
                    "split": "test",
                    "model_hash": "m",
                    "id": [ids[i] for i in at],
                    "attack": attack,
                    "config_hash": attack,
                    "norm": "linf",
                    "eps": 0.1,
                    "goal": goal,
                    "seed": 0,
                    "restart": 0,
                    "target": labels if friend else -1,
                    "protocol": "last_iterate",
                    "tier": "full",
                    "defense": "none",
                    "defense_repeat": 0,
                    "y": labels,
                    "pred_clean": before,
                    "pred_pert": pred,
                    "success": won,
                    "queries": 1,
                    "forwards": 1,
                    "backwards": 1,
                    "distance": 0.1,
                    "status": "ok",
                }
                | columns,
            )
        )
    return Outcomes.of(tables)


def kept(outcomes: Outcomes, path: Path, classes: Sequence[str] = (), net: str = "a net") -> Path:
    """A file of these rows, with the question that they answer."""
    n = len(outcomes.values("id"))
    asked = replace(ASKED, net=net, data="made", dataset_hash="d", examples=n, available=n)
    asked = replace(asked, classes=tuple(classes)) if classes else asked
    outcomes.answering(asked.plain).write(path)
    return path


def saved(folder: Path, ids: Sequence[int], columns: Mapping[str, Sequence[int]]) -> None:
    """Images that pgd-2 perturbed by 0.1, of which 8 bits keep every other verdict.

    Args:
        columns: y, pred_clean and pred of each.
    """
    y, clean, pred = (torch.tensor(columns[name]) for name in ("y", "pred_clean", "pred"))
    grey = torch.tensor([(40 + i) / 255 for i in ids]).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    found = Perturbed(
        ids=torch.tensor(ids), x=grey, x_pert=grey + 0.1, y=y, pred_clean=clean, pred=pred,
        success=pred != y,
    )  # fmt: skip
    stage = AttackStage(config=AttackConfig(threat=ThreatModel(eps=0.2)), loss="ce")
    attack = Attack(name="pgd-2", goal="adversarial", stages=(stage,))
    lost = pred + torch.arange(len(ids)) % 2
    ImageFolder(folder=folder).keep(tuple("0123456789"), attack, found, lambda _: lost)
