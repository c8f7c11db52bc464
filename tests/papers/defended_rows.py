"""Rows of nets under attack and behind defenses, made of counts of right predictions."""

from collections.abc import Mapping, Sequence

from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes, rows

GOALS = {"label-free": "label_free"}


def defended(
    right: Mapping[tuple[str, str], Sequence[range]], n: int, *, seed: int = 0
) -> Outcomes:
    """Rows by defense and attack: for each draw the ids that are classified correctly."""
    parts = []
    for (defense, attack), draws in right.items():
        for repeat, ids in enumerate(draws):
            pred = [int(i not in ids) for i in range(n)]
            parts.append(
                rows(
                    n,
                    {
                        "dataset_hash": "d",
                        "split": "test",
                        "id": range(n),
                        "model_hash": "m",
                        "attack": attack,
                        "config_hash": f"{attack} {defense}",
                        "norm": "linf",
                        "eps": 8 / 255,
                        "goal": GOALS.get(attack, "adversarial"),
                        "target": -1,
                        "seed": seed,
                        "restart": 0,
                        "protocol": "last_iterate",
                        "tier": "full",
                        "defense": defense,
                        "defense_repeat": repeat,
                        "y": [0] * n,
                        "pred_clean": _clean(right["none", CLEAN][0], n)
                        if ("none", CLEAN) in right
                        else [0] * n,
                        "pred_pert": pred,
                        "success": [one != 0 for one in pred],
                        "queries": 0,
                        "forwards": 0,
                        "backwards": 0,
                        "distance": 0.0,
                        "status": "ok",
                    },
                )
            )
    return Outcomes.of(parts)


def _clean(ids: range, n: int) -> list[int]:
    return [int(i not in ids) for i in range(n)]
