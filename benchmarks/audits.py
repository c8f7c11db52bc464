"""Simulated audits: how often a verdict is wrong, and after how many images it is given.

Each audit draws its examples in a random order from a set whose truth is known, looks at every
block, and stops at the first look that passes or fails. The looks of `fftune.sequential` stand
beside those of Wilson's 95 % interval, which is meant for one look at an n set beforehand.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, log
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from fftune.risk import Rate, wilson
from fftune.sequential import BarSequence
from fftune.verdict import Outcome

BLOCKS = (1, 256)
"""Examples between two looks."""
ERROR = 0.05
"""Probability of a wrong pass, and of a wrong fail."""
AWAY = (0.02, 0.05, 0.10)
"""Distances of the truth from the bar, on its passing side."""
Words = list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Bar on a share of a set of known size."""

    measure: str
    bar: float
    at_most: bool
    population: int
    bars: int = 1
    """Bars of the same audit."""

    @property
    def side(self) -> int:
        """Step from the bar's limit to its wrong side."""
        return 1 if self.at_most else -1

    @property
    def limit(self) -> int:
        return self.fresh().limit

    def fresh(self) -> BarSequence:
        return BarSequence(
            bar=self.bar,
            at_most=self.at_most,
            population=self.population,
            alpha=ERROR,
            bars=self.bars,
        )


Look = Callable[[Question, int, int], Outcome]


def anytime(question: Question, ones: int, n: int) -> Outcome:
    """Verdict of one look of ours at n examples."""
    test = question.fresh()
    test.sequence.look(ones=ones, zeros=n - ones)
    return test.outcome


def wilson_each(question: Question, ones: int, n: int) -> Outcome:
    """Verdict of Wilson's 95 % interval, as if n had been set beforehand."""
    if n == question.population:
        return anytime(question, ones, n)
    low, high = wilson(ones / n, n)
    if high <= question.bar:
        return "pass" if question.at_most else "fail"
    if low >= question.bar:
        return "fail" if question.at_most else "pass"
    return "inconclusive"


@cache
def thresholds(look: Look, question: Question) -> NDArray[np.int64]:
    """(N + 1, 2): at n examples, the most ones that end an audit as few, the least as many."""
    few, many = -1, 0
    found = np.zeros((question.population + 1, 2), np.int64)
    found[0] = few, 1
    under: Outcome = "pass" if question.at_most else "fail"
    over: Outcome = "fail" if question.at_most else "pass"
    for n in range(1, question.population + 1):
        while few + 1 <= n and look(question, few + 1, n) == under:
            few += 1
        while few >= 0 and look(question, few, n) != under:
            few -= 1
        while many <= n and look(question, many, n) != over:
            many += 1
        while many > 0 and look(question, many - 1, n) == over:
            many -= 1
        found[n] = few, many
    return found


