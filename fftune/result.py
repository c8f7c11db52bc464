"""Results of `fftune.evaluate`: rows, and the risks that they come to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from html import escape
from typing import TYPE_CHECKING

from fftune.errors import DataError
from fftune.evaluation.question import questions_of
from fftune.expectation import Expectation
from fftune.outcomes import Outcomes
from fftune.registry import nearest
from fftune.report.attack_seeds import SeedSpread, seed_spreads
from fftune.report.attack_table import rates
from fftune.report.defended_rows import undefended
from fftune.report.defense_rates import defense_expectations, defense_rates
from fftune.report.evaluation_page import EvaluatedNet, attack_blocks, net_page
from fftune.report.optimality import SearchKey
from fftune.report.terminal import plain
from fftune.risk import Rate, UnionCounts

if TYPE_CHECKING:
    import pandas as pd

MEANING = {
    "clean_accuracy": "right on clean images",
    "natural_risk": "wrong on clean images",
    "robust_accuracy": "right on clean images and under every attack",
    "adversarial_risk": "made wrong, of those right when clean (D+)",
    "hypocritical_risk": "made right, of those wrong when clean (D-)",
    "inflation": "made right by a false friend, of all: natural risk x hypocritical risk",
    "stability_risk_all": "prediction changed by some attack",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Risks(Mapping[str, Rate]):
    """Risks of one net under all attacks of a battery together, with n and 95% intervals.

    The risks under attack are lower bounds: a stronger attack could find more. A rate is None
    where the battery has no attack that could tell.
    """

    clean_accuracy: Rate
    natural_risk: Rate
    robust_accuracy: Rate | None
    adversarial_risk: Rate | None
    hypocritical_risk: Rate | None
    inflation: Rate | None = None
    stability_risk_all: Rate | None = None
    about: str = ""
    """Net, data, norm, radius and battery, in one line."""

    def __getitem__(self, name: str) -> Rate:
        if name not in MEANING or (rate := getattr(self, name)) is None:
            raise KeyError(name)
        found: Rate = rate
        return found

    def __iter__(self) -> Iterator[str]:
        return (f.name for f in fields(self) if f.name in MEANING and getattr(self, f.name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def frame(self) -> "pd.DataFrame":
        """A pandas frame, a risk a line: `value`, `low`, `high` (fractions), `count`, `n`."""
        import pandas as pd

        lines = {
            name: {
                **dict(zip(("value", "low", "high"), (r.value, *r.interval), strict=True)),
                "count": r.count,
                "n": r.n,
            }
            for name, r in self.items()
        }
        return pd.DataFrame.from_dict(lines, orient="index")

    def __repr__(self) -> str:
        lines = [f"{name:19s} {rate}, {MEANING[name]}" for name, rate in self.items()]
        return "\n".join([self.about, *lines] if self.about else lines)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        body = "".join(
            f"<tr><th>{name}</th><td>{_percent(rate)}</td><td>{_interval(rate)}</td>"
            f"<td>{rate.count:,} of {rate.n:,}</td><td>{MEANING[name]}</td></tr>"
            for name, rate in self.items()
        )
        head = "<tr><th></th><th>rate</th><th>95% interval</th><th>n</th><th>meaning</th></tr>"
        return f"<table><caption>{escape(self.about)}</caption>{head}{body}</table>"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rows of one net under a battery, and what they come to."""

    outcomes: Outcomes
    """A row an example and attack."""
    seconds: Mapping[SearchKey, float] = field(default_factory=dict, compare=False)
    """Seconds of each search by attack, goal and target class (-1: none), as far as known."""
    others: tuple[Outcomes, ...] = ()
    """Rows under further seeds of the attackers."""

    def frame(self) -> "pd.DataFrame":
        """A pandas frame, a row an example and attack; the columns are those of `outcomes`."""
        return self.outcomes.to_pandas()

    def risks(self, defense: str = "none") -> Risks:
        """Risks over all attacks together.

        Args:
            defense: the defense that the net stands behind, in its first draw; attackers that
                know the defense, though not the draw, are among the attacks. What it gets right
                and wrong when clean is told by the majority of draws that no attack meets.

        Raises:
            DataError: the net was not evaluated under it, or no example was attacked.
        """
        if defense != "none":
            return self._defended(defense)
        rows = undefended(self.outcomes)
        if not len(rows):
            raise DataError("no example was attacked: none is wrong on clean images")
        (split,) = rows.values("split")
        counts, goals = UnionCounts.of(rows, split=split), rows.values("goal")
        adversary, friend = "adversarial" in goals, bool(goals & {"hypocritical", "targeted"})
        return Risks(
            clean_accuracy=Rate(counts.total - counts.wrong, counts.total),
            natural_risk=Rate(counts.wrong, counts.total),
            robust_accuracy=_only(adversary, Rate(counts.total - counts.ever_wrong, counts.total)),
            adversarial_risk=_only(adversary, counts.adversarial_risk),
            hypocritical_risk=_only(friend, counts.hypocritical_risk),
            # Of a battery that attacks mistakes alone there is no score that could be inflated.
            inflation=_only(
                "hypocritical" in goals
                and ("targeted" not in goals or counts.wrong < counts.total),
                counts.inflation,
            ),
            stability_risk_all=counts.stability_risk_all,
            about=self._about(),
        )

    def rates(self) -> dict[str, Rate]:
        """Every rate of every attack by name, as in `accuracy/pgd-20 adversarial`."""
        found = rates(undefended(self.outcomes))
        return found | (defense_rates(self.outcomes) if self._defenses else {})

    def expectations(self) -> dict[str, Expectation]:
        """Means over a defense's draws, as in `defense/hedge/expectation/worst_case/accuracy`."""
        return defense_expectations(self.outcomes) if self._defenses else {}

    def seed_spreads(self) -> dict[str, SeedSpread]:
        """Worst cases under each seed of the attackers, as in `worst_case/accuracy`."""
        return {one.name: one for one in seed_spreads((self.outcomes, *self.others))}

    def __len__(self) -> int:
        return len(self.outcomes)

    def __repr__(self) -> str:
        """The page that `python -m fftune.evaluate` prints."""
        pages = [
            net_page(
                EvaluatedNet(
                    question=question,
                    outcomes=self.outcomes,
                    seeds=self.others,
                    seconds=self.seconds,
                )
            )
            for question in questions_of(self.outcomes)
        ]
        return "\n\n".join(map(plain, pages or [attack_blocks(undefended(self.outcomes))]))

    def _repr_html_(self) -> str:
        return "".join(self.risks(name)._repr_html_() for name in ("none", *self._defenses))

    @property
    def _defenses(self) -> tuple[str, ...]:
        return tuple(sorted(self.outcomes.defenses))

    def _defended(self, defense: str) -> Risks:
        if defense not in self._defenses:
            known = ("none", *self._defenses)
            raise DataError(f"defense {defense!r} was not evaluated; {nearest(defense, known)}")
        found = defense_rates(self.outcomes)
        natural = found[f"defense/{defense}/natural_risk"]
        worst = f"defense/{defense}/worst_case"
        return Risks(
            clean_accuracy=Rate(natural.n - natural.count, natural.n),
            natural_risk=natural,
            robust_accuracy=found.get(f"{worst}/accuracy"),
            adversarial_risk=found.get(f"{worst}/adversarial_risk"),
            hypocritical_risk=found.get(f"{worst}/hypocritical_risk"),
            inflation=found.get(f"{worst}/inflation"),
            about=self._about(f" behind {defense}"),
        )

    def _about(self, behind: str = "") -> str:
        """Net, images, ball and battery, in one line."""
        lines = []
        for question in questions_of(self.outcomes):
            battery = question.battery + (f", tier {question.tier}" if question.tier else "")
            ball = f"{question.ball}; battery {battery}"
            lines.append(f"{question.net}{behind} on {question.about()}; {ball}")
        return "; ".join(lines)


def _only(asked: bool, rate: Rate) -> Rate | None:
    return rate if asked else None


def _percent(rate: Rate) -> str:
    return f"{rate.value:.1%}" if rate.n else "undefined"


def _interval(rate: Rate) -> str:
    low, high = rate.interval
    return f"{low:.1%} to {high:.1%}" if rate.n else ""
