"""Comparison of a net's gradient with differences of its outputs.

Near a point differences are taken in float64, if the net can be copied into it: a step is then so
short that an ordinary net is linear between its ends. A longer step shows if the gradient holds as
far as an attack goes.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fftune.config import ThreatModel
from fftune.keyed_noise import Noise
from fftune.models.fits import connected_logits

DIRECTIONS = 8
"""Number of random sign directions, beside the sign of the gradient itself."""
NEAR = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Shorter step, in pixels of [0, 1], by the precision of the net."""
FAR = 1e-3
"""Longer step: a quarter of a level of 8 bits."""
AWAY_NEAR = {torch.float64: 0.1, torch.float32: 0.4}
"""Relative difference allowed between predicted and measured slopes at a point; in float64 the
worst of 4,800 points on each of two MNIST nets is off by 0.04 (benchmarks/RESULTS.md)."""
AWAY_FAR = 0.7
"""Relative difference allowed over the longer step, at the median of a net's points."""
FALSE = {torch.float64: 0.08, torch.float32: 0.25}
"""Share of differing points, and at least two, from which a gradient counts as misleading; in
float64 no point of a sound net comes near, so that two of twenty-four are enough."""
BENT = 0.1
"""Relative difference of the slopes to both sides above which a point is a kink."""
ABOVE_ROUNDING = 10
"""Multiple of the rounding error that slopes must exceed to be compared."""
TF32 = 1e-3
"""Rounding error of products on CUDA."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gradients:
    """Gradients at N points, as attacks would follow them."""

    points: Tensor
    """(N, C, H, W)"""
    ce: Tensor
    margin: Tensor
    """(N, C, H, W) each."""
    weights: Tensor
    """(N, K) weights of the logits whose sum is the margin: the best other class less the true."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slopes:
    """Slopes of the margin at N points in D directions: the gradient's sign and random signs."""

    predicted: Tensor
    """(N, D) slopes predicted by the gradient."""
    near: Tensor
    """(N, D) slopes measured over the shorter step."""
    far: Tensor
    """(N, D) slopes measured over the longer step."""
    bends: Tensor
    """(N, D) half the differences of the slopes to both sides, over the shorter step."""
    rounding: Tensor
    """(N,) rounding error of `near`."""
    rounding_far: Tensor
    """(N,) rounding error of `far`, which the net gives in its own precision."""
    precision: torch.dtype
    """Precision in which `near` was measured."""
    exact: bool = True
    """True if the gradient too was computed in float32 or better."""

    def doubt(self) -> str | None:
        """Evidence against the gradient, in figures; None where there is none."""
        near = self.away(self.near, self.rounding)
        kind = self.precision if self.exact else torch.float32
        limit, compared = AWAY_NEAR[kind], near.isfinite()
        off = compared & (near > limit)
        if int(off.sum()) >= max(2, FALSE[kind] * int(compared.sum())):
            where = f"{int(off.sum())} of {int(compared.sum())} points"
            return (
                f"is off by more than {limit:.0%} from what the net does over steps of "
                f"{NEAR[self.precision]:g} at {where} ({_images(off)} of {len(off) // 2} images), "
                f"there by {float(near[off].median()):.0%} (median)"
            )
        far = torch.where(compared, self.away(self.far, self.rounding_far), torch.nan)
        if int(far.isfinite().sum()) > 1 and float(far.nanmedian()) > AWAY_FAR:
            return (
                f"holds for steps of {NEAR[self.precision]:g} alone: over {FAR:g} it is off by "
                f"{float(far.nanmedian()):.0%} (median of {int(far.isfinite().sum())} points)"
            )
        return None

    def away(self, measured: Tensor, rounding: Tensor) -> Tensor:
        """(N,) relative errors of the gradient; nan where rounding is as large.

        Each is a root mean square over directions, without those that cross a kink.
        """
        level = torch.maximum(_size(self.predicted), _size(measured))
        smooth = (self.bends.abs() <= BENT * level[:, None]).double()
        larger = torch.maximum(_size(self.predicted, smooth), _size(measured, smooth))
        compared = (larger > ABOVE_ROUNDING * rounding) & (smooth.mean(1) >= 0.5)
        off = _size(self.predicted - measured, smooth) / larger
        return torch.where(compared, off, torch.nan)


def points(x: Tensor, threat: ThreatModel, noise: Noise, ids: Tensor) -> Tensor:
    """(2B, C, H, W): each `x`, then a random point of each ball, reflected at 0 and at 1.

    All leave room for the longer step: nets that clamp have kinks at 0 and at 1.
    """
    radius = threat.eps if threat.norm == "linf" else threat.eps / x[0].numel() ** 0.5
    moved = (x + radius * (2 * noise.uniform(ids, tuple(x.shape[1:])) - 1).to(x)).abs()
    return torch.cat([x, 1 - (1 - moved).abs()]).clamp(2 * FAR, 1 - 2 * FAR)


def random_signs(x: Tensor, noise: Noise, ids: Tensor) -> Tensor:
    """(DIRECTIONS, 2B, C, H, W) of +1 and -1, for `points`."""
    heads = noise.fold("signs").uniform(ids, (DIRECTIONS, *x.shape[1:])) < 0.5
    return torch.cat([heads, ~heads]).transpose(0, 1).to(x) * 2 - 1


