"""One attack on one block: the unit of work, which is computed alike wherever it runs."""

import time
from dataclasses import replace
from functools import partial

import pyarrow as pa
import torch
from torch import Tensor, nn

from fftune.attacks import attack_spec, protocol_of, success
from fftune.attacks.query_counter import QueryCounter
from fftune.attacks.search_state import EARLY, checked_before
from fftune.data.dataset import Batch
from fftune.devices import policy
from fftune.errors import DataError
from fftune.evaluation.attempt import AsFiles, AttackAttempt, Under, perturbed_of, rows_of
from fftune.evaluation.batteries import Attack
from fftune.evaluation.certificate import Certificate, at_worst, smoothed_at_worst
from fftune.evaluation.choice import preferred
from fftune.evaluation.defended import CLEAN, DefenseSet
from fftune.evaluation.model_under_test import ModelUnderTest, logits_of
from fftune.evaluation.stored_forms import StoredForm, is_stored
from fftune.evaluation.tiers import AttackStage
from fftune.evaluation.transfer import Transfer, transfer
from fftune.keyed_noise import ExampleNoise, Noise


def attack_block(
    subject: ModelUnderTest, block: Batch, attack: Attack, *, noise: Noise
) -> pa.Table:
    """Attack one block: its rows, which depend on nothing but the arguments.

    Where the subject has defenses, the same perturbed examples are scored again under each draw
    of each defense, in rows of their own.

    Args:
        noise: the attackers' noise of (data set, split).

    Raises:
        ModelError: the net does not return finite logits of its classes, a row an example.
        DataError: a label is not one of the classes.
    """
    attempt = searched(subject, block, attack, noise)
    if subject.keep is not None and len(attempt.y):
        verdict = partial(_verdict, subject)
        subject.keep(attack, perturbed_of(attempt), verdict)
    tables = [rows_of(subject, attempt, attack, noise.seed)]
    if subject.defense_set is not None and len(attempt.y):
        defense_set, at = subject.defense_set, attempt.at
        repeats = defense_set.scored(attack.name)
        under = [
            *defense_set.predictions(
                subject.net, attempt.x_pert, attempt.ids, repeats, piece=subject.piece
            )
        ]
        clean = [v.pred for v in under]
        if attack.name != CLEAN:
            clean = [pred[at] for pred in _clean_behind(subject, defense_set, block)]
        if isinstance(attack, Certificate):
            key = ExampleNoise(defense_set.noise, attempt.ids)
            under = smoothed_at_worst(attack, subject.net, attempt.x, attempt.y, key, under)
        tables += [
            rows_of(subject, attempt, attack, noise.seed, Under(perturbed, pred))
            for perturbed, pred in zip(under, clean, strict=True)
        ]
    if len(attempt.y) and is_stored(attack):
        tables += [_as_files(subject, attempt, attack, noise.seed, f) for f in subject.stored]
    return pa.concat_tables(tables)


def _as_files(
    subject: ModelUnderTest, attempt: AttackAttempt, attack: Attack, seed: int, form: StoredForm
) -> pa.Table:
    """Rows of what an attack has perturbed, as files of a form hold it."""
    threat = attack.config.threat
    x_pert = form.stored(attempt.x_pert, attempt.x, threat)
    clean = form.stored(attempt.x, attempt.x, threat)
    stored = replace(
        attempt,
        x_pert=x_pert,
        pred=_verdict(subject, x_pert),
        counts=torch.zeros_like(attempt.counts),
    )
    return rows_of(subject, stored, attack, seed, AsFiles(form, _verdict(subject, clean)))


def judged_block(
    subject: ModelUnderTest, block: Batch, attack: Attack, *, noise: Noise
) -> tuple[pa.Table, dict[int, float]]:
    """Attack one block: rows on the bare net, and the margin of each prediction, by id.

    Margins are the differences of the two largest logits, which rows do not keep.
    """
    attempt = searched(subject, block, attack, noise)
    rows = rows_of(subject, attempt, attack, noise.seed)
    if not len(attempt.y):
        return rows, {}
    first, second = logits_of(subject, attempt.x_pert).topk(2, dim=1).values.unbind(1)
    return rows, dict(zip(attempt.ids.tolist(), (first - second).tolist(), strict=True))