def simulate(
    question: Question, truth: int, *, look: Look, block: int, runs: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Run audits of a set with `truth` ones, each to its verdict.

    Returns:
        (runs,) whether each passes, and after how many examples it ends.
    """
    rng, size = np.random.default_rng(seed), question.population
    looks = np.append(np.arange(block, size, block), size)
    few, many = thresholds(look, question)[looks].T
    one = np.zeros(size, np.int8)
    one[:truth] = 1
    passed, stopped = np.empty(runs, bool), np.empty(runs, np.int64)
    for run in range(runs):
        counts = np.cumsum(rng.permutation(one), dtype=np.int64)[looks - 1]
        first = int(((counts <= few) | (counts >= many)).argmax())
        passed[run] = (counts[first] <= few[first]) == question.at_most
        stopped[run] = looks[first]
    return passed, stopped


def wrong(
    questions: Sequence[Question], *, look: Look, block: int, runs: int, seed: int = 0
) -> tuple[Rate, Rate]:
    """Count wrong verdicts of audits with several bars.

    Returns:
        Audits of which all bars pass, though the truth of the first is one example beyond its bar
        and those of the others are as far inside as can be; and audits that any bar fails, though
        every truth is at its bar.
    """
    passes, fails = np.ones(runs, bool), np.zeros(runs, bool)
    for at, question in enumerate(questions):
        best = 0 if question.at_most else question.population
        beyond = question.limit + question.side if not at else best
        for truth in {beyond, question.limit}:
            passed, _ = simulate(question, truth, look=look, block=block, runs=runs, seed=seed + at)
            if truth == beyond:
                passes &= passed
            if truth == question.limit:
                fails |= ~passed
    return Rate(int(passes.sum()), runs), Rate(int(fails.sum()), runs)


def images(question: Question, away: float, *, runs: int, seed: int = 0) -> str:
    """Median images until a verdict, with the truth a distance inside the bar, beside bounds."""
    gap = round(away * question.population)
    truth = question.limit - question.side * gap
    if not 0 <= truth <= question.population:
        return "-"
    taken = []
    for block in BLOCKS:
        _, stopped = simulate(question, truth, look=anytime, block=block, runs=runs, seed=seed)
        taken.append(f"{median(stopped.tolist()):,.0f}")
    fixed = fixed_size(question, truth)
    return f"{' / '.join(taken)} / {fixed:,} / {wald(question, truth):,.0f}"


def fixed_size(question: Question, truth: int) -> int:
    """Fewest images, set beforehand, whose count separates bar and truth with both errors 5 %.

    Counts of samples without replacement are hypergeometric; one example beyond the bar may pass
    with 5 %, and the truth may fail to with 5 %.
    """
    size, beyond = question.population, question.limit + question.side

    def tells(n: int) -> bool:
        if question.at_most:
            most = hypergeom.ppf(ERROR, size, beyond, n)
            most -= hypergeom.cdf(most, size, beyond, n) > ERROR
            return bool(hypergeom.cdf(most, size, truth, n) >= 1 - ERROR)
        least = hypergeom.isf(ERROR, size, beyond, n) + 1
        return bool(hypergeom.sf(least - 1, size, truth, n) >= 1 - ERROR)

    low, high = 0, size
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high


def wald(question: Question, truth: int) -> float:
    """Least mean number of images of any sequential test with both errors 5 % (Wald 1945).

    It is that of independent draws, at the true share against the bar, and knows the former.
    """
    bar, share = question.bar, truth / question.population
    terms = [(share, bar), (1 - share, 1 - bar)]
    distance = sum(p * log(p / q) if p else 0.0 for p, q in terms) if 0 < bar < 1 else inf
    odds = log((1 - ERROR) / ERROR)
    return ((1 - ERROR) * odds - ERROR * odds) / distance


SINGLE = (
    Question(measure="robust_accuracy", bar=0.5, at_most=False, population=10_000),
    Question(measure="robust_accuracy", bar=0.9, at_most=False, population=10_000),
    *(
        Question(measure="hypocritical_risk", bar=0.3, at_most=True, population=size)
        for size in (300, 1000, 5000)
    ),
    Question(measure="adversarial_risk", bar=0.1, at_most=True, population=9000),
)
TOGETHER = (
    Question(measure="hypocritical_risk", bar=0.3, at_most=True, population=1000, bars=3),
    Question(measure="adversarial_risk", bar=0.1, at_most=True, population=9000, bars=3),
    Question(measure="robust_accuracy", bar=0.5, at_most=False, population=10_000, bars=3),
)


def wrong_table(groups: Sequence[Sequence[Question]], runs: int) -> Words:
    head = ["bars", "N", "block", "wrong PASS", "wrong FAIL", "Wilson: PASS", "Wilson: FAIL"]
    rows = [head]
    for group in groups:
        said = ", ".join(f"{q.measure} {'<=' if q.at_most else '>='} {q.bar:g}" for q in group)
        sizes = ", ".join(f"{q.population:,}" for q in group)
        for block in BLOCKS:
            rates = [
                str(rate)
                for look in (anytime, wilson_each)
                for rate in wrong(group, look=look, block=block, runs=runs)
            ]
            rows.append([said, sizes, str(block), *(short(r) for r in rates)])
    return rows


def short(rate: str) -> str:
    return rate.replace("95 % CI ", "").partition(", n =")[0] + ")"


def images_table(questions: Sequence[Question], runs: int) -> Words:
    rows = [["bar", "N", *(f"{100 * away:g} points" for away in AWAY)]]
    for question in questions:
        said = f"{question.measure} {'<=' if question.at_most else '>='} {question.bar:g}"
        cells = (images(question, away, runs=runs) for away in AWAY)
        rows.append([said, f"{question.population:,}", *cells])
    return rows


def markdown(rows: Words) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="audits of each kind")
    runs = parser.parse_args().runs
    print(f"Share of wrong verdicts of {runs:,} audits each, with 95 % intervals\n")
    print(markdown(wrong_table([*((q,) for q in SINGLE), TOGETHER], runs)), flush=True)
    print(
        f"\nMedian images of {runs:,} audits with a look after each one / after each 256 / set "
        "beforehand, with 5 % of either error / Wald's bound of the mean\n"
    )
    print(markdown(images_table(SINGLE, runs)))


if __name__ == "__main__":
    main()
