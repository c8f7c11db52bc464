"""Verdicts on a net at a bar: on clean images, and on images that a false friend has touched."""

from collections.abc import Mapping
from dataclasses import dataclass

from fftune.risk import Rate
from fftune.verdict import Outcome, Verdict, conclusive_from, judge, worst

FRIEND = " hypocritical"
"""Ending of the names of rates of a false friend's attacks."""
BOUND = "certified_bound/hypocritical_accuracy"
"""Name of the rate that no false friend's attack exceeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Verdicts on one net, bare or behind a defense, by the rates of its evaluation."""

    behind: str
    """Name of the defense; empty for the bare net."""
    clean: Verdict
    """Verdict on accuracy on clean images, which decides."""
    touched: Mapping[str, Verdict]
    """Verdict on accuracy on the images of each false friend, by the friend's attack."""
    bound: Verdict | None = None
    """Verdict on what no false friend exceeds, where that is certified."""

    @property
    def friend(self) -> str | None:
        """Attack under which the net scores highest; None where the battery has no false friend."""
        return max(self.touched, key=lambda name: self.touched[name].rate.value, default=None)

    @property
    def would_pass(self) -> str:
        """Answer to whether the net would pass once touched, by the two ways to judge."""
        if self.bound is not None and self.bound.point == "fail":
            most = f"{self.bound.rate.value:.2%} of these images"
            return f"no, whatever a false friend does: certified to score at most {most}"
        if self.friend is None:
            return "unknown: no false friend touched all of these images, as in battery risks"
        found = self.touched[self.friend]
        return (
            f"{_ANSWERS[found.point]} by the point estimate, as published; "
            f"{_ANSWERS[found.outcome]} by its interval"
        )

    def lines(self) -> list[str]:
        """Lines of a table: clean, then each false friend, then the answer."""
        scores = {"clean": self.clean}
        scores |= {f"touched by {name}": found for name, found in self.touched.items()}
        width = max(map(len, scores))
        name = f"behind {self.behind}, " if self.behind else ""
        return [
            *(f"  {name}{score:{width}s}  {_told(found)}" for score, found in scores.items()),
            f"  {name}would pass once touched: {self.would_pass}",
        ]


_ANSWERS: dict[Outcome, str] = {"pass": "yes", "fail": "no", "inconclusive": "undecided"}


def judged(rates: Mapping[str, Rate], bar: float) -> tuple[Judged, ...]:
    """Judge a net by the rates of its evaluation, and again behind each defense.

    Args:
        rates: rates by name, as `attack_table.rates` and `defense_table.defense_rates` give them;
            those of attacks that had some of the examples only are no scores, and left out.
    """
    found = []
    for behind in ("", *dict.fromkeys(n.split("/")[1] for n in rates if n.startswith("defense/"))):
        at = f"defense/{behind}/" if behind else ""
        if (clean := rates.get(f"{at}clean_accuracy")) is None:
            continue
        start = f"{at}accuracy/"
        touched = {
            name.removeprefix(start).removesuffix(FRIEND): judge(rate, bar)
            for name, rate in rates.items()
            if name.startswith(start) and name.endswith(FRIEND) and rate.n == clean.n
        }
        # A friend to whom a defense's draw is leaked does not touch what is deployed.
        touched = {name: one for name, one in touched.items() if not name.startswith("known")}
        most = rates.get(f"{at}{BOUND}")
        bound = None if most is None else judge(most, bar)
        found.append(Judged(behind=behind, clean=judge(clean, bar), touched=touched, bound=bound))
    return tuple(found)


def bar_table(found: tuple[Judged, ...]) -> str:
    """Format the verdicts on one net."""
    if not found:
        return "no verdict: there are no rows"
    bar = found[0].clean.bar
    head = (
        f"verdict at a bar of {100 * bar:g}%: {decided(found)}, by the interval of the clean "
        f"accuracy; a perfect score passes from n = {conclusive_from(bar):,} on, and is "
        "inconclusive below"
    )
    return "\n".join([head, *(line for one in found for line in one.lines())])


def decided(found: tuple[Judged, ...]) -> Outcome:
    """Return the verdict that decides: the gravest on clean images, over the defenses too."""
    return worst(one.clean.outcome for one in found) if found else "inconclusive"


def bar_line(name: str, found: tuple[Judged, ...]) -> str:
    """Format the verdicts on one net of several in one line."""
    if not found:
        return f"{name}: no verdict"
    bare = found[0]
    touched = "" if bare.friend is None else f"; touched {_told(bare.touched[bare.friend])}"
    return f"{name}: {decided(found)}; clean {_told(bare.clean)}{touched}"


def _told(found: Verdict) -> str:
    rate, (low, high) = found.rate, found.rate.interval
    if not rate.n:
        return "undefined (n = 0)"
    # One digit more than the bar has, so that no score looks like the bar that it misses.
    digits = max(2, 1 + len(f"{100 * found.bar:g}".partition(".")[2]))
    value, low_end, high_end = (f"{100 * share:.{digits}f}%" for share in (rate.value, low, high))
    return (
        f"{value} (95 % CI {low_end} to {high_end}, n = {rate.n:,}): "
        f"{found.outcome}, point estimate {found.point}"
    )
