"""The one writer of rows: predictions on perturbed examples as columns of `outcomes.SCHEMA`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
from torch import Tensor

from fftune.attacks import success
from fftune.config import Goal, Norm, RowProtocol, Tier
from fftune.outcomes import NAN, SOME_NAN, ZERO, rows
from fftune.threat import distance


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKey:
    """Columns that are equal in all rows of an attack on a block, under one draw of a defense."""

    dataset_hash: str
    split: str
    model_hash: str
    attack: str
    """Name of the attack."""
    config_hash: str
    """Hash of the settings of the attack, and of the defense where there is one."""
    norm: Norm
    eps: float
    goal: Goal
    seed: int
    restart: int = 0
    protocol: RowProtocol = "last_iterate"
    tier: Tier = "full"
    defense: str = "none"
    defense_repeat: int = 0
    """Index of the defense's random draw."""


def attack_rows(
    key: RowKey,
    *,
    ids: Tensor,
    y: Tensor,
    label: Tensor,
    x: Tensor,
    x_pert: Tensor,
    pred_clean: Tensor,
    pred_clean_defended: Tensor,
    pred_pert: Tensor,
    counts: Tensor,
    status: str | Sequence[str] = "ok",
) -> pa.Table:
    """Build the rows of B examples.

    Success is relative to `pred_clean_defended`: a defended net is judged by its own prediction of
    the clean image.

    Args:
        ids, y: (B,) int64.
        label: (B,) int64, the label that the goal speaks of.
        x, x_pert: (B, C, H, W).
        pred_clean: (B,) int64, the bare net's predictions of x.
        pred_clean_defended: (B,) int64, predictions of x under the row's own draw of its defense;
            those of the bare net where there is none.
        pred_pert: (B,) int64, predictions of x_pert, under the same draw.
        counts: (3, B) int64: forwards, backwards, queries.
        status: of each row, or of all.
    """
    forwards, backwards, queries = counts.cpu().numpy()
    won = success(key.goal, pred_pert, pred_clean_defended, label)
    target = label.cpu().numpy() if key.goal in ("hypocritical", "targeted") else -1
    return rows(
        len(y),
        {
            **asdict(key),
            "id": ids.cpu().numpy(),
            "target": target,
            "y": y.cpu().numpy(),
            "pred_clean": pred_clean.cpu().numpy(),
            "pred_clean_defended": pred_clean_defended.cpu().numpy(),
            "pred_pert": pred_pert.cpu().numpy(),
            "success": won.cpu().numpy(),
            "queries": queries,
            "forwards": forwards,
            "backwards": backwards,
            "distance": distance(x_pert, x, key.norm).cpu().numpy(),
            "status": status,
        },
    )


def status_of(counts: Tensor, *, missed: Tensor) -> list[str]:
    """Status of each row: "ok", useless gradients, or no success inside the ball.

    Args:
        counts: (5, B) int64, of `query_counter.KINDS`.
        missed: (B,) bool, a search for the nearest success has found none.
    """
    _, backwards, _, flat, broken = counts.cpu()
    void = ((backwards > 0) & (flat == backwards)).tolist()
    return [
        (NAN if nan else ZERO) if blind else SOME_NAN if nan else "not-found" if miss else "ok"
        for blind, nan, miss in zip(void, (broken > 0).tolist(), missed.tolist(), strict=True)
    ]
