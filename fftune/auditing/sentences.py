"""Sentences of an audit, for readers who know nothing of its terms."""

from collections.abc import Sequence
from math import ceil, floor

from fftune.auditing.bars import Measure
from fftune.auditing.record import AuditedBattery, Finding
from fftune.config import ThreatModel, told_radius
from fftune.data.signing import Signature
from fftune.verdict import Outcome

WORD: dict[Outcome, str] = {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE"}
NAMES: dict[Measure, str] = {
    "accuracy": "accuracy",
    "natural_risk": "natural risk",
    "robust_accuracy": "robust accuracy",
    "adversarial_risk": "adversarial risk",
    "hypocritical_risk": "hypocritical risk",
    "inflation": "inflation",
}
SHARES: dict[Measure, str] = {
    "accuracy": "of all {n:,} images the net gets {share} right",
    "natural_risk": "of all {n:,} images the net gets {share} wrong",
    "robust_accuracy": "of all {n:,} images {share} stay right under every attack",
    "adversarial_risk": "of all {n:,} right answers {share} can be made wrong",
    "hypocritical_risk": "of all {n:,} mistakes {share} can be concealed",
    "inflation": "of all {n:,} images {share} are mistakes that can be concealed",
}
"""Sentences on a rate, of its `n` examples."""
DRAWN: dict[Measure, str] = {
    "robust_accuracy": "{found:,} of {examined:,} right answers drawn at random were made wrong",
    "adversarial_risk": "{found:,} of {examined:,} right answers drawn at random were made wrong",
    "hypocritical_risk": "{found:,} of {examined:,} mistakes drawn at random were concealed",
    "inflation": "{found:,} of {examined:,} mistakes drawn at random were concealed",
}
"""Sentences on the sample that a rate rests on."""
UNDEFINED: dict[Measure, str] = {
    "adversarial_risk": "there is no right answer that could be made wrong",
    "hypocritical_risk": "there is no mistake that could be concealed",
}


ROUNDED = 1e-9
"""Error of a share as a float, in tenths of a percent, that moves none of its digits."""
ROUNDING = "rounding of floating point, which bounds cover for linf_dist nets alone"


def percent(share: float) -> str:
    """A share in percent, as in "24.1 %" or "100 %"."""
    return f"{100 * share:.4g} %" if share in (0, 1) else f"{100 * share:.1f} %"


def floor_percent(share: float) -> str:
    """A lower bound in percent, rounded to the safe side: "25.9 %" for .2598."""
    return percent(floor(1000 * share + ROUNDED) / 1000)


def ceil_percent(share: float) -> str:
    """An upper bound in percent, rounded to the safe side: "26.0 %" for .2598."""
    return percent(ceil(1000 * share - ROUNDED) / 1000)


def told_bounds(finding: Finding) -> str:
    """The bounds in percent, as in "25.9 % to 28.6 %", or "exact"."""
    if finding.exact:
        return "exact"
    return f"{floor_percent(finding.low)} to {ceil_percent(finding.high)}"


def told_certified(finding: Finding) -> str:
    """The certified bound in words, as in "at most 57.2 %"; empty: none was computed."""
    if finding.certified_high is None:
        return ""
    if finding.at_most:
        return f"at most {ceil_percent(finding.certified_high)}"
    return f"at least {floor_percent(finding.certified_high)}"


def told_bar(finding: Finding) -> str:
    """The bar in words, as in "at most 30 %"."""
    return f"{'at most' if finding.at_most else 'at least'} {100 * finding.bar:.4g} %"


def told_share(finding: Finding) -> str:
    """The rate as far as it is known; if one side of it decides, that: "at most 24.1 %"."""
    if finding.exact:
        return percent(finding.low)
    if finding.outcome == "inconclusive":
        return told_bounds(finding)
    above = finding.at_most == (finding.outcome == "pass")
    if above:
        return f"at most {ceil_percent(finding.high)}"
    return f"at least {floor_percent(finding.low)}"


def sentence(finding: Finding) -> str:
    """One finding: the share, the bar, and what was done."""
    name = NAMES[finding.measure]
    if not finding.denominator:
        return f"{name.capitalize()} is undefined: {UNDEFINED[finding.measure]}."
    said = SHARES[finding.measure].format(n=finding.denominator, share=told_share(finding))
    asked = f"{told_bar(finding)} {'is allowed' if finding.at_most else 'is asked'}"
    ending = "" if finding.outcome != "inconclusive" else ", which is not decided"
    said = f"{said}; {asked}{ending}."
    if finding.exact or finding.measure not in DRAWN:
        return f"{said[0].upper()}{said[1:]}"
    if not finding.examined:
        return f"{said[0].upper()}{said[1:]} No attack was needed."
    drawn = DRAWN[finding.measure].format(found=finding.found, examined=finding.examined)
    return f"{drawn}: {said}"


def unexcluded(
    finding: Finding, battery: str, doubt: str, *, certain: bool, certified: bool | None
) -> str:
    """Say what a finding could not exclude.

    Args:
        battery: name of the attacks.
        doubt: reason not to believe that attacks in vain mean anything; empty: there is none.
        certain: the verdict is that of any draw, as what was seen suffices.
        certified: no success that is left open would break the bar, as a certified bound or, if
            False, counting alone has it; None: some would.
    """
    if doubt:
        return f"no verdict, as attacks in vain may mean nothing here: {doubt}"
    if finding.measure not in DRAWN:
        return ""
    if finding.outcome == "fail":
        return "" if certain else _misled(finding)
    if certified is not None and finding.outcome == "pass":
        return ROUNDING if certified else ""
    stronger = f"attacks that battery {battery} lacks may do more: its risk is a lower bound"
    if certain:
        return stronger
    if finding.outcome == "inconclusive":
        return f"the bar lies inside of what {finding.examined:,} examples leave open; {stronger}"
    return f"{stronger}; {_misled(finding)}"


def _misled(finding: Finding) -> str:
    """Probability that the draw misleads, on the side that decides."""
    above = finding.at_most == (finding.outcome == "pass")
    alpha = finding.alpha_high if above else finding.alpha_low
    return f"the draw misleads with a probability of at most {100 * alpha:.3g} %"


def verdict(outcome: Outcome, findings: Sequence[Finding], battery: str) -> str:
    """The verdict on all bars."""
    names = {kind: [NAMES[f.measure] for f in findings if f.outcome == kind] for kind in WORD}
    count = len(findings)
    many = f"all {count} bars are" if count > 2 else "both bars are" if count == 2 else "the bar is"
    if outcome == "pass":
        return f"{WORD[outcome]}{_against(findings, battery)}: {many} kept to."
    count = len(names[outcome])
    which = f"{count} of {len(findings)} bars {'is' if count == 1 else 'are'}"
    done = "broken" if outcome == "fail" else "not decided"
    return f"{WORD[outcome]}: {which} {done}: {', '.join(names[outcome])}."


def _against(findings: Sequence[Finding], battery: str) -> str:
    """Words on what a PASS rests on: attacks that were tried, or bounds; empty: on counting."""
    resting = [finding for finding in findings if finding.measure in DRAWN]
    if any(finding.examined for finding in resting):
        return f" against battery {battery}"
    return ", certified" if any(f.certified_high is not None for f in resting) else ""


def ball(threat: ThreatModel) -> str:
    """The attackers' ball for a reader, as in "each pixel by at most 8/255"."""
    radius = told_radius(threat.eps)
    if threat.norm == "linf":
        return f"each pixel, on a scale of 0 to 1, by at most {radius}"
    return f"all pixels together, on a scale of 0 to 1, by a length (l2) of at most {radius}"


def told_battery(battery: AuditedBattery) -> str:
    """The attacks by name, as in "hypocritical, tier full"."""
    return battery.name + (f", tier {battery.tier}" if battery.tier else "")


def told_signature(signature: Signature | None) -> str:
    """Say who vouches for the images, and what follows if nobody does."""
    if signature is None:
        return (
            "data unsigned: the risk below stands. Whoever could touch these images could have "
            "concealed mistakes of the net, whose accuracy would then be lower than is counted here"
        )
    return (
        f"data signed: all rests on whoever signed, {signature.signer} ({signature.tool}, "
        f"manifest {signature.manifest_sha256[:16]})"
    )


def beyond_this_set(finding: Finding) -> str:
    """Say what follows for other images; empty where nothing does."""
    if finding.population_interval is None:
        return ""
    least, most = finding.population_interval
    low, high = floor_percent(least), ceil_percent(most)
    return f"beyond this set, if it is a random sample of what the net will meet: {low} to {high}"