def searched(subject: ModelUnderTest, block: Batch, attack: Attack, noise: Noise) -> AttackAttempt:
    """Attack one block: the perturbed examples, which rows do not keep. See `attack_block`."""
    attempt = _begin(subject, block, attack)
    if isinstance(attack, Certificate):
        found = at_worst(attack, subject.net, attempt.x, attempt.y, attempt.clean)
        attempt.pred, attempt.remarks = found
        attempt.won = success(attack.goal, attempt.pred, attempt.clean.argmax(1), attempt.label)
    elif isinstance(attack, Transfer):
        transfer(attempt, attack, subject.others, noise, partial(_judge, subject, attempt, attack))
    elif attack.choice is not None and len(attempt.y):
        _choose(subject, attempt, attack, noise)
    else:
        for at, stage in enumerate(attack.stages if len(attempt.y) else ()):
            began = time.perf_counter()
            _run(subject, attempt, stage, attack, noise)
            _tell(subject, attempt, attack, at, began)
    return attempt


def _tell(
    subject: ModelUnderTest, attempt: AttackAttempt, attack: Attack, at: int, began: float
) -> None:
    """Tell what a search of an adversary's ensemble has left."""
    if subject.running is None or not attack.is_ensemble or attack.goal != "adversarial":
        return
    left = int((~attempt.won & (attempt.clean.argmax(1) == attempt.y)).sum())
    tried, seconds = len(attempt.y), time.perf_counter() - began
    subject.running(attack, at, left, tried, seconds)


def _verdict(subject: ModelUnderTest, x: Tensor) -> Tensor:
    return logits_of(subject, x).argmax(1)


def _choose(subject: ModelUnderTest, attempt: AttackAttempt, attack: Attack, noise: Noise) -> None:
    """Run every search on all examples, and let the attacker choose among their points."""
    assert attack.choice is not None
    every, points = torch.arange(len(attempt.y), device=attempt.y.device), []
    for stage in attack.stages:
        attempt.x_pert, attempt.won = attempt.x, torch.zeros_like(attempt.won)
        _search(subject.surrogate, subject, attempt, stage, attack, every, noise)
        points.append(attempt.x_pert)
    counted = QueryCounter(subject.surrogate, attempt.clean)
    mine, label = ExampleNoise(noise, attempt.ids), attempt.label
    attempt.x_pert = preferred(
        attack.choice, counted, points, attack.goal, label=label, clean=attempt.clean, noise=mine
    )
    attempt.counts += counted.counts
    _judge(subject, attempt, attack)


def _judge(subject: ModelUnderTest, attempt: AttackAttempt, attack: Attack) -> None:
    """Ask the untouched net about the perturbed examples."""
    attempt.pred = logits_of(subject, attempt.x_pert).argmax(1)
    attempt.won = success(attack.goal, attempt.pred, attempt.clean.argmax(1), attempt.label)


def _begin(subject: ModelUnderTest, block: Batch, attack: Attack) -> AttackAttempt:
    ids, x, y = block[0], block[1].to(subject.device), block[2].to(subject.device)
    at = torch.arange(len(y), device=y.device)
    low, high = block[2].aminmax() if len(y) else (0, 0)  # here, where nothing waits for a device
    if not 0 <= int(low) <= int(high) < subject.classes:
        found = f"{int(low)} to {int(high)}"
        raise DataError(f"labels must be from 0 to {subject.classes - 1}, got {found}")
    key = tuple(ids.tolist())
    if key not in subject.clean:
        subject.clean[key] = logits_of(subject, x)
    clean = subject.clean[key]
    if attack.scope != "all":
        kept = clean.argmax(1) != y
        if attack.scope == "mistaken" and subject.defense_set is not None:
            # No draw that an attack is judged under: those would choose the examples by its luck.
            first = subject.defense_set.repeats
            for pred in _clean_behind(subject, subject.defense_set, block, first=first):
                kept |= pred != y
        at = kept.nonzero().flatten()
        ids, x, y, clean = ids[at.cpu()], x[at], y[at], clean[at]
    label = y if attack.target is None else torch.full_like(y, attack.target)
    pred = clean.argmax(1)
    won = torch.zeros_like(y, dtype=torch.bool)
    return AttackAttempt(
        at=at,
        ids=ids,
        x=x,
        y=y,
        label=label,
        clean=clean,
        x_pert=x,
        pred=pred,
        # There, x itself is the first thing that is tried.
        won=success(attack.goal, pred, pred, label) if attack.protocol in EARLY else won,
        counts=torch.zeros(5, len(y), dtype=torch.int64, device=y.device),
    )


