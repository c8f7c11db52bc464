"""Is the evaluation itself sound? The lint's questions, with their answers where all is well."""

from torch import nn

from fftune.config import AttackConfig, BatteryConfig, Goal, ThreatModel
from fftune.data import Dataset
from fftune.doctor.check import MARGIN, Check
from fftune.evaluation.batteries import Attack
from fftune.evaluation.evaluate import attack_model
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import Noise
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
"""What is as it should be, by the lint's remark where it is not."""


def checks_of(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, *, threat: ThreatModel
) -> list[Check]:
    """All checks of a net on a data set; the net is given back as it was.

    Raises:
        ModelError: the net fails on some size of batch, or cannot be differentiated.
    """
    device = device_of(battery.device)
    noise = Noise(battery.seed).fold(dataset.source.name, dataset.split)
    with answering(), eval_mode(net), frozen(net), torch_threads(battery.threads):
        found = findings(net.to(device), dataset, threat=threat, noise=noise, device=device)
    answered = [
        Check(
            name=NAMES[finding.code],
            passed=finding.sound,
            evidence=finding.figures if finding.sound else finding.remark.text,
        )
        for finding in found
    ]
    return [*answered, identities_hold(net, dataset, battery, threat)]


def identities_hold(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, threat: ThreatModel
) -> Check:
    """Theorems 4.3 to 4.5 and lemma C.1 of Tao et al. 2022, on what PGD could do.

    Of unions they are facts; what a last iterate of PGD may break is that an adversary mends
    nothing and a friend spoils nothing. Where that is frequent, gradients mislead.
    """
    part = AttackStage(config=AttackConfig(threat=threat, steps=battery.steps), loss="ce")
    goals: tuple[Goal, ...] = ("adversarial", "hypocritical")
    attacks = [Attack(name="pgd", goal=goal, stages=(part,)) for goal in goals]
    counts = UnionCounts.of(attack_model(net, dataset, battery, attacks), split=dataset.split)
    broken, betrayed = counts.broken_identities(), Rate(counts.violations, counts.total)
    evidence = f"last iterates betrayed their goal on {betrayed} of examples"
    evidence += f"; broken: {', '.join(broken)}" if broken else ""
    passed = not broken and betrayed.value <= MARGIN
    return Check(name="identities of the risks", passed=passed, evidence=evidence)
