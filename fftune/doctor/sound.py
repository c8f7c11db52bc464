"""Checks of the evaluation itself: the lint's findings, and the identities of the risks."""

from torch import nn

from fftune.config import AttackConfig, BatteryConfig, Goal, ThreatModel
from fftune.data import Dataset
from fftune.doctor.check import MARGIN, Check, OnCheck, ignored
from fftune.evaluation.batteries import single
from fftune.evaluation.direct import attack_model
from fftune.keyed_noise import Noise
from fftune.lint.finding import Finding
from fftune.lint.questions import findings
from fftune.models import device_of, eval_mode, frozen, torch_threads
from fftune.risk import Rate, UnionCounts
from fftune.user_code import answering

NAMES = {
    "by-chance": "the same answers twice",
    "batch-dependent": "no dependence on the batch",
    "probabilities": "logits",
    "nan-gradient": "finite gradients",
    "zero-gradient": "gradients",
    "misleading-gradient": "gradients are those of the net",
    "no-better-than-chance": "better than chance",
    "normalisation-outside": "normalisation inside the net",
    "input-range": "input range",
    "channel-order": "channel order",
    "flat-logits": "logits that differ",
}
"""Names of passed checks, by the code of the lint's remark where they fail."""


def checks_of(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    on_check: OnCheck = ignored,
) -> list[Check]:
    """Run all checks of a net on a data set; the net is left as it was.

    Args:
        on_check: called with each check as it ends.

    Raises:
        ModelError: the net fails on some size of batch, or cannot be differentiated.
    """
    device = device_of(battery.device)
    noise = Noise(battery.seed).fold(dataset.source.name, dataset.split)
    found: list[Check] = []

    def take(finding: Finding) -> None:
        evidence = finding.told if finding.sound else finding.remark.text
        found.append(Check(name=NAMES[finding.code], passed=finding.sound, evidence=evidence))
        on_check(found[-1])

    with answering(), eval_mode(net), frozen(net), torch_threads(battery.threads):
        findings(
            net.to(device), dataset, threat=threat, noise=noise, device=device, on_finding=take
        )
    found.append(identities_hold(net, dataset, battery, threat))
    on_check(found[-1])
    return found


def identities_hold(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, threat: ThreatModel
) -> Check:
    """Check theorems 4.3 to 4.5 and lemma C.1 of Tao et al. 2022 on the results of PGD.

    They hold for unions over attacks; but a last iterate of an adversary may correct a prediction,
    and that of a false friend may break one. Where that is frequent, gradients mislead.
    """
    config = AttackConfig(threat=threat, steps=battery.steps)
    goals: tuple[Goal, ...] = ("adversarial", "hypocritical")
    attacks = [single("pgd", goal, "ce", config) for goal in goals]
    counts = UnionCounts.of(attack_model(net, dataset, battery, attacks), split=dataset.split)
    broken, betrayed = counts.broken_identities(), Rate(counts.violations, counts.total)
    evidence = f"last iterates betrayed their goal on {betrayed} of examples"
    evidence += f"; broken: {', '.join(broken)}" if broken else ""
    passed = not broken and betrayed.value <= MARGIN
    return Check(name="identities of the risks", passed=passed, evidence=evidence)
