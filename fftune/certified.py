"""Certified bounds of an l_inf-distance net's risks (Tao et al. 2022, corollary G.1).

A logit of such a net moves at most lipschitz x eps while pixels move eps. If the margin
between two logits is larger than twice that, no point of the closed ball reverses them.
"""

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor, nn

from fftune.config import ThreatModel
from fftune.errors import ConfigError, ModelError
from fftune.models.linf_dist import LinfDist

EPS_SLACK = (1e-5, 1e-6)
"""Relative and absolute: `fftune.threat.is_inside` lets rounded points lie that far outside."""


def stays_right(
    logits: Tensor, y: Tensor, *, eps: float, lipschitz: float, slack: float = 0.0
) -> Tensor:
    """(B,) bool, True where right at x and at every x' with ||x' - x||_inf <= eps.

    A certified lower bound of adversarial accuracy is the share of these.

    Args:
        logits: (B, K) at x.
        eps: in pixels of [0, 1].
        lipschitz: the most a logit moves for each unit that a pixel moves.
        slack: how far one computed margin may be from the exact one.
    """
    exact = _finite(logits)
    rivals = exact.scatter(1, y[:, None], -torch.inf).amax(1)
    return _lasts(_of(exact, y) - rivals, eps, lipschitz, slack)


def stays_wrong(
    logits: Tensor, y: Tensor, *, eps: float, lipschitz: float, slack: float = 0.0
) -> Tensor:
    """(B,) bool, True where wrong at x and at every x' with ||x' - x||_inf <= eps.

    Corollary G.1 for the closed ball, where a margin of exactly 2 eps can end in a tie: what is
    wrong but not among these bounds the hypocritical risk from above. Arguments as above.
    """
    exact = _finite(logits)
    return _lasts(exact.amax(1) - _of(exact, y), eps, lipschitz, slack)


def _finite(logits: Tensor) -> Tensor:
    """Convert to float64, in which margins are exact."""
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("a net whose logits are not finite numbers cannot be certified")
    return logits.double()


def _of(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1)


def _lasts(margin: Tensor, eps: float, lipschitz: float, slack: float) -> Tensor:
    """(B,) bool, True for margins larger than both logits can move and be misread.

    Slack counts twice, once for the margin here and once for that at x'.
    """
    relative, absolute = EPS_SLACK
    reach = eps * (1 + relative) + absolute
    return margin > 2 * lipschitz * reach + 2 * slack


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedCounts:
    """Counts over `total` examples: wrong when clean, and certified within `eps`."""

    eps: float
    total: int = 0
    wrong: int = 0
    """Examples that are misclassified when clean."""
    stays_right: int = 0
    """Examples that no adversary can turn from right to wrong."""
    stays_wrong: int = 0
    """Mistakes that no hypocritical attack can conceal."""

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
        """Upper bound of the examples that an adversary can turn from right to wrong."""
        return self.total - self.wrong - self.stays_right

    @property
    def concealable(self) -> int:
        """Upper bound of the mistakes that a hypocritical attack can turn to right."""
        return self.wrong - self.stays_wrong

    @property
    def hypocritical_risk(self) -> float:
        """Upper bound of R_hyp on D-, conditional on this net's mistakes; nan without any."""
        return self.concealable / self.wrong if self.wrong else nan

    @property
    def adversarial_risk(self) -> float:
        """Upper bound of R_adv on D+."""
        right = self.total - self.wrong
        return self.foolable / right if right else nan

    @property
    def adversarial_accuracy(self) -> float:
        """Lower bound of A."""
        return self.stays_right / self.total if self.total else nan

    @property
    def hypocritical_accuracy(self) -> float:
        """Upper bound of F."""
        return 1 - self.stays_wrong / self.total if self.total else nan

    def __str__(self) -> str:
        return (
            f"certified for these {self.total:,} examples, l_inf <= {self.eps:.6g}, this fp32 net: "
            f"hypocritical risk at most {self.hypocritical_risk:.2%} (n- = {self.wrong:,}), "
            f"adversarial accuracy at least {self.adversarial_accuracy:.2%}"
        )


def certify(model: nn.Module, x: Tensor, y: Tensor, *, threat: ThreatModel) -> CertifiedCounts:
    """Count what no attack can change; one forward pass. Counts of batches add.

    Args:
        x: (B, C, H, W) fp32, pixels in [0, 1].
        y: (B,) int64.

    Raises:
        ConfigError: the norm is not linf.
        ModelError: it is not a bare `linf_dist` net in eval mode at p = infinity in fp32, or
            the images are not what it takes.
    """
    if threat.norm != "linf":
        raise ConfigError(f"norm must be 'linf' to be certified, got {threat.norm!r}")
    _require_certifiable(model, x)
    assert isinstance(model, LinfDist)
    with torch.no_grad():
        logits = model(x)
    bounds = {
        "eps": threat.eps,
        "lipschitz": model.lipschitz,
        "slack": 2 * model.rounding(),  # two logits make a margin
    }
    right = logits.argmax(1) == y
    return CertifiedCounts(
        eps=threat.eps,
        total=len(y),
        wrong=int((~right).sum()),
        stays_right=int((right & stays_right(logits, y, **bounds)).sum()),
        stays_wrong=int((~right & stays_wrong(logits, y, **bounds)).sum()),
    )


def _require_certifiable(model: nn.Module, x: Tensor) -> None:
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
