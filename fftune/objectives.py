"""Training objectives: losses of logits, and the search that crafts their perturbed images.

The records can be read without torch, which is imported when a loss is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from fftune.config import Goal, Loss, TrainConfig
from fftune.config.validation import require_word
from fftune.errors import ConfigError
from fftune.registry import OBJECTIVES, require_call

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Crafting:
    """The attack whose perturbed images an objective trains on."""

    goal: Goal
    loss: Loss
    joint: bool
    """The clean batch takes part, in one forward pass with the perturbed one."""

    def __post_init__(self) -> None:
        require_word("crafting goal", self.goal, Goal)
        require_word("crafting loss", self.loss, Loss)


class TrainingHooks(Protocol):
    """A loss that changes as training goes on, and what it does to the net around each step."""

    def loss(self, logits: "Tensor", y: "Tensor") -> "Tensor":
        """The loss of a batch, a scalar.

        Args:
            logits: (B, K) on the clean batch.
            y: (B,) int64.
        """

    def before_step(self, done: int) -> None:
        """Prepare the net for a step, after `done` steps of the run."""

    def before_update(self, lr: float) -> None:
        """Change weights or gradients between the backward pass and the optimiser's step."""

    def finish(self) -> None:
        """Bring the net into its final state, after the last step."""


HooksFactory = Callable[["nn.Module", TrainConfig, int], TrainingHooks]
"""Makes hooks of the net, its settings and the number of steps of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSpec:
    """A training objective: its loss, the images it is computed on, how training handles it."""

    loss: "Callable[..., Tensor] | None" = None
    """`loss(logits, logits_pert, y, *, lam)`, a scalar: logits (B, K) on the clean batch and on
    its perturbed counterpart, y (B,) int64, lam >= 0. What `crafting` does not call for is None:
    `logits_pert` without a crafting, `logits` where that is not joint. A spec without a loss has
    `hooks`."""
    crafting: Crafting | None = None
    """The search for the perturbed batch; None trains on the clean batch alone."""
    weighted: bool = False
    """`lam` weighs a second term. At lam = 0 the objective is cross-entropy on the clean batch,
    and training is `standard`, without any search."""
    validate_under_attack: bool = False
    """Validation accuracy is measured on adversarial examples, as the authors' code does."""
    one_step: bool = False
    """The search is a single step of 1.25 eps (Wong et al. 2020), and training is watched for
    catastrophic overfitting."""
    all_lambdas: bool = False
    """One net is trained for every lambda from 0 to `lam`: `loss` is given that of each example,
    lam (B,), and `logits_pert` (P, K) of the P examples whose lambda is not 0."""
    one_net: str = ""
    """Name of the objective that trains one net for all lambdas of this one; empty: none does."""
    needs_model: str = ""
    """The only net that can be trained in this way; empty: every net can."""
    hooks: HooksFactory | None = None
    """Instead of `loss`, for objectives that depend on the net or on the step."""
    summary: str = ""
    """One line for `python -m fftune.train --help`."""

    def at(self, lam: float) -> "ObjectiveSpec":
        """The objective that training at this lambda minimises: `STANDARD` where lambda is 0.

        No joint forward pass may happen then: its second half, weighted by zero, would still move
        BatchNorm's statistics.
        """
        return STANDARD if self.weighted and lam == 0 else self

    def value(self, logits: "Tensor", y: "Tensor", *, lam: float) -> "Tensor":
        """The objective's value, a scalar.

        Args:
            logits: (B, K), or (2B, K) on the clean batch and its perturbed counterpart where the
                crafting is joint.
            y: (B,) int64.
            lam: that of each example, where they may differ.

        Raises:
            ConfigError: the objective has no loss of logits alone.
        """
        if self.loss is None:
            raise ConfigError("objective must have a loss of logits, this one has only hooks")
        if self.crafting is None:
            return self.loss(logits, None, y, lam=lam)
        if not self.crafting.joint:
            return self.loss(None, logits, y, lam=lam)
        clean, perturbed = logits.chunk(2)
        if not self.all_lambdas:
            return self.loss(clean, perturbed, y, lam=lam)
        return self.loss(clean, perturbed, y, lam=logits.new_full((len(y),), lam))


def find_objective(name: str) -> ObjectiveSpec:
    """The objective of a name in the table, of an entry point, or of `FILE.py:NAME`.

    Raises:
        ConfigError: there is no such objective.
    """
    try:
        return as_objective(OBJECTIVES[name])
    except TypeError as error:
        raise ConfigError(f"objective {name!r} {error}") from None


