"""Simulated audits: wrong verdicts of ours and of Wilson's interval, and how many images."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from audits import Question, anytime, fixed_size, simulate, wald, wilson_each, wrong

RISK = Question(measure="hypocritical_risk", bar=0.3, at_most=True, population=300)
ROBUST = Question(measure="robust_accuracy", bar=0.6, at_most=False, population=400)


@pytest.mark.parametrize("question", [RISK, ROBUST], ids=lambda q: q.measure)
def test_a_verdict_is_wrong_in_at_most_one_audit_of_twenty(question: Question) -> None:
    for rate in wrong([question], look=anytime, block=1, runs=1000):
        assert 0 < rate.count <= 50


def test_three_bars_together_are_wrong_no_more_often() -> None:
    three = [replace(q, bars=3) for q in (RISK, ROBUST, replace(RISK, population=200))]
    for rate in wrong(three, look=anytime, block=1, runs=1000):
        assert 0 < rate.count <= 50


def test_an_interval_for_one_look_is_wrong_when_it_looks_each_time() -> None:
    passes, fails = wrong([RISK], look=wilson_each, block=1, runs=1000)
    assert passes.interval[0] > 0.05
    assert fails.interval[0] > 0.05


@pytest.mark.parametrize("question", [RISK, ROBUST], ids=lambda q: q.measure)
@pytest.mark.parametrize("block", [1, 64])
def test_thresholds_stop_where_an_audit_stops(question: Question, block: int) -> None:
    size, truth = question.population, question.limit - question.side * 20
    passed, stopped = simulate(question, truth, look=anytime, block=block, runs=20, seed=3)
    rng = np.random.default_rng(3)
    one = np.zeros(size, np.int8)
    one[:truth] = 1
    for outcome, n in zip(passed, stopped, strict=True):
        order, test = rng.permutation(one), question.fresh()
        for end in [*range(block, size, block), size]:
            ones = int(order[:end].sum())
            test.sequence.look(ones=ones, zeros=end - ones)
            if test.outcome != "inconclusive":
                break
        assert (test.outcome == "pass", end) == (outcome, n)


def test_fixed_sizes_and_walds_bound_of_known_cases() -> None:
    # 2 of 4 against 1 of 4 beyond a bar of .25: only all four tell them apart with 5 %
    tiny = Question(measure="risk", bar=0.25, at_most=True, population=4)
    assert fixed_size(tiny, 1) == 4
    # mirrored questions need the same
    mirror = Question(measure="accuracy", bar=0.7, at_most=False, population=300)
    assert fixed_size(RISK, 60) == fixed_size(mirror, 240)
    # .9 ln 19 / (.4 ln(.4/.5) + .6 ln(.6/.5))
    half = Question(measure="risk", bar=0.5, at_most=True, population=1000)
    assert wald(half, 400) == pytest.approx(0.9 * 2.944439 / 0.0201355, rel=1e-4)
