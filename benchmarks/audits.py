"""Simulated audits: how often a verdict is wrong, and after how many images it is given.

Each audit has bars, as `fftune.audit` has them, and draws from D+ or D- in a random order examples
whose truth is known. It looks at every block, and stops at the first look that passes or fails. The
looks of `fftune.sequential` stand beside those of Wilson's 95 % interval, which is meant for one
look at an n set beforehand. Beside the simulated shares stand the exact probabilities, by a
recursion over all counts.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import log
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from fftune.auditing.bars import Bar
from fftune.risk import Rate, wilson
from fftune.sequential import FiniteSequence
from fftune.verdict import Outcome

BLOCKS = (1, 32, 256)
"""Examples between two looks."""
ERROR = 0.05
"""Probability of a wrong pass, and of a wrong fail."""
AWAY = (0.02, 0.05, 0.10)
"""Distances of the truth from the bar, on its passing side."""
Words = list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Bar of an audit of images of which the net gets some wrong."""

    bar: Bar
    total: int
    wrong: int
    bars: int = 1
    """Bars of the same audit."""

    @property
    def population(self) -> int:
        """Size of D+ or D-, from which examples are drawn."""
        return self.wrong if self.bar.goal == "hypocritical" else self.total - self.wrong

    @property
    def limit(self) -> int:
        """Most successful attacks with which the bar is passed."""
        return self.bar.limit(self.total, self.wrong)

    def __str__(self) -> str:
        return f"{self.bar.measure} {'<=' if self.bar.at_most else '>='} {self.bar.value:g}"


def outcome_of(low: float, high: float, limit: int) -> Outcome:
    """Verdict of bounds on the number of successful attacks."""
    return "pass" if high <= limit else "fail" if low > limit else "inconclusive"


Look = Callable[[Question, int, int], Outcome]


def anytime(question: Question, ones: int, n: int) -> Outcome:
    """Verdict of one look of ours at n examples, of which attacks succeed on some."""
    sequence = FiniteSequence(
        population=question.population, low_alpha=ERROR / question.bars, high_alpha=ERROR
    )
    sequence.look(ones=ones, zeros=n - ones)
    return outcome_of(sequence.low, sequence.high, question.limit)


def wilson_each(question: Question, ones: int, n: int) -> Outcome:
    """Verdict of Wilson's 95 % interval, as if n had been set beforehand."""
    size = question.population
    if n == size:
        return "pass" if ones <= question.limit else "fail"
    low, high = wilson(ones / n, n)
    return outcome_of(low * size, high * size, question.limit)


@cache
def thresholds(look: Look, question: Question) -> NDArray[np.int64]:
    """(N + 1, 2): at n examples, the most successes that pass, and the fewest that fail."""
    few, many = -1, 0
    found = np.zeros((question.population + 1, 2), np.int64)
    found[0] = few, 1
    for n in range(1, question.population + 1):
        while few + 1 <= n and look(question, few + 1, n) == "pass":
            few += 1
        while few >= 0 and look(question, few, n) != "pass":
            few -= 1
        while many <= n and look(question, many, n) != "fail":
            many += 1
        while many > 0 and look(question, many - 1, n) == "fail":
            many -= 1
        found[n] = few, many
    return found


def looks_of(question: Question, block: int) -> NDArray[np.int64]:
    """Numbers of examples at which an audit looks; all of them at the end."""
    return np.append(np.arange(block, question.population, block), question.population)


