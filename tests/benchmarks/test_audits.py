"""Simulated audits: wrong verdicts of ours and of Wilson's interval, and how many images."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from audits import (
    ERROR,
    Question,
    anytime,
    chance_of_pass,
    fixed_size,
    outcome_of,
    simulate,
    wald,
    wilson_each,
    wrong,
)

from fftune.auditing.bars import Bar
from fftune.sequential import FiniteSequence

RISK = Question(bar=Bar(measure="hypocritical_risk", value=0.3), total=1000, wrong=300)
ROBUST = Question(bar=Bar(measure="robust_accuracy", value=0.6), total=400, wrong=40)
each = pytest.mark.parametrize("question", [RISK, ROBUST], ids=lambda q: q.bar.measure)


@each
def test_a_verdict_is_wrong_in_at_most_one_audit_of_twenty(question: Question) -> None:
    found = wrong([question], look=anytime, block=1, runs=1000)
    for rate, chance in zip((found.passes, found.fails), found.chances, strict=True):
        low, high = rate.interval
        assert low < chance < high  # the recursion and the simulation agree
        assert 0.01 < chance <= ERROR


def test_three_bars_together_are_wrong_no_more_often() -> None:
    three = [replace(q, bars=3) for q in (RISK, ROBUST, replace(RISK, wrong=200))]
    found = wrong(three, look=anytime, block=1, runs=1000)
    assert all(0.005 < chance <= ERROR for chance in found.chances)
    assert found.passes.count <= 50 and found.fails.count <= 50


def test_an_interval_for_one_look_is_wrong_when_it_looks_each_time() -> None:
    found = wrong([RISK], look=wilson_each, block=1, runs=1000)
    assert min(found.chances) > ERROR
    assert min(found.passes.interval[0], found.fails.interval[0]) > ERROR


@each
@pytest.mark.parametrize("block", [1, 64])
def test_thresholds_stop_where_an_audit_stops(question: Question, block: int) -> None:
    size, truth = question.population, question.limit - 20
    passed, stopped = simulate(question, truth, look=anytime, block=block, runs=20, seed=3)
    rng = np.random.default_rng(3)
    one = np.zeros(size, np.int8)
    one[:truth] = 1
    for outcome, n in zip(passed, stopped, strict=True):
        order, sequence = rng.permutation(one), FiniteSequence(population=size)
        for end in [*range(block, size, block), size]:
            ones = int(order[:end].sum())
            sequence.look(ones=ones, zeros=end - ones)
            found = outcome_of(sequence.low, sequence.high, question.limit)
            if found != "inconclusive":
                break
        assert (found == "pass", end) == (outcome, n)


def test_chances_of_known_cases() -> None:
    tiny = Question(bar=Bar(measure="hypocritical_risk", value=0.5), total=9, wrong=2)
    # 1 of 2 succeeds, at most 1 may: decided in favour by a failure, else by both
    assert chance_of_pass(tiny, 1, look=anytime, block=1) == pytest.approx(1.0)
    assert chance_of_pass(tiny, 2, look=anytime, block=1) == 0.0


def test_fixed_sizes_and_walds_bound_of_known_cases() -> None:
    # 1 of 4 against 2 of 4, beyond a bar of .25: only all four tell them apart with 5 %
    tiny = Question(bar=Bar(measure="hypocritical_risk", value=0.25), total=9, wrong=4)
    assert fixed_size(tiny, 1) == 4
    # .9 ln 19 / (.4 ln(.4/.5) + .6 ln(.6/.5))
    half = Question(bar=Bar(measure="adversarial_risk", value=0.5), total=1000, wrong=0)
    assert wald(half, 400) == pytest.approx(0.9 * 2.944439 / 0.0201355, rel=1e-4)

    def told_apart(n: int) -> bool:
        passes = (hypergeom.cdf(range(n), 1000, truth, n) for truth in (501, 400))
        return any(bad <= 0.05 and good >= 0.95 for bad, good in zip(*passes, strict=True))

    assert told_apart(fixed_size(half, 400))
    assert not any(map(told_apart, range(195, 205)))  # and few of the next, by their parity
    assert 205 <= fixed_size(half, 400) <= 225
