"""Checks of a net before it is attacked, on a few examples in a few passes.

A net without remarks may still be wrong; the numbers of one with a remark need it beside them.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fftune.config import ThreatModel
from fftune.data import Dataset
from fftune.errors import ModelError
from fftune.keyed_noise import Noise
from fftune.lint.derivatives import Gradients, epsilon, gradients, points, random_signs, slopes
from fftune.lint.finding import FIRST, Finding, Query, Remark, answers
from fftune.lint.other_images import accuracies
from fftune.models.equivalence import first_line
from fftune.risk import Rate

FEW = 12
"""Examples on which a net's logits and gradients are checked."""
BLOCK = 128
"""Images in one batch, about as many as in a block."""
LARGE = 64 * 64 * 3
"""Values in an image above which gradients are checked on a third of the few."""
SAME = 0.02
"""Tolerance, as a share of the logits' spread, between batches of different shape."""
TWICE = 1e-4
"""Tolerance, as a share of the logits' spread, for the same batch again."""
FLAT = 0.05
"""Distance between the largest and smallest logit of an image below which logits are flat."""
WEAK = (
    *("by-chance", "batch-dependent", "probabilities", "flat-logits"),
    *("zero-gradient", "nan-gradient", "misleading-gradient"),
)
"""Codes of remarks after which attacks that follow gradients may look weak. Those on images that a
net is not made for are none: its gradients are sound."""


def doubts(remarks: Sequence[str]) -> list[str]:
    """Codes of those remarks, `code: text`, after which attacks may look weak."""
    return [code for code in (line.partition(":")[0] for line in remarks) if code in WEAK]


def lint(
    net: nn.Module,
    dataset: Dataset,
    *,
    threat: ThreatModel,
    noise: Noise,
    device: str = "cpu",
    follows: bool = True,
    blind: str = "",
) -> tuple[Remark, ...]:
    """Remarks on a net; global random states are left as they were.

    Args:
        net: in eval mode, on `device`.
        noise: the branch for (data set, split).
        follows: True if any attack asks for gradients.
        blind: name of an attack that can do nothing without.

    Raises:
        ModelError: the net fails on some size of batch, cannot be differentiated, or has no
            finite gradient anywhere, which leaves `blind` nothing to follow.
    """
    found = findings(
        net, dataset, threat=threat, noise=noise, device=device, follows=follows, blind=blind
    )
    return tuple(finding.remark for finding in found if not finding.sound)


