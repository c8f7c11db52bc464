"""Certified bounds on risks of l_inf-distance nets (Tao et al. 2022, corollary G.1).

If every pixel moves by at most eps, a logit of such a net moves by at most lipschitz x eps. Where
the margin between two logits exceeds twice that, no point of the closed ball reverses them.
"""

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor, nn

from fftune.config import ThreatModel
from fftune.errors import ConfigError, ModelError
from fftune.models.linf_dist import LinfDist

EPS_SLACK = (1e-5, 1e-6)
"""Relative and absolute slack by which rounded points may lie outside; see `threat.is_inside`."""


def stays_right(
    logits: Tensor, y: Tensor, *, eps: float, lipschitz: float, slack: float = 0.0
) -> Tensor:
    """Mark examples that are correct at every x' with ||x' - x||_inf <= eps, x included.

    Their share is a certified lower bound of adversarial accuracy.

    Args:
        logits: (B, K) at x.
        y: (B,) int64, true classes.
        eps: radius, for pixels in [0, 1].
        lipschitz: bound on the change of a logit per unit of change in the pixels.
        slack: bound on the rounding error of a margin.

    Returns:
        (B,) bool.
    """
    exact = _finite(logits)
    rivals = exact.scatter(1, y[:, None], -torch.inf).amax(1)
    return _lasts(_of(exact, y) - rivals, eps, lipschitz, slack)


def stays_wrong(
    logits: Tensor, y: Tensor, *, eps: float, lipschitz: float, slack: float = 0.0
) -> Tensor:
    """Mark examples that are misclassified at every x' with ||x' - x||_inf <= eps, x included.

    The other misclassified examples bound the hypocritical risk from above: corollary G.1, here
    for the closed ball, in which a margin of exactly 2 eps can end in a tie. Arguments and result
    are those of `stays_right`.
    """
    exact = _finite(logits)
    return _lasts(exact.amax(1) - _of(exact, y), eps, lipschitz, slack)


def _finite(logits: Tensor) -> Tensor:
    """Convert logits to float64, in which margins are exact."""
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("a net whose logits are not finite numbers cannot be certified")
    return logits.double()


def _of(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1)


def _lasts(margin: Tensor, eps: float, lipschitz: float, slack: float) -> Tensor:
    """Does a margin exceed all that two logits can move in the ball, and their rounding?

    Slack counts twice, for the margin at x and for that at x'.
    """
    relative, absolute = EPS_SLACK
    reach = eps * (1 + relative) + absolute
    return margin > 2 * lipschitz * reach + 2 * slack


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedCounts:
    """Counts of examples whose prediction is certified within radius `eps`."""

    eps: float
    total: int = 0
    """Examples evaluated."""
    wrong: int = 0
    """Misclassified when clean."""
    stays_right: int = 0
    """Correct, and no adversarial attack can change that."""
    stays_wrong: int = 0
    """Misclassified, and no hypocritical attack can change that."""

    def __add__(self, other: "CertifiedCounts") -> "CertifiedCounts":
        if self.eps != other.eps:
            raise ConfigError(f"eps must be {self.eps!r} for all counts, got {other.eps!r}")
        return CertifiedCounts(
            eps=self.eps,
            total=self.total + other.total,
            wrong=self.wrong + other.wrong,
            stays_right=self.stays_right + other.stays_right,
            stays_wrong=self.stays_wrong + other.stays_wrong,
        )

    @property
    def foolable(self) -> int:
        """Upper bound of the number of correct examples that an attack can fool."""
        return self.total - self.wrong - self.stays_right

    @property
    def concealable(self) -> int:
        """Upper bound of the number of misclassified examples that an attack can conceal."""
        return self.wrong - self.stays_wrong

    @property
    def hypocritical_risk(self) -> float:
        """Upper bound of hypocritical risk on D-; nan without mistakes."""
        return self.concealable / self.wrong if self.wrong else nan

    @property
    def adversarial_risk(self) -> float:
        """Upper bound of adversarial risk on D+; nan without correct examples."""
        right = self.total - self.wrong
        return self.foolable / right if right else nan

    @property
    def adversarial_accuracy(self) -> float:
        """Lower bound of accuracy on adversarially perturbed examples."""
        return self.stays_right / self.total if self.total else nan

    @property
    def hypocritical_accuracy(self) -> float:
        """Upper bound of accuracy on hypocritically perturbed examples."""
        return 1 - self.stays_wrong / self.total if self.total else nan

    def __str__(self) -> str:
        return (
            f"certified for these {self.total:,} examples, l_inf <= {self.eps:.6g}, this fp32 net: "
            f"hypocritical risk at most {self.hypocritical_risk:.2%} (n- = {self.wrong:,}), "
            f"adversarial accuracy at least {self.adversarial_accuracy:.2%}"
        )


def certify(model: nn.Module, x: Tensor, y: Tensor, *, threat: ThreatModel) -> CertifiedCounts:
    """Certify the predictions of an l_inf-distance net on a batch, in one forward pass.

    Args:
        x: (B, C, H, W) fp32, pixels in [0, 1].
        y: (B,) int64, true classes.

    Returns:
        Counts, which add over batches.

    Raises:
        ConfigError: the norm is not linf.
        ModelError: the model is not a bare `linf_dist` net in eval mode at p = infinity in fp32,
            or the images do not fit it.
    """
    bounds = bounds_of(model, x, threat=threat)
    with torch.no_grad():
        logits = model(x)
    right = logits.argmax(1) == y
    return CertifiedCounts(
        eps=threat.eps,
        total=len(y),
        wrong=int((~right).sum()),
        stays_right=int((right & stays_right(logits, y, **bounds)).sum()),
        stays_wrong=int((~right & stays_wrong(logits, y, **bounds)).sum()),
    )


def bounds_of(model: nn.Module, x: Tensor, *, threat: ThreatModel) -> dict[str, float]:
    """Return the bounds of an l_inf-distance net, as `stays_right` and `stays_wrong` take them.

    Args:
        x: (B, C, H, W) fp32, pixels in [0, 1], the images that are to be certified.

    Raises:
        ConfigError, ModelError: see `certify`.
    """
    if threat.norm != "linf":
        raise ConfigError(f"norm must be 'linf' to be certified, got {threat.norm!r}")
    net = _certifiable(model, x)
    slack = 2 * net.rounding()  # two logits make a margin
    return {"eps": threat.eps, "lipschitz": net.lipschitz, "slack": slack}


def _certifiable(model: nn.Module, x: Tensor) -> LinfDist:
    if not isinstance(model, LinfDist):
        raise ModelError(f"only a bare linf_dist net can be certified, got {type(model).__name__}")
    if model.p != torch.inf:
        raise ModelError(f"a net can be certified at p = inf only, got p = {model.p:g}")
    if any(module.training for module in model.modules()):
        raise ModelError("a net can be certified in eval mode only")
    types = {x.dtype, *(value.dtype for value in [*model.parameters(), *model.buffers()])}
    if types != {torch.float32}:
        raise ModelError(f"a net can be certified in fp32 only, got {sorted(map(str, types))}")
    if len(x) and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise ModelError("images to certify must have pixels in [0, 1]")
    return model
