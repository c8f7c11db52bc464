"""State of an attack on a block, and the rows that it comes to."""

from dataclasses import dataclass

import pyarrow as pa
from torch import Tensor

from fftune.attacks import attack_spec
from fftune.config import config_hash
from fftune.evaluation.batteries import Attack
from fftune.evaluation.defended import DefendedPrediction, defended_hash
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.rows import RowKey, attack_rows, status_of
from fftune.evaluation.saved_images import Perturbed
from fftune.evaluation.stored_forms import StoredForm


@dataclass(slots=True, kw_only=True, eq=False)
class AttackAttempt:
    """State of an attack on a block, of which it tries B examples."""

    at: Tensor
    """(B,) int64, their positions in the block."""
    ids: Tensor
    x: Tensor
    y: Tensor
    label: Tensor
    """(B,) int64, the label that the goal speaks of."""
    clean: Tensor
    """(B, K), the untouched net's logits of x."""
    x_pert: Tensor
    pred: Tensor
    """(B,) int64, the untouched net's predictions of `x_pert`, the whole block at once."""
    won: Tensor
    """(B,) bool, the examples on which the attack has succeeded."""
    counts: Tensor
    """(5, B) int64: forwards, backwards, queries, useless gradients, and not finite ones."""
    remarks: tuple[str, ...] = ()
    """Status of each row of a certified bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Under:
    """Predictions of one draw of a defense."""

    perturbed: DefendedPrediction
    clean: Tensor
    """(B,) int64, predictions of the clean images under the same draw."""


@dataclass(frozen=True, slots=True, eq=False)
class AsFiles:
    """Form of storage, and what the net answers to the clean images in it."""

    form: StoredForm
    clean: Tensor
    """(B,) int64."""


def perturbed_of(attempt: AttackAttempt) -> Perturbed:
    """Images to keep: the attack's points with the untouched net's verdicts."""
    return Perturbed(
        ids=attempt.ids,
        x=attempt.x,
        x_pert=attempt.x_pert,
        y=attempt.y,
        pred_clean=attempt.clean.argmax(1),
        pred=attempt.pred,
        success=attempt.won,
    )


def rows_of(
    subject: ModelUnderTest,
    attempt: AttackAttempt,
    attack: Attack,
    seed: int,
    defended: Under | AsFiles | None = None,
) -> pa.Table:
    """Rows of the attack on the bare net, under one draw of a defense, or of a stored form."""
    config, clean = attack.config, attempt.clean.argmax(1)
    under = defended.perturbed if isinstance(defended, Under) else None
    form = defended.form.defense if isinstance(defended, AsFiles) else "none"
    which = config if attack.is_plain else attack
    minimal = not attack.is_ensemble and attack_spec(config.search).minimal
    key = RowKey(
        dataset_hash=subject.columns["dataset_hash"],
        split=subject.columns["split"],
        model_hash=subject.columns["model_hash"],
        attack=attack.name,
        config_hash=config_hash(which) if under is None else defended_hash(which, under),
        norm=config.threat.norm,
        eps=config.threat.eps,
        goal=attack.goal,
        seed=seed,
        protocol=attack.protocol,
        tier=attack.tier,
        defense=form if under is None else under.name,
        defense_repeat=0 if under is None else under.repeat,
    )
    return attack_rows(
        key,
        ids=attempt.ids,
        y=attempt.y,
        label=attempt.label,
        x=attempt.x,
        x_pert=attempt.x_pert,
        pred_clean=clean,
        pred_clean_defended=clean if defended is None else defended.clean,
        pred_pert=attempt.pred if under is None else under.pred,
        counts=attempt.counts[:3] if under is None else under.counts[:3],
        status=attempt.remarks or status_of(attempt.counts, missed=~attempt.won & minimal),
    )
