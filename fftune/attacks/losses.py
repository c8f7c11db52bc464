"""Attack losses, which searches maximise: one number for each example, larger is nearer to success.

z_(1) >= z_(2) >= ... are the sorted logits. Every loss is defined for two and three classes.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fftune.attacks.goals import is_toward, success
from fftune.config import Goal, Loss
from fftune.config.validation import require_word
from fftune.errors import ConfigError

TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackObjective:
    """Goal and loss of an attack, for the rows of a batch.

    "adversarial" climbs the loss of `y` (Madry et al. 2018), "targeted" and "hypocritical"
    descend it (Tao et al. 2022, sec. 3.1). "stability" climbs KL(p(x) || p(x')) (Zhang et al.
    2019; Tao et al. 2022, eq. 2), or is adversarial to the clean prediction. "hedge" climbs the
    cross-entropy of all classes at once (Wu et al. 2021, alg. 1), "label_free" descends it.
    Loss "linear" is a class's negated score, as their section 5 has it.

    Loss "probability_margin" is the margin of the softmax probabilities, max_{j != y} p_j - p_y
    (Xie et al. 2024, "PMA"), in [-1, 1]. It is finite for all finite logits, but it knows their
    scale: where y leads by more than 17, float32 cannot tell p_y from 1, so that the loss stands
    still at -1 and its gradient is that of the rival's logit alone, times twice its probability;
    by more than 104 that is 0, and nothing is left to climb. A net whose logits are multiplied
    by 1e4 is such a net nearly everywhere: searches with this loss then stay where they start,
    with status "zero-gradient", while the margin and DLR still climb.
    """

    goal: Goal
    loss: Loss
    y: Tensor
    """(B,) int64, the label that the goal speaks of."""
    logits_clean: Tensor | None = None
    """(B, K), given where the goal or the protocol needs them."""
    target: Tensor | None = None
    """(B,) int64, the class that a targeted adversary aims at; None: untargeted."""
    turns: Tensor | None = None
    """(B, steps) int64, the label whose loss is climbed at each step."""
    every: tuple[int, ...] = ()
    """The steps that climb the loss of all classes, whatever `turns` says."""

    def __post_init__(self) -> None:
        require_word("goal", self.goal, Goal)
        require_word("loss", self.loss, Loss)
        if not is_defined(self.goal, self.loss):
            raise ConfigError(f"loss {self.loss!r} is not defined for goal {self.goal!r}")

    def __call__(self, logits: Tensor) -> Tensor:
        """(B,) loss of the (B, K) logits of perturbed inputs; attacks maximise it."""
        if self.goal in ("hedge", "label_free"):
            every = -logits.sum(1) if self.loss == "linear" else all_classes(logits)
            return every if self.goal == "hedge" else -every
        if self.loss == "kl":
            assert self.logits_clean is not None
            return kl(self.logits_clean, logits)
        if self.loss == "ce":
            ce = F.cross_entropy(logits, self.label, reduction="none")
            return -ce if is_toward(self.goal) else ce
        if self.loss == "linear":
            score = _pick(logits, self.label)
            return score if is_toward(self.goal) else -score
        scores = logits.softmax(1) if self.loss == "probability_margin" else logits
        if is_toward(self.goal):
            return -margin(scores, self.y) / (scale(logits, 4) if self.loss == "dlr" else 1)
        if self.target is None:
            return margin(scores, self.label) / (scale(logits, 3) if self.loss == "dlr" else 1)
        lead = _pick(scores, self.target) - _pick(scores, self.label)
        return lead / (scale(logits, 4) if self.loss == "dlr" else 1)

    @property
    def label(self) -> Tensor:
        """(B,) int64, the label of the loss: `y`, or for "stability" the clean prediction."""
        if self.goal != "stability":
            return self.y
        assert self.logits_clean is not None
        return self.logits_clean.argmax(1)

    def at(self, step: int) -> "AttackObjective":
        """Return the objective that one step climbs; see `turns`."""
        if self.turns is None:
            return self
        y = self.turns[:, step]
        every = step in self.every
        loss: Loss = "ce" if every and self.loss != "linear" else self.loss
        return replace(self, y=y, goal="hedge" if every else self.goal, loss=loss)

    def is_success(self, logits: Tensor) -> Tensor:
        """(B,) bool, True where these logits serve the goal."""
        pred = logits.argmax(1)
        clean = pred if self.logits_clean is None else self.logits_clean.argmax(1)
        return success(self.goal, pred, clean, self.y)

    def select(self, rows: Tensor) -> "AttackObjective":
        """Return the objective for some rows, in the order given; rows may repeat."""
        clean, target, turns = self.logits_clean, self.target, self.turns
        return replace(
            self,
            y=self.y[rows],
            logits_clean=None if clean is None else clean[rows],
            target=None if target is None else target[rows],
            turns=None if turns is None else turns[rows],
        )


def steps_for_all_classes(turns: Tensor | None) -> tuple[int, ...]:
    """Steps of (B, steps) labels at which one is negative, which stands for all classes."""
    return () if turns is None else tuple((turns < 0).any(0).nonzero().flatten().tolist())


def is_defined(goal: Goal, loss: Loss) -> bool:
    """Tell if the goal has such a loss."""
    if goal in ("hedge", "label_free"):
        return loss in ("ce", "linear")
    return loss != "kl" or goal == "stability"


def require_margin(search: str, loss: Loss) -> None:
    """Raise `ConfigError` for any loss but "margin", for searches that are defined for it alone."""
    if loss != "margin":
        raise ConfigError(f"loss of {search!r} must be 'margin', got {loss!r}")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """(B,) max_{j != y} z_j - z_y (Carlini & Wagner 2017); positive where the net is wrong."""
    rivals = logits.scatter(1, y[:, None], -torch.inf)
    return rivals.amax(1) - _pick(logits, y)


def scale(logits: Tensor, last: int) -> Tensor:
    """(B,) denominator of DLR, which makes it free of the logits' scale (Croce & Hein 2020).

    z_(1) - z_(3) for `last` = 3 and z_(1) - (z_(3) + z_(4)) / 2 for `last` = 4. With three
    classes the latter is z_(1) - (z_(2) + z_(3)) / 2: over z_(1) - z_(3) a lead of the third
    class over the first would be constant, without a gradient. With two classes any such ratio
    is constant, so the margin itself is left.
    """
    if logits.shape[1] < 3:
        return torch.ones_like(logits[:, 0])
    z = logits.topk(min(last, logits.shape[1]), dim=1).values
    below = z[:, 2] if last == 3 else z[:, -2:].mean(1)
    # Equal logits have no scale; the sum keeps the division finite.
    return z[:, 0] - below + TINY


def kl(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """(B,) KL(p || q), the divergence of the softmax distributions of two (B, K) logits."""
    log_p, log_q = logits_p.log_softmax(1), logits_q.log_softmax(1)
    # kl_div(q, p) is KL(p || q): the first argument is the *second* distribution.
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def all_classes(logits: Tensor) -> Tensor:
    """(B,) sum over all classes c of CE(c), which equals K KL(uniform || p) + K log K."""
    return -logits.log_softmax(1).sum(1)


def _pick(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1)
