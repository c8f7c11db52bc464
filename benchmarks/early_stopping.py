"""Early stopping replayed: epochs saved and hypervolume lost, by `fronts`, `moasha` and a coin.

No net is trained. The lambda curves of Tao et al. 2022 (tables 10 to 12) stand for the *final*
risks, as in `benchmarks/search.py`; what happens before is assumed:

- A risk r approaches its final value as a power law: r(t) = end + (start - end) * g(t), where g
  falls from 1 to 0 over `EPOCHS` as 1 / (1 + t / tau) does. Natural risk starts at .9, that of
  guessing; hypocritical risk at a value in [.2, .8] that all trials of a study share: it rises
  where lambda is small and falls where it is great. tau is log-uniform in [.02, .3] of all epochs,
  drawn for each trial and each risk, so that curves cross. Risks that worsen again (robust
  overfitting) and late drops of a learning rate are not simulated.
- At a rung both risks are counted on 250 validation examples, with binomial noise.
- Four workers train at one speed; a worker whose trial ends or is stopped takes the next.
- A study has 24 trials. `lambda`: both ends of [0, 100], then uniform draws of log(1 + lambda).
  `space`: also the objective (THRM or TRADES), a learning rate in [.003, .3] and a weight decay in
  [5e-5, 5e-3], log-uniform; what is off the best of both (.1 and 5e-4) moves *both* risks towards
  their worst by 1 - exp(-a * d_lr^2 - b * d_wd^2), with d in decades, a in [.1, .4] and b in
  [.02, .1] drawn for each study. A bad learning rate that only trades one risk for the other,
  which also occurs, is not simulated.

Hypervolume is that of the true final risks of trials that ran to their end, below (1, 1) as in
reports; "own" is below the worst risks of the study's trials, where the middle of a front counts
for more. `coin` stops a trial at a rung with probability 1 - 1 / eta: a rule that knows nothing.
Each rule's eta and rungs are chosen on `--chosen` seeds, as what saves most while the upper end of
the loss stays below 2 %, and reported on others.
"""

import argparse
import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt
from pathlib import Path

import numpy as np
from arguments import whole
from numpy.typing import NDArray
from scipy import stats
from search import TOP, Curve, published

from fftune.pareto import hypervolume
from fftune.risk import RiskCounts
from fftune.sweeping.early_stopping import ParetoHalving, RungResult

EPOCHS, TRIALS, WORKERS, EXAMPLES = 40, 24, 4, 250
ETAS = (1.25, 1.5, 1.75, 2.0, 3.0, 4.0, 8.0)
RUNGS = ((5,), (10,), (20,), (10, 20), (5, 10, 20), (5, 15, 30), (3, 9, 27), (2, 4, 8, 16, 32))
RULES = ("fronts", "moasha", "coin")
ALIKE = (2.0, (10, 20))
"""Setting at which all rules are shown, beside those chosen for each."""
MOST_LOST = 0.02


@dataclass(frozen=True, slots=True)
class Replayed:
    """A study as all rules see it: its trials' final risks, and their counts at every epoch."""

    final: NDArray[np.float64]
    """(trials, 2) natural and hypocritical risk."""
    rungs: list[dict[int, RungResult]]
    """Results of each trial by epoch, for all epochs at which a rule may look."""
    coins: NDArray[np.float64]
    """(trials, EPOCHS + 1) uniform draws for `coin`."""


def lambda_study(curve: Curve, seed: tuple[int, int]) -> Replayed:
    """Trials of lambda alone, both ends first."""
    rng = np.random.default_rng([*seed, 1])
    lams = np.expm1(TOP * np.concatenate([[0.0, 1.0], rng.uniform(size=TRIALS - 2)]))
    return _trained(curve.risks(lams), rng)


def space_study(both: Sequence[Curve], seed: tuple[int, int]) -> Replayed:
    """Trials of lambda, objective, learning rate and weight decay, all of them drawn."""
    rng = np.random.default_rng([*seed, 2])
    lams = np.expm1(TOP * rng.uniform(size=TRIALS))
    risks = np.stack([curve.risks(lams) for curve in both])
    best = risks[rng.integers(len(both), size=TRIALS), np.arange(TRIALS)]
    lr, decay = rng.uniform(-1.5, 0.5, TRIALS), rng.uniform(-1, 1, TRIALS)  # decades off the best
    off = 1 - np.exp(-rng.uniform(0.1, 0.4) * lr**2 - rng.uniform(0.02, 0.1) * decay**2)
    return _trained(best + (np.array([0.9, 1.0]) - best) * off[:, None], rng)


def _trained(final: NDArray[np.float64], rng: np.random.Generator) -> Replayed:
    """Draw learning curves towards final risks, and counts on validation examples."""
    start = np.array([0.9, rng.uniform(0.2, 0.8)])
    tau = EPOCHS * np.exp(rng.uniform(np.log(0.02), np.log(0.3), final.shape))
    rungs: list[dict[int, RungResult]] = [{} for _ in final]
    for epoch in sorted({epoch for rungs in RUNGS for epoch in rungs}):
        ended = 1 / (1 + EPOCHS / tau)
        left = (1 / (1 + epoch / tau) - ended) / (1 - ended)
        risks = final + (start - final) * left
        wrong = rng.binomial(EXAMPLES, risks[:, 0])
        concealed = rng.binomial(wrong, risks[:, 1])
        for i, (w, c) in enumerate(zip(wrong.tolist(), concealed.tolist(), strict=True)):
            rungs[i][epoch] = RungResult.of(RiskCounts(total=EXAMPLES, wrong=w, concealed=c))
    return Replayed(final, rungs, rng.uniform(size=(len(final), EPOCHS + 1)))


