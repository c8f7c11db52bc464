"""Headline figures under several seeds of the attackers, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fftune.outcomes import Outcomes
from fftune.report.attack_table import rates
from fftune.report.defended_rows import undefended
from fftune.report.defense_rates import defense_rates
from fftune.risk import Rate, plain_rate

HEADLINES = {
    "worst_case/accuracy": "accuracy",
    "worst_case/hypocritical_risk": "hypocritical risk on D-",
}
"""Rates of `attack_table.rates` that stand beside each other, as they are printed."""
BEHIND = {
    "worst_case/accuracy": "right when clean (D+) and under the best of all",
    "worst_case/hypocritical_risk": "hypocritical risk on D-, best of all",
}
"""The same of `defense_rates.defense_rates`, of the first draw."""
TOTAL = "worst_case/accuracy"
"""Rate whose n is the number of images that every attack tried."""
GOALS = {
    "worst_case/accuracy": {"adversarial"},
    "worst_case/hypocritical_risk": {"hypocritical", "targeted"},
}
"""Goals of which a battery must have one, for each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """One headline figure under each seed of the attackers."""

    name: str
    told: str
    """Words that are printed for the name."""
    rates: Mapping[int, Rate]
    """By seed; the first is the headline."""

    @property
    def spread(self) -> float:
        """Largest difference of two seeds, a share."""
        found = [rate.value for rate in self.rates.values()]
        return max(found) - min(found)

    def __str__(self) -> str:
        each = ", ".join(f"{rate.value:.1%}" for rate in self.rates.values())
        counted = sorted({rate.n for rate in self.rates.values()})
        n = " to ".join(f"{one:,}" for one in dict.fromkeys((counted[0], counted[-1])))
        return f"{self.told}: {each}; {100 * self.spread:.1f} points apart, n = {n}"


def seed_spreads(outcomes: Sequence[Outcomes]) -> list[SeedSpread]:
    """Worst-case accuracy and hypocritical risk under each seed, bare and behind each defense.

    Args:
        outcomes: of one net and one battery, each of one seed. Where some lack a figure, it is
            left out: an accuracy needs an adversary and an attack on all examples, a risk a false
            friend and an example at risk. So it is where some tried fewer images, as blocks were
            lost.
    """
    goals = [rows.values("goal") for rows in outcomes]
    defenses = sorted(frozenset[str]().union(*(rows.defenses for rows in outcomes)))
    by_seed = {
        seed: rates(undefended(rows)) | (defense_rates(rows) if defenses else {})
        for rows in outcomes
        for seed in rows.values("seed")
    }
    known = [one for one in HEADLINES if all(map(GOALS[one].intersection, goals))]
    told = {("", one): HEADLINES[one] for one in known} | {
        (f"defense/{name}/", one): f"behind {name}, first draw: {BEHIND[one]}"
        for name in defenses
        for one in known
    }
    spreads = []
    for (place, one), words in told.items():
        name = place + one
        found = {seed: of[name] for seed, of in by_seed.items() if name in of and of[name].n}
        images = {by_seed[seed].get(place + TOTAL, rate).n for seed, rate in found.items()}
        if len(images) == 1 and len(found) == len(by_seed):
            spreads.append(SeedSpread(name=name, told=words, rates=found))
    return spreads


def seed_lines(outcomes: Sequence[Outcomes]) -> list[str]:
    """Format the spreads of several seeds; of a single one nothing is known."""
    if len(outcomes) < 2:
        return []
    seeds = ", ".join(str(seed) for rows in outcomes for seed in rows.values("seed"))
    head = f"  worst case under attack seeds {seeds}:"
    return [head, *(f"{'':16s}{spread}" for spread in seed_spreads(outcomes))]


def seed_values(outcomes: Sequence[Outcomes]) -> dict[str, float]:
    """Spreads for charts, as in `seed_spread/worst_case/accuracy`, if there are several seeds."""
    if len(outcomes) < 2:
        return {}
    return {f"seed_spread/{one.name}": one.spread for one in seed_spreads(outcomes)}


def seed_plain(outcomes: Sequence[Outcomes]) -> dict[str, list[dict[str, Any]]]:
    """Headline figures by name, one of each seed, as plain JSON values."""
    return {
        one.name: [{"seed": seed} | plain_rate(rate) for seed, rate in one.rates.items()]
        for one in seed_spreads(outcomes)
    }