def _clean_behind(
    subject: ModelUnderTest, defense_set: DefenseSet, block: Batch, *, first: int = 0
) -> list[Tensor]:
    """(len(block),) int64 predictions of the clean images, for m draws of each defense."""
    key = first, tuple(block[0].tolist())
    if key not in subject.behind:
        x, m = block[1].to(subject.device), defense_set.repeats
        under = defense_set.predictions(
            subject.net, x, block[0], m, first=first, piece=subject.piece
        )
        subject.behind[key] = [drawn.pred for drawn in under]
    return subject.behind[key]


def _run(
    subject: ModelUnderTest,
    attempt: AttackAttempt,
    stage: AttackStage,
    attack: Attack,
    noise: Noise,
) -> None:
    """Run one search on the examples that are not yet successes, and update the attempt.

    Under protocols that are not `EARLY` all are tried, so that it is the same search as if it ran
    alone. Where a copy of the net claims a success which the untouched net denies, the search is
    run again on the untouched net. What survives a search in bf16 is searched again in fp32 where
    the device's policy says so.
    """
    protocol = protocol_of(stage.config)
    at = (~attempt.won | (protocol not in EARLY)).nonzero().flatten()
    if protocol not in EARLY:
        _search(subject.surrogate, subject, attempt, stage, attack, at, noise)
        return
    lowp = subject.surrogate_lowp if protocol == "first_success" else subject.surrogate
    denied = _search(lowp, subject, attempt, stage, attack, at, noise)
    if lowp is not subject.surrogate and policy(subject.device).bf16_again:
        at = (~attempt.won).nonzero().flatten()
        denied = _search(subject.surrogate, subject, attempt, stage, attack, at, noise)
    if len(denied):
        _search(subject.net, subject, attempt, stage, attack, denied, noise)


def _search(
    net: nn.Module,
    subject: ModelUnderTest,
    attempt: AttackAttempt,
    stage: AttackStage,
    attack: Attack,
    at: Tensor,
    noise: Noise,
) -> Tensor:
    """Search for the examples `at`; return those whose claimed success the untouched net denies."""
    if not len(at):
        return at
    counted = QueryCounter(net, attempt.clean[at], at, examples=len(attempt.y))
    x, label = attempt.x[at], attempt.label[at]
    asked: nn.Module = counted
    examples = ExampleNoise(noise, attempt.ids).select(at)
    if stage.access is not None:
        assert subject.defense_set is not None
        defender = subject.defense_set.noise
        asked = stage.access.wrap(counted, noise=examples, defender=defender)
    with checked_before():  # data sets hold pixels in [0, 1], `_begin` looked at the labels
        x_pert = attack_spec(stage.config.search).run(
            asked,
            x,
            label,
            config=stage.config,
            goal=attack.goal,
            loss=stage.loss,
            noise=examples.noise,
            ids=examples.ids,
        )
    attempt.counts += counted.counts
    open_ = ~attempt.won[at]
    attempt.x_pert = attempt.x_pert.clone()
    attempt.x_pert[at[open_]] = x_pert[open_]
    stage.require_inside(attempt.x_pert, attempt.x)
    _judge(subject, attempt, attack)
    lost = at[~attempt.won[at]]
    if net is subject.net or protocol_of(stage.config) not in EARLY or not len(lost):
        return lost[:0]
    with torch.no_grad():
        pred = net(x_pert[~attempt.won[at]]).argmax(1)
    clean, label = attempt.clean[lost].argmax(1), attempt.label[lost]
    return lost[success(attack.goal, pred, clean, label)]