def kept(study: Replayed, rule: str, eta: float, rungs: Sequence[int]) -> tuple[list[int], int]:
    """Replay a rule: the trials that ran to their end, and the epochs that all trials ran."""
    halving = None if rule == "coin" else ParetoHalving(eta=eta, rule=rule)  # type: ignore[arg-type]
    waiting, whole, spent = list(range(len(study.final))), [], 0
    events: list[tuple[int, int, int]] = []  # time, trial, epoch of the trial

    def start(now: int) -> None:
        if waiting:
            trial = waiting.pop(0)
            heapq.heappush(events, (now + rungs[0], trial, rungs[0]))

    for _ in range(WORKERS):
        start(0)
    while events:
        now, trial, epoch = heapq.heappop(events)
        if epoch == EPOCHS:
            whole.append(trial)
        elif (
            halving.goes_on(trial, epoch, study.rungs[trial][epoch])
            if halving
            else study.coins[trial, epoch] < 1 / eta
        ):
            later = next((rung for rung in rungs if rung > epoch), EPOCHS)
            heapq.heappush(events, (now + later - epoch, trial, later))
            continue
        spent += epoch
        start(now)
    return whole, spent


def outcome(
    studies: Sequence[Replayed], rule: str, eta: float, rungs: Sequence[int]
) -> NDArray[np.float64]:
    """Means over the studies of one seed: share of epochs saved; of hypervolume lost, and own."""
    rows = []
    for study in studies:
        whole, spent = kept(study, rule, eta, rungs)
        worst = tuple(study.final.max(axis=0).tolist())
        lost = [
            1 - hypervolume(study.final[whole], at) / hypervolume(study.final, at)
            for at in ((1.0, 1.0), worst)
        ]
        rows.append([1 - spent / (EPOCHS * TRIALS), *lost])
    return np.asarray(rows).mean(axis=0)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95 % interval (Student's t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / sqrt(len(values))
    return float(values.mean()), float(half)


def chosen(seeds: Sequence[Sequence[Replayed]], rule: str) -> tuple[float, tuple[int, ...]] | None:
    """Find eta and rungs that save most at a loss of at most `MOST_LOST`; None if none do."""
    best, saved = None, 0.0
    for eta, rungs in product(ETAS, RUNGS):
        outcomes = np.array([outcome(studies, rule, eta, rungs) for studies in seeds])
        lost, half = interval(outcomes[:, 1])
        if lost + half <= MOST_LOST and outcomes[:, 0].mean() > saved:
            best, saved = (eta, rungs), float(outcomes[:, 0].mean())
    return best


Seeds = Sequence[Sequence[Replayed]]


def table(title: str, choosing: Seeds, reported: Seeds) -> None:
    """Print each rule as chosen and at one setting, and what the first saves more than MOASHA."""
    print(f"\n{title}: {len(reported[0])} studies a seed, {len(reported)} seeds, 95 % over seeds\n")
    print("| rule | eta | rungs of 40 | epochs saved, % | hypervolume lost, % | lost, own, % |")
    print("|---|---|---|---|---|---|\n| none | | | 0 | 0 | 0 |")
    saved: dict[str, NDArray[np.float64]] = {}
    for rule in RULES:
        setting = chosen(choosing, rule)
        if setting is None:
            print(f"| {rule} | | none keeps to {100 * MOST_LOST:g} % | | | |", flush=True)
        else:
            saved[rule] = _row(rule, reported, *setting)[:, 0]
        _row(rule, reported, *ALIKE)
    if {"fronts", "moasha"} <= saved.keys():
        more, half = interval(100 * (saved["fronts"] - saved["moasha"]))
        print(f"\nAs chosen, fronts saves {more:+.1f} ± {half:.1f} points more than moasha.")


def _row(rule: str, seeds: Seeds, eta: float, rungs: tuple[int, ...]) -> NDArray[np.float64]:
    """Print a rule with a setting; return its outcomes, a row a seed."""
    outcomes = np.array([outcome(studies, rule, eta, rungs) for studies in seeds])
    shown = ["{:.1f} ± {:.1f}".format(*interval(100 * column)) for column in outcomes.T]
    print(f"| {rule} | {eta:g} | {' '.join(map(str, rungs))} | {' | '.join(shown)} |", flush=True)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path, required=True, help="tables.json")
    parser.add_argument("--chosen", type=whole, default=20, help="seeds on which rules are set")
    parser.add_argument("--seeds", type=whole, default=40, help="further seeds that are reported")
    arguments = parser.parse_args()
    began, curves = time.process_time(), published(arguments.published)
    pairs = [curves[i : i + 2] for i in range(0, len(curves), 2)]  # THRM, TRADES of one data set
    every = range(arguments.chosen + arguments.seeds)
    alone = [[lambda_study(c, (s, i)) for i, c in enumerate(curves)] for s in every]
    space = [[space_study(pair, (s, i)) for i, pair in enumerate(pairs)] for s in every]
    table("lambda", alone[: arguments.chosen], alone[arguments.chosen :])
    table("space", space[: arguments.chosen], space[arguments.chosen :])
    print(f"\n{time.process_time() - began:.0f} CPU-s")


if __name__ == "__main__":
    main()
