"""Analyses of why a hedge corrects or breaks a prediction (Wu et al. 2021, 4.2.2 and B.10)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.config import AttackConfig
from fftune.keyed_noise import Noise

Score = Literal["logit", "log_prob"]
"""Score f_c of a class. The paper does not say which. The log-probability of a confidently
predicted class is flat by construction, so that the two can differ in sign."""

SAMPLES = 32
"""Random points for each Lipschitz estimate."""


def gradient_gap(
    net: nn.Module, x: Tensor, false: Tensor, true: Tensor, *, score: Score = "logit"
) -> Tensor:
    """(B,) ||grad f_false||_1 - ||grad f_true||_1, the difference of local slopes for l_inf steps.

    Positive where the true class is the smoother one, on which Hedge Defense relies.

    Args:
        x: (B, C, H, W) in [0, 1].
        false, true: (B,) int64, the classes compared.
    """
    return _slope(net, x, false, score) - _slope(net, x, true, score)


def ratio_gap(
    net: nn.Module,
    x: Tensor,
    false: Tensor,
    true: Tensor,
    *,
    score: Score = "logit",
    eps: float,
    noise: Noise,
    ids: Tensor,
) -> Tensor:
    """(B,) difference of the largest sampled |f_c(x') - f_c(x)| / ||x' - x||_inf of each class.

    Over `SAMPLES` points, uniform in the l_inf ball of radius `eps`: a lower bound of each
    Lipschitz constant, from the same points for both classes.
    """
    largest, ids = x.new_zeros(2, len(x)), ids.to(x.device)
    with torch.no_grad():
        at = _scores(net(x), score)
        for draw in range(SAMPLES):
            delta = eps * (2 * noise.fold("lipschitz", draw).uniform(ids, tuple(x.shape[1:])) - 1)
            away = delta.to(x).flatten(1).abs().amax(1)
            change = (_scores(net(x + delta.to(x)), score) - at).abs()
            for row, label in zip(largest, (false, true), strict=True):
                row.copy_(torch.maximum(row, change.gather(1, label[:, None]).squeeze(1) / away))
    return largest[0] - largest[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondAttack:
    """Counts of correctly classified examples under a first and a second attack (B.10)."""

    correct: int
    flipped: int  # by the first attack
    flipped_again: int  # of these, by a second one, on the false prediction
    returned: int  # of these, to the truth
    survived: int  # right after the first attack
    survivors_flipped: int  # of these, by the second

    def __add__(self, other: "SecondAttack") -> "SecondAttack":
        names = [f.name for f in fields(self)]
        return SecondAttack(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def __str__(self) -> str:
        return (
            f"second attack: {self.correct} right, {self.flipped} flipped; a second attack flips "
            f"{self.flipped_again} of these, {self.returned} back to the truth, and "
            f"{self.survivors_flipped} of the {self.survived} that survived"
        )


def second_attacks(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    config: AttackConfig,
    noise: Noise,
    ids: Tensor,
    lengths: Sequence[int],
) -> tuple[SecondAttack, ...]:
    """Attack the predictions of adversarial examples, from there, in a ball of the same radius.

    Of two second attacks the longer one goes through where the shorter one ends, so that their
    counts are success over attack steps (Wu et al. 2021, fig. 9).

    Args:
        x: (B, C, H, W) in [0, 1].
        y: (B,) int64, the true classes.
        lengths: steps of each second attack; 0 leaves it at its random start.

    Returns:
        Counts for each length, all after one and the same first attack.
    """
    with torch.no_grad():
        right = net(x).argmax(1) == y
    x, y, ids = x[right], y[right], ids[right.cpu()]

    def attacked(x: Tensor, label: Tensor, steps: int, noise: Noise) -> tuple[Tensor, Tensor]:
        one = replace(config, steps=steps, step_size=config.step_length)
        x_adv = pgd(net, x, label, config=one, goal="adversarial", loss="ce", noise=noise, ids=ids)
        with torch.no_grad():
            return x_adv, net(x_adv).argmax(1)

    x_adv, first = attacked(x, y, config.steps, noise)
    again = (attacked(x_adv, first, steps, noise.fold("second"))[1] for steps in lengths)
    return tuple(_counted(y, first, second) for second in again)


def _counted(y: Tensor, first: Tensor, second: Tensor) -> SecondAttack:
    """Count what the second attack does to the predictions that the first has left."""
    flipped, moved = first != y, second != first
    return SecondAttack(
        correct=len(y),
        flipped=int(flipped.sum()),
        flipped_again=int((flipped & moved).sum()),
        returned=int((flipped & (second == y)).sum()),
        survived=int((~flipped).sum()),
        survivors_flipped=int((~flipped & moved).sum()),
    )


def _slope(net: nn.Module, x: Tensor, label: Tensor, score: Score) -> Tensor:
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        chosen = _scores(net(x), score).gather(1, label[:, None])
        (grad,) = torch.autograd.grad(chosen.sum(), x)
    norm: Tensor = grad.abs().flatten(1).sum(1)
    return norm


def _scores(logits: Tensor, score: Score) -> Tensor:
    return logits if score == "logit" else logits.log_softmax(1)