def findings(
    net: nn.Module,
    dataset: Dataset,
    *,
    threat: ThreatModel,
    noise: Noise,
    device: str = "cpu",
    follows: bool = True,
    blind: str = "",
    on_finding: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """Findings of all checks, sound ones too; see `lint`.

    Args:
        on_finding: called with each as it is made.
    """
    query = Query(net=net, dataset=dataset, device=device, noise=noise.fold("lint"))
    cuda = [torch.device(device)] if device != "cpu" else []
    found = []
    with torch.random.fork_rng(devices=cuda), _eager():
        for finding in _findings(query, threat, follows=follows, blind=blind):
            found.append(finding)
            if on_finding is not None:
                on_finding(finding)
    return found


def _findings(query: Query, threat: ThreatModel, *, follows: bool, blind: str) -> Iterator[Finding]:
    """Make one finding after the other, some of which depend on earlier ones."""
    net = query.net
    _, x, _ = query.some(FEW)
    yield (twice := same_twice(net, x))
    steady = twice.sound
    if steady:
        yield (batch := batch_does_not_matter(net, x))
        steady = batch.sound
    if steady:
        yield (size := size_does_not_matter(query))
        steady = size.sound
    yield (logits := are_logits(net, x))
    if logits.sound:
        yield differ(net, x)
    if follows:
        yield from gradients_hold(query, threat, steady=steady, blind=blind)
    yield from accuracies(query)


def same_twice(net: nn.Module, x: Tensor) -> Finding:
    """Check that a batch has the same logits again, whatever the global random state."""
    several = []
    for seed in range(3):
        torch.manual_seed(seed)
        several.append(answers(net, x))
    away, moved = _moved(several[0], several[1:])
    return Finding(
        code="by-chance",
        sound=away <= _tolerance(net, x, several[0], TWICE),
        figures=f"the same {len(x)} images asked {len(several)} times: logits differ by "
        f"{away:.2g}, {moved} answers move",
        advice="figures are those of one draw; give dropout training=self.training, and noise a "
        f"seed of its own{_in_train_mode(net)}",
    )


def batch_does_not_matter(net: nn.Module, x: Tensor) -> Finding:
    """Check that logits are the same alone, in another order, or beside fewer examples."""
    torch.manual_seed(0)
    whole, part = answers(net, x), x[: max(1, len(x) // 3)]
    alone = torch.cat([answers(net, one) for one in part.split(1)])
    beside = answers(net, torch.cat([part, part.flip(0)]))[: len(part)]
    turned = answers(net, x.flip(0)).flip(0)
    pairs = [(whole[: len(part)], alone), (whole[: len(part)], beside), (whole, turned)]
    found = [_moved(one, [other]) for one, other in pairs]
    away, moved = max(away for away, _ in found), sum(moved for _, moved in found)
    return Finding(
        code="batch-dependent",
        sound=away <= _tolerance(net, x, whole, SAME),
        figures=f"logits differ by {away:.2g} when the same images come alone, in another order "
        f"or beside others; {moved} answers move",
        advice="figures depend on the size of blocks; a BatchNorm needs running statistics and "
        f"eval mode{_in_train_mode(net)}",
    )


def size_does_not_matter(query: Query) -> Finding:
    """Check that many images at once have the logits that they have a few at a time."""
    torch.manual_seed(0)
    _, x, _ = query.some(min(query.many, BLOCK))
    few = torch.cat([query.part(at) for at in range(len(x.split(FIRST)))])[: len(x)]
    away, moved = _moved(few, [answers(query.net, x)])
    return Finding(
        code="batch-dependent",
        sound=away <= _tolerance(query.net, x[:FEW], few, SAME),
        figures=f"logits differ by {away:.2g} when {len(x)} images come at once and not {FIRST} "
        f"at a time; {moved} answers move",
        advice="figures depend on the size of blocks",
    )


def are_logits(net: nn.Module, x: Tensor) -> Finding:
    """Check that outputs are no probabilities, even scaled or shifted: cross-entropy saturates."""
    outputs = answers(net, x).float()
    low, high, sums = float(outputs.min()), float(outputs.max()), outputs.sum(1)
    apart, total = float((outputs - outputs.mean(0)).abs().max()), float(sums.mean())
    uneven = float((sums - total).abs().max())
    within = low >= 0 and high <= 1 + 1e-3
    softmax = within and bool(((sums - 1).abs() < 5e-3).all())
    shifted = uneven < 0.01 * apart and abs(total) > 0.1 * apart
    sigmoid = within and low < 0.1 and high > 0.9
    kinds = {
        "probabilities that sum to 1": softmax,
        f"as of a softmax, of sum {total:.3g} for every image": shifted,
        "all in [0, 1], as of a sigmoid": sigmoid,
    }
    kind = next((kind for kind, holds in kinds.items() if holds), "")
    return Finding(
        code="probabilities",
        sound=not kind,
        figures=f"outputs are {kind}" if kind else f"from {low:.3g} to {high:.3g}",
        advice="gradients vanish and attacks look weak; return logits, or "
        f"{'what the sigmoid is taken of' if sigmoid and not softmax else 'their log'}",
    )


def differ(net: nn.Module, x: Tensor) -> Finding:
    """Check that the logits of an image differ enough for cross-entropy to tell classes apart."""
    outputs = answers(net, x).float()
    apart = float((outputs.amax(1) - outputs.amin(1)).median())
    varies = bool((outputs != outputs[:1]).any())
    return Finding(
        code="flat-logits",
        sound=apart > FLAT or not varies or outputs.shape[1] < 2,
        figures=f"the largest logit of an image is {apart:.2g} above its smallest (median)",
        advice="cross-entropy hardly tells classes apart, and attacks that follow it look weak; "
        "multiply the logits",
    )


def gradients_hold(
    query: Query, threat: ThreatModel, *, steady: bool, blind: str = ""
) -> list[Finding]:
    """Check that gradients are finite, not zero, and agree with differences of the outputs.

    Args:
        steady: True if logits depend on the image alone, so that differences can be taken.

    Raises:
        ModelError: see `lint`.
    """
    few = FEW if query.dataset.pixels[0].numel() < LARGE else FEW // 3
    ids, x, y = query.some(few)
    at = points(x, threat, query.noise, ids)
    try:
        grads = gradients(query.net, at, torch.cat([y, y]))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the user's code raises
        raise ModelError(f"net cannot be differentiated: {first_line(error)}") from error
    if grads is None:
        none = "the net has no input gradients"
        return [_gradient("zero-gradient", False, none, "attacks that follow them find nothing")]
    finite, zero = _finite(grads), _zero(grads, blind)
    found = [finite, zero]
    if steady and finite.sound and grads.margin.any():
        doubt = _doubt(query, grads, random_signs(x, query.noise, ids))
        figures = f"the gradient {doubt or 'agrees with differences of the outputs'}"
        advice = "attacks that follow it are blind; what Square finds (tier full) still counts"
        found.append(_gradient("misleading-gradient", doubt is None, figures, advice))
    return found


def _doubt(query: Query, grads: Gradients, signs: Tensor) -> str | None:
    """Compare gradients with differences of the outputs; None where they agree.

    Raises:
        ModelError: the net fails on the points that are compared.
    """
    try:
        return slopes(query.net, grads, signs).doubt()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the user's code raises
        raise ModelError(f"net's gradient cannot be compared: {first_line(error)}") from error


def _finite(grads: Gradients) -> Finding:
    several = torch.stack([grads.ce, grads.margin]).flatten(2)
    broken = (~several.isfinite()).any(2).any(0)
    share = Rate(int(broken.sum()), len(broken))
    return _gradient(
        "nan-gradient",
        not share.count,
        f"nan or infinite pixels in the gradient at {share.count} of {share.n} points",
        "attacks that follow it stand still there; look for sqrt, norm, log or a division at 0",
    )


def _zero(grads: Gradients, blind: str) -> Finding:
    """Check for gradients of the cross-entropy that are zero.

    Raises:
        ModelError: no point has a gradient to follow, and some gradients are not finite.
    """
    useful = ((grads.ce != 0) & grads.ce.isfinite()).flatten(1).any(1)
    if blind and not useful.any() and not grads.ce.isfinite().all():
        raise ModelError(
            f"net's gradients are nan or infinite everywhere: {blind} cannot be scored"
        )
    zero = (grads.ce == 0).flatten(1).all(1)
    saturated = zero & (grads.margin != 0).flatten(1).any(1)
    why = f" ({int(saturated.sum())} by a saturated softmax)" if saturated.any() else ""
    return _gradient(
        "zero-gradient",
        not zero.any(),
        f"the gradient of the cross-entropy is zero at {int(zero.sum())} of {len(zero)} "
        f"points{why}",
        "attacks that follow it stand still there",
    )


def _gradient(code: str, sound: bool, figures: str, advice: str) -> Finding:
    return Finding(code=code, sound=sound, figures=figures, advice=advice)


def _moved(one: Tensor, others: list[Tensor]) -> tuple[float, int]:
    """Largest difference of logits, and the number of predictions that differ."""
    away = max(float((other - one).abs().nan_to_num(torch.inf).max()) for other in others)
    return away, sum(int((other.argmax(1) != one.argmax(1)).sum()) for other in others)


def _tolerance(net: nn.Module, x: Tensor, logits: Tensor, share: float) -> float:
    """Share of the logits' spread, plus room for the net's coarsest rounding."""
    eps = max(epsilon(net, x[:2]), torch.finfo(logits.dtype).eps)
    return share * float(logits.float().std()) + 16 * eps * float(logits.abs().max())


def _in_train_mode(net: nn.Module) -> str:
    training = [name or "the net itself" for name, part in net.named_modules() if part.training]
    return f" (in train mode: {', '.join(training[:3])})" if training else ""


@contextmanager
def _eager() -> Iterator[None]:
    """Run compiled nets uncompiled inside: each new shape would be compiled for long."""
    if "torch._dynamo" not in sys.modules:  # nothing can be compiled, and its import takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