def as_objective(found: object) -> ObjectiveSpec:
    """An `ObjectiveSpec` as it is, or a plain function `loss(logits, logits_pert, y, *, lam)`.

    A function's perturbed batch is that of its attribute `crafting`, if it has one, else
    adversarial examples (cross-entropy), in one forward pass with the clean batch. It is weighted.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(found, ObjectiveSpec):
        return found
    if not callable(found):
        kind = type(found).__name__
        raise TypeError(f"must be an ObjectiveSpec or a function, got {kind}")
    require_call("objective", found, None, None, None, lam=0.0)
    crafting = getattr(found, "crafting", Crafting("adversarial", "ce", joint=True))
    return ObjectiveSpec(loss=found, crafting=crafting, weighted=True)


def objective_of(config: TrainConfig) -> ObjectiveSpec:
    """The objective that a training minimises: `STANDARD` where its lambda is 0."""
    return find_objective(config.objective).at(config.lam)


def cross_entropy(logits: "Tensor", y: "Tensor") -> "Tensor":
    """CE(p, y), the mean over the batch: p(x) of standard training, p(x_adv) of PGD-AT.

    Tao et al. 2022, eq. 1 (Madry et al. 2018). FastAT minimises the same as PGD-AT, with one
    long step from a random start (Wong et al. 2020).

    Args:
        logits: (B, K).
        y: (B,) int64.
    """
    import torch.nn.functional as F

    return F.cross_entropy(logits, y)


def trades(logits: "Tensor", logits_sta: "Tensor", y: "Tensor", *, lam: float) -> "Tensor":
    """CE(p(x), y) + lam * KL(p(x) || p(x_sta)). Tao et al. 2022, eq. 2 (Zhang et al. 2019).

    Args:
        logits: (B, K) on the clean batch; the KL's gradient flows through them as well.
        logits_sta: (B, K) on the same batch after an attack with goal "stability".
        y: (B,) int64.
        lam: the weight of stability risk, >= 0.
    """
    from fftune.attacks.losses import kl

    return cross_entropy(logits, y) + lam * kl(logits, logits_sta).mean()


def thrm(logits: "Tensor", logits_hyp: "Tensor", y: "Tensor", *, lam: float) -> "Tensor":
    """CE(p(x), y) + lam * KL(p(x) || p(x_hyp)). Tao et al. 2022, eq. 3.

    It differs from `trades` in how the perturbed batch is found, and in nothing else.

    Args:
        logits: (B, K) on the clean batch; the KL's gradient flows through them as well.
        logits_hyp: (B, K) on the same batch after an attack with goal "hypocritical".
        y: (B,) int64.
        lam: the weight of hypocritical risk, >= 0.
    """
    return trades(logits, logits_hyp, y, lam=lam)


def over_lambdas(
    logits: "Tensor", logits_pert: "Tensor", y: "Tensor", *, lam: "Tensor"
) -> "Tensor":
    """The mean of CE + lam x KL, each example with a lambda of its own.

    It is `trades` or `thrm` over a distribution of lambda, as Once-for-all Adversarial Training has
    it for CE (Wang et al. 2020). Nothing divides an example's loss by its lambda: large ones would
    not be learned (see experiments/LOG.md).

    Args:
        logits: (B, K) on the clean batch.
        logits_pert: (P, K) on the perturbed images of those with lambda > 0, in their order.
        y: (B,) int64.
        lam: (B,), >= 0. Where all are 0, this is the cross-entropy to the bit.
    """
    from fftune.attacks.losses import kl

    hard = lam > 0
    if not hard.any():
        return cross_entropy(logits, y)
    second = kl(logits[hard], logits_pert) * lam[hard]
    return cross_entropy(logits, y) + second.sum() / len(y)


def _on_clean(logits: "Tensor", _pert: None, y: "Tensor", *, lam: float) -> "Tensor":  # noqa: ARG001
    return cross_entropy(logits, y)


def _on_perturbed(_clean: None, logits: "Tensor", y: "Tensor", *, lam: float) -> "Tensor":  # noqa: ARG001
    return cross_entropy(logits, y)


def _linf_dist_hooks(model: "nn.Module", config: TrainConfig, steps: int) -> TrainingHooks:
    from fftune.models.linf_training import LinfDistTraining

    return LinfDistTraining.of(model, config, steps)


STANDARD = ObjectiveSpec(loss=_on_clean, summary="cross-entropy on clean images")
PGD_AT = ObjectiveSpec(
    loss=_on_perturbed,
    crafting=Crafting("adversarial", "ce", joint=False),
    validate_under_attack=True,
    summary="cross-entropy on adversarial examples (Madry et al. 2018)",
)
TRADES = ObjectiveSpec(
    loss=trades,
    crafting=Crafting("stability", "kl", joint=True),
    weighted=True,
    validate_under_attack=True,
    one_net="trades_all",
    summary="clean loss + lam x KL divergence under a stability attack (Zhang et al. 2019)",
)
THRM = ObjectiveSpec(
    loss=thrm,
    crafting=Crafting("hypocritical", "ce", joint=True),
    weighted=True,
    one_net="thrm_all",
    summary="clean loss + lam x KL divergence under a hypocritical attack (Tao et al. 2022)",
)
TRADES_ALL = replace(
    TRADES,
    loss=over_lambdas,
    all_lambdas=True,
    one_net="",
    summary="one net for trades at every lambda up to lam; CHECKPOINT@lam=20 is one of them",
)
THRM_ALL = replace(
    THRM,
    loss=over_lambdas,
    all_lambdas=True,
    one_net="",
    summary="one net for thrm at every lambda up to lam; CHECKPOINT@lam=20 is one of them",
)
FAST_AT = ObjectiveSpec(
    loss=_on_perturbed,
    crafting=Crafting("adversarial", "ce", joint=False),
    validate_under_attack=True,
    one_step=True,
    summary="one long step from a random start (Wong et al. 2020)",
)
LINF_DIST = ObjectiveSpec(
    needs_model="linf_dist",
    hooks=_linf_dist_hooks,
    summary="the l_inf-distance net, whose risks can be bounded (Zhang et al. 2021)",
)
