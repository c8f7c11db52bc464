"""Users' most frequent wrong numbers: is the evaluation itself sound?"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.comparison import Paired
from fftune.config import AttackConfig, BatteryConfig, Goal, ThreatModel
from fftune.data import Dataset
from fftune.doctor.check import MARGIN, Check, beats
from fftune.evaluate import Probe, attacked
from fftune.evaluate.tiers import Part
from fftune.models import device_of
from fftune.risk import Rate, UnionCounts

TOLERANCE = 1e-3
"""Of logits, relative to their spread: other batch shapes give other last bits, not more."""


def lint(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, *, threat: ThreatModel
) -> list[Check]:
    """All checks of a net in eval mode on a data set."""
    _, x, y = next(dataset.batches(len(dataset)))
    device = device_of(battery.device)
    x, y = x.to(device), y.to(device)
    return [
        eval_mode_holds(net, x),
        better_than_chance(net, x, y),
        input_range(net, x, y),
        normalisation_is_inside(net, x, y, dataset),
        has_gradients(net, x, y),
        batch_does_not_matter(net, x),
        identities_hold(net, dataset, battery, threat),
    ]


def eval_mode_holds(net: nn.Module, x: Tensor) -> Check:
    """No submodule in train mode, and the same answer twice."""
    training = [name or "the net" for name, module in net.named_modules() if module.training]
    same = bool(torch.equal(_logits(net, x), _logits(net, x)))
    modes = f"in train mode: {', '.join(training[:3])}" if training else "no module in train mode"
    twice = "equal logits twice" if same else "other logits the second time"
    return Check(name="eval mode", passed=same and not training, evidence=f"{modes}; {twice}")


def better_than_chance(net: nn.Module, x: Tensor, y: Tensor) -> Check:
    """The net is right more often than a guess, surely: are its labels in the data's order?"""
    logits = _logits(net, x)
    right = Rate(int((logits.argmax(1) == y).sum()), len(y))
    evidence = f"accuracy {right}, a guess 1 of {logits.shape[1]}"
    passed = right.interval[0] > 1 / logits.shape[1]
    return Check(name="better than chance", passed=passed, evidence=evidence)


def input_range(net: nn.Module, x: Tensor, y: Tensor) -> Check:
    """Pixels fill [0, 1], and the net does not do better on [0, 255] or [-1, 1]."""
    low, high = float(x.min()), float(x.max())
    evidence, passed = f"pixels from {low:g} to {high:g}", high - low > 0.1
    for name, scaled in (("[0, 255]", 255 * x), ("[-1, 1]", 2 * x - 1)):
        paired = _compared(net, x, scaled, y)
        passed = passed and not beats(paired)
        evidence += f"; accuracy on {name} - on [0, 1]: {paired}"
    return Check(name="input range", passed=passed, evidence=evidence)


def normalisation_is_inside(net: nn.Module, x: Tensor, y: Tensor, dataset: Dataset) -> Check:
    """The net does not do better on images that were normalised for it."""
    mean, std = (
        torch.tensor(values, device=x.device).view(1, -1, 1, 1)
        for values in (dataset.source.mean, dataset.source.std)
    )
    paired = _compared(net, x, (x - mean) / std, y)
    evidence = f"accuracy on normalised images - on [0, 1]: {paired}"
    return Check(name="normalisation inside the net", passed=not beats(paired), evidence=evidence)


def has_gradients(net: nn.Module, x: Tensor, y: Tensor) -> Check:
    """The loss has a gradient at nearly every example."""
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = net(x)
        grad = None
        if logits.requires_grad:
            loss = F.cross_entropy(logits, y, reduction="sum")
            (grad,) = torch.autograd.grad(loss, x, allow_unused=True)
    if grad is None:
        return Check(name="gradients", passed=False, evidence="the net has no input gradients")
    flat = Rate(int((grad == 0).flatten(1).all(1).sum()), len(x))
    passed = flat.value <= MARGIN
    return Check(name="gradients", passed=passed, evidence=f"zero for {flat} of examples")


def batch_does_not_matter(net: nn.Module, x: Tensor) -> Check:
    """Alone, in another order or all together, an example's answer is the same."""
    whole = _logits(net, x)
    order = torch.arange(len(x) - 1, -1, -1, device=x.device)
    others = [torch.cat([_logits(net, one) for one in x.split(1)]), _logits(net, x[order])[order]]
    away = max(float((other - whole).abs().max()) for other in others)
    moved = sum(int((other.argmax(1) != whole.argmax(1)).sum()) for other in others)
    passed = away <= TOLERANCE * max(float(whole.std()), 1e-12)
    evidence = f"logits differ by {away:.2g} at most, {moved} predictions move"
    return Check(name="no dependence on the batch", passed=passed, evidence=evidence)


def identities_hold(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, threat: ThreatModel
) -> Check:
    """Theorems 4.3 to 4.5 and lemma C.1 of Tao et al. 2022, on what PGD could do.

    Of unions they are facts; what a last iterate of PGD may break is that an adversary mends
    nothing and a friend spoils nothing. Where that is frequent, gradients mislead.
    """
    part = Part(config=AttackConfig(threat=threat, steps=battery.steps), loss="ce")
    goals: tuple[Goal, ...] = ("adversarial", "hypocritical")
    probes = [Probe(attack="pgd", goal=goal, parts=(part,)) for goal in goals]
    counts = UnionCounts.of(attacked(net, dataset, battery, probes), split=dataset.split)
    broken, betrayed = counts.broken_identities(), Rate(counts.violations, counts.total)
    evidence = f"last iterates betrayed their goal on {betrayed} of examples"
    evidence += f"; broken: {', '.join(broken)}" if broken else ""
    passed = not broken and betrayed.value <= MARGIN
    return Check(name="identities of the risks", passed=passed, evidence=evidence)


def _compared(net: nn.Module, x: Tensor, other: Tensor, y: Tensor) -> Paired:
    """What the net gets right on other versions of the images, against what on these."""
    here, there = (_logits(net, images).argmax(1) == y for images in (x, other))
    return Paired(
        n=len(y),
        both=int((here & there).sum()),
        gained=int((there & ~here).sum()),
        lost=int((here & ~there).sum()),
    )


def _logits(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = net(x)
    return logits