def gradients(net: nn.Module, x: Tensor, y: Tensor) -> Gradients | None:
    """Gradients by autograd at points `x`; None where it does not connect logits and pixels.

    Args:
        x: (N, C, H, W).
        y: (N,) int64.

    Raises:
        Exception: any, if the net cannot be differentiated.
    """
    connected = connected_logits(net, x)
    if connected is None:
        return None
    leaf, logits = connected
    with torch.enable_grad():
        rivals = logits.detach().scatter(1, y[:, None], -torch.inf).argmax(1)
        weights = F.one_hot(rivals, logits.shape[1]) - F.one_hot(y, logits.shape[1])
        ce = F.cross_entropy(logits.float(), y, reduction="sum")
        margin = (logits.float() * weights).sum()
        # An output that no pixel is a part of has a gradient too, and it is zero.
        (of_ce,) = torch.autograd.grad(ce, leaf, retain_graph=True, materialize_grads=True)
        (of_margin,) = torch.autograd.grad(margin, leaf, materialize_grads=True)
    return Gradients(points=x, ce=of_ce, margin=of_margin, weights=weights)


def slopes(net: nn.Module, grads: Gradients, signs: Tensor) -> Slopes:
    """Measure slopes along the sign of the margin's gradient and along random signs.

    Args:
        signs: (DIRECTIONS, N, C, H, W), +1 and -1.
    """
    double = in_float64(net, grads.points[:2])
    copied, precision = (net, torch.float32) if double is None else (double, torch.float64)
    directions = [grads.margin.sign(), *signs.to(grads.points)]
    predicted = [(grads.margin.double() * d).flatten(1).sum(1) for d in directions]
    near, bends = _measured(copied, grads, directions, NEAR[precision], precision)
    far = near if double is None else _measured(net, grads, directions, FAR)[0]
    with torch.no_grad():
        largest = net(grads.points.clone()).double().abs().amax(1)
    coarse = epsilon(net, grads.points[:2])
    eps = coarse if double is None else torch.finfo(precision).eps
    return Slopes(
        predicted=torch.stack(predicted, 1),
        near=near,
        far=far,
        bends=bends,
        rounding=4 * eps * largest / NEAR[precision],
        rounding_far=4 * coarse * largest / FAR,
        precision=precision,
        exact=coarse <= TF32,
    )


@torch.no_grad()
def _measured(
    net: nn.Module,
    grads: Gradients,
    directions: Sequence[Tensor],
    step: float,
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """(N, D) slopes of the margin over a step to both sides, and (N, D) its bends in between."""
    x = grads.points.to(precision)

    def margin(at: Tensor) -> Tensor:
        logits: Tensor = net(at.clone())
        return (logits.double() * grads.weights).sum(1)

    middle = margin(x)
    ends = [(margin(x + step * d.to(x)), margin(x - step * d.to(x))) for d in directions]
    found = torch.stack([(up - down) / (2 * step) for up, down in ends], 1)
    bends = torch.stack([(up + down - 2 * middle) / (2 * step) for up, down in ends], 1)
    return found, bends


def in_float64(net: nn.Module, x: Tensor) -> nn.Module | None:
    """Copy of a net that computes the same in float64 all the way; None where there is none."""
    if any(isinstance(module, torch.jit.ScriptModule) for module in net.modules()):
        return None  # its code cannot be inspected
    try:
        double: nn.Module = copy.deepcopy(getattr(net, "_orig_mod", net)).double()
        with torch.no_grad():
            with _Precision() as seen:
                logits: Tensor = double(x.double())
            there: Tensor = net(x.clone())
    except Exception:  # noqa: BLE001 - whatever a user's net has against float64
        return None
    same = logits.dtype == torch.float64 and not seen.less
    return double if same and torch.allclose(logits, there.double(), 1e-2, 1e-2) else None


def epsilon(net: nn.Module, x: Tensor) -> float:
    """Rounding error of the coarsest type in a net, of a parameter or on the way from `x`."""
    floating = [p for p in net.parameters() if p.is_floating_point()]
    found = {torch.float32, *(p.dtype for p in floating), *_dtypes(net, x)}
    coarsest = max(torch.finfo(dtype).eps for dtype in found)
    return max(coarsest, TF32) if any(p.is_cuda for p in floating) else coarsest


def _dtypes(net: nn.Module, x: Tensor) -> set[torch.dtype]:
    """Types of all that a net computes, as `autocast` inside it may round; empty if unknown."""
    seen = _Dtypes()
    try:
        with torch.no_grad(), seen:
            net(x.clone())
    except Exception:  # noqa: BLE001 - whatever a user's net has against being looked at
        return set()
    return seen.found


def _size(slopes: Tensor, weights: Tensor | None = None) -> Tensor:
    """(N,) root mean square over directions."""
    weights = torch.ones_like(slopes) if weights is None else weights
    return ((weights * slopes**2).sum(1) / weights.sum(1).clamp_min(1)).sqrt()


def _images(off: Tensor) -> int:
    """Number of images among (N,) points, of which an image has two, N / 2 apart."""
    return int(off.view(2, -1).any(0).sum())


class _Dtypes(TorchDispatchMode):
    """Records the type of all that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[torch.dtype] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Compile nothing: torch would import its compiler, which takes seconds."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            if isinstance(part, Tensor) and part.is_floating_point():
                self.found.add(part.dtype)
        return out


class _Precision(TorchFunctionMode):
    """Notices if anything on the way is rounded to less than float64."""

    def __init__(self) -> None:
        super().__init__()
        self.less = False

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            if isinstance(part, Tensor) and part.is_floating_point():
                self.less |= part.dtype != torch.float64
        return out
