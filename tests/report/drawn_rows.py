"""Rows behind random defenses, made by hand."""

from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes, rows

Draws = dict[str, list[list[int]]]
"""Of each defense: the predictions in each draw."""


def by_hand(clean: Draws, attacks: dict[tuple[str, str], Draws], seed: int = 0) -> Outcomes:
    """Rows of examples of class 0, as `evaluate` would leave them.

    Args:
        clean: twice as many draws as the attacks have, the second half of which tells the
            mistakes.
        seed: of the attackers.
    """
    (bare,) = clean["none"]
    found = {(CLEAN, "adversarial"): clean} | attacks
    return Outcomes.of(
        rows(
            len(bare),
            {"dataset_hash": "d", "split": "test", "model_hash": "m", "norm": "linf", "eps": 0.1}
            | {"id": list(range(len(bare))), "attack": attack, "goal": goal, "target": -1}
            | {"config_hash": "c", "seed": seed, "restart": 0, "tier": "full"}
            | {"protocol": "last_iterate"}
            | {"defense": defense, "defense_repeat": repeat, "y": 0, "pred_clean": bare}
            | {"pred_clean_defended": clean[defense][repeat], "pred_pert": pred}
            | {"success": [(one == 0) == (goal == "hypocritical") for one in pred]}
            | {"queries": 0, "forwards": 0, "backwards": 0, "distance": 0.0, "status": "ok"},
        )
        for (attack, goal), defenses in found.items()
        for defense, draws in defenses.items()
        for repeat, pred in enumerate(draws)
    )