def simulate(
    question: Question, truth: int, *, look: Look, block: int, runs: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Run audits in which `truth` attacks would succeed, each to its verdict.

    Returns:
        (runs,) whether each passes, and after how many examples it ends.
    """
    rng = np.random.default_rng(seed)
    looks = looks_of(question, block)
    few, many = thresholds(look, question)[looks].T
    one = np.zeros(question.population, np.int8)
    one[:truth] = 1
    passed, stopped = np.empty(runs, bool), np.empty(runs, np.int64)
    for run in range(runs):
        counts = np.cumsum(rng.permutation(one), dtype=np.int64)[looks - 1]
        first = int(((counts <= few) | (counts >= many)).argmax())
        passed[run], stopped[run] = counts[first] <= few[first], looks[first]
    return passed, stopped


def chance_of_pass(question: Question, truth: int, *, look: Look, block: int) -> float:
    """Probability that an audit passes, exactly, by a recursion over all counts of successes."""
    size, looks = question.population, {*looks_of(question, block).tolist()}
    few, many = thresholds(look, question).T
    going = np.zeros(truth + 1)  # by number of successes so far
    going[0], passed = 1.0, 0.0
    for n in range(size):
        success = (truth - np.arange(truth + 1)) / (size - n)
        found = going[:-1] * success[:-1]
        going = going * (1 - success).clip(0)
        going[1:] += found
        if n + 1 in looks:
            passed += float(going[: few[n + 1] + 1].sum())
            going[: few[n + 1] + 1] = 0
            going[many[n + 1] :] = 0
    return passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """Wrong verdicts of audits."""

    passes: Rate
    """All bars pass, though the truth of the first is one example beyond its bar, and no attack on
    the others would succeed."""
    fails: Rate
    """Some bar fails, though every truth is at its bar."""
    chances: tuple[float, float]
    """Exact probabilities of both."""

    @property
    def cells(self) -> list[str]:
        """Exact probabilities, each with the simulated share and its 95 % interval."""
        ends = [rate.interval for rate in (self.passes, self.fails)]
        shares = zip(self.chances, (self.passes, self.fails), ends, strict=True)
        return [f"{p:.1%}; {rate.value:.1%} ({a:.1%} to {b:.1%})" for p, rate, (a, b) in shares]


def wrong(
    questions: Sequence[Question], *, look: Look, block: int, runs: int, seed: int = 0
) -> Wrong:
    """Count wrong verdicts of audits with several bars."""
    passes, fails, no_fail = np.ones(runs, bool), np.zeros(runs, bool), 1.0
    chance = partial(chance_of_pass, look=look, block=block)
    for at, question in enumerate(questions):
        run = partial(simulate, look=look, block=block, runs=runs, seed=seed + at)
        passes &= run(question, 0 if at else question.limit + 1)[0]
        fails |= ~run(question, question.limit)[0]
        no_fail *= chance(question, question.limit)
    return Wrong(
        passes=Rate(int(passes.sum()), runs),
        fails=Rate(int(fails.sum()), runs),
        chances=(chance(questions[0], questions[0].limit + 1), 1 - no_fail),
    )


def truth_at(question: Question, away: float) -> int:
    """Successful attacks where the rate is a distance inside its bar; negative: there is none."""
    of = question.bar.denominator(question.total, question.wrong)
    return question.limit - round(away * of)


def images(question: Question, away: float, *, runs: int, seed: int = 0) -> str:
    """Median examples until a verdict, the truth a distance inside the bar, beside bounds."""
    truth = truth_at(question, away)
    if truth < 0:
        return "-"
    taken = []
    for block in BLOCKS:
        _, stopped = simulate(question, truth, look=anytime, block=block, runs=runs, seed=seed)
        taken.append(f"{median(stopped.tolist()):,.0f}")
    fixed = fixed_size(question, truth)
    return f"{' / '.join(taken)} / {fixed:,} / {wald(question, truth):,.0f}"


def fixed_size(question: Question, truth: int) -> int:
    """Fewest examples, set beforehand, whose count separates bar and truth with both errors 5 %.

    Counts of samples without replacement are hypergeometric; one success beyond the bar may pass
    with 5 %, and the truth may fail to with 5 %.
    """
    size, beyond = question.population, question.limit + 1

    def tells(n: int) -> bool:
        most = hypergeom.ppf(ERROR, size, beyond, n)
        most -= hypergeom.cdf(most, size, beyond, n) > ERROR
        return bool(hypergeom.cdf(most, size, truth, n) >= 1 - ERROR)

    low, high = 0, size
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high


def wald(question: Question, truth: int) -> float:
    """Least mean number of examples of any sequential test with both errors 5 % (Wald 1945).

    It is that of independent draws, at the true share against the bar, and knows the former.
    """
    bar, share = question.limit / question.population, truth / question.population
    terms = [(share, bar), (1 - share, 1 - bar)]
    distance = sum(p * log(p / q) for p, q in terms if p)
    odds = log((1 - ERROR) / ERROR)
    return ((1 - ERROR) * odds - ERROR * odds) / distance


FRIENDS = Bar(measure="hypocritical_risk", value=0.3)
ADVERSARIES = Bar(measure="adversarial_risk", value=0.1)
ROBUST = Bar(measure="robust_accuracy", value=0.5)
SINGLE = (
    Question(bar=ROBUST, total=10_000, wrong=0),
    Question(bar=ADVERSARIES, total=10_000, wrong=1000),
    *(Question(bar=FRIENDS, total=10_000, wrong=wrong) for wrong in (300, 1000, 5000)),
)
TOGETHER = tuple(
    Question(bar=bar, total=10_000, wrong=1000, bars=3) for bar in (FRIENDS, ADVERSARIES, ROBUST)
)


def wrong_table(groups: Sequence[Sequence[Question]], runs: int) -> Words:
    each = ["wrong PASS", "wrong FAIL"]
    rows = [["bars", "drawn from", "block", *each, *(f"Wilson: {head}" for head in each)]]
    for group in groups:
        said = ", ".join(f"`{question}`" for question in group)
        sizes = ", ".join(f"{question.population:,}" for question in group)
        for block in BLOCKS:
            found = [wrong(group, look=at, block=block, runs=runs) for at in (anytime, wilson_each)]
            rows.append([said, sizes, str(block), *(cell for one in found for cell in one.cells)])
    return rows


def images_table(questions: Sequence[Question], runs: int) -> Words:
    rows = [["bar", "drawn from", *(f"{100 * away:g} points" for away in AWAY)]]
    for question in questions:
        cells = (images(question, away, runs=runs) for away in AWAY)
        rows.append([f"`{question}`", f"{question.population:,}", *cells])
    return rows


def markdown(rows: Words) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="audits of each kind")
    runs = parser.parse_args().runs
    print(
        "Probability of a wrong verdict, exactly; and share of them among "
        f"{runs:,} simulated audits (95 % interval)\n"
    )
    print(markdown(wrong_table([*((q,) for q in SINGLE), TOGETHER], runs)), flush=True)
    print(
        f"\nMedian examples of {runs:,} audits that look after each 1 / 32 / 256; as many set "
        "beforehand with 5 % of either error; Wald's bound of the mean\n"
    )
    print(markdown(images_table(SINGLE, runs)))


if __name__ == "__main__":
    main()
