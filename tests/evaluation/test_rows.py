"""The one writer of rows."""

import torch

from fftune.evaluation.rows import RowKey, attack_rows


def test_a_defended_nets_success_is_told_from_its_own_answer_to_the_clean_image() -> None:
    """Three examples; the bare net says 0 of all, the defended one 1, 0 and 1."""
    x, zeros = torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)
    key = RowKey(
        **dict.fromkeys(("dataset_hash", "split", "model_hash", "attack", "config_hash"), "a"),
        norm="linf",
        eps=0.5,
        goal="label_free",
        seed=0,
        defense="hedge",
    )
    table = attack_rows(
        key,
        ids=torch.arange(3),
        y=zeros,
        label=zeros,
        x=x,
        x_pert=x + 0.25,
        pred_clean=zeros,
        pred_clean_defended=torch.tensor([1, 0, 1]),
        pred_pert=torch.tensor([1, 1, 0]),
        counts=torch.zeros(3, 3, dtype=torch.int64),
    )
    assert table["success"].to_pylist() == [False, True, True]
    assert table["pred_clean"].to_pylist() == [0, 0, 0]
    assert table["pred_clean_defended"].to_pylist() == [1, 0, 1]
    assert table["distance"].to_pylist() == [0.25] * 3
