"""Search strategies replayed on known fronts: share of the front found, by number of trainings.

The six published lambda curves (Tao et al. 2022, tables 10 to 12) and random monotone curves that
no strategy was tuned on stand in for training: a trial's risks are read off the curve, which is
interpolated monotonically (PCHIP) over log(1 + lambda). Scores are shares of what could be
attained: the hypervolume of the points tried over that of the whole curve.

With k workers, k trials run at a time, all equally long: a trial's risks are told when it ends, and
then the next is asked for, while k - 1 others still run.
"""

import argparse
import json
import platform
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from arguments import whole
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from fftune.config import SweepConfig
from fftune.pareto import hypervolume, non_dominated
from fftune.sweeping.samplers.strategies import enqueue, make_sampler
from fftune.sweeping.search_space import suggest

Points = NDArray[np.float64]
TABLES = {"P1.T10_c10": "CIFAR-10", "P1.T11_c100": "CIFAR-100", "P1.T12_tin": "Tiny-ImageNet"}
TOP = np.log1p(100.0)
BUDGET = 9
WORKER_BUDGETS = (9, 16)
GRID, GP = "grid (the papers' nine)", "gp, corners queued"
MARGINS = (0.0, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1)


class Curve:
    """Both risks as functions of lambda in [0, 100]."""

    def __init__(self, name: str, u: Points, risks: Points) -> None:
        self.name, self._at = name, PchipInterpolator(u, risks)
        self.whole = self._at(np.linspace(0, 1, 1001))
        self.low, self.high = self.whole.min(axis=0), self.whole.max(axis=0)
        self._all = hypervolume(self.scaled(self.whole))
        self._all_absolute = hypervolume(self.whole)

    def risks(self, lams: Sequence[float]) -> Points:
        """(n, 2): natural and hypocritical risk."""
        return np.asarray(self._at(np.log1p(lams) / TOP)).reshape(-1, 2)

    def scaled(self, risks: Points) -> Points:
        """Scale risks to the curve's own range, so that its worst is (1, 1)."""
        return (risks - self.low) / (self.high - self.low)

    def share(self, lams: Sequence[float]) -> float:
        """Share of the attainable hypervolume below the curve's own worst risks."""
        return hypervolume(self.scaled(self.risks(lams))) / self._all

    def share_absolute(self, lams: Sequence[float]) -> float:
        """Share of the hypervolume below (1, 1), the reports' reference: here the ends count."""
        return hypervolume(self.risks(lams)) / self._all_absolute

    def best(self, points: int) -> float:
        """Largest share that any `points` points can have, by dynamic programming."""
        p = self.scaled(self.whole)[::4]
        p = p[non_dominated(p)]
        x, y = p[np.argsort(p[:, 0])].T
        gain = (1 - x)[None] * (y[:, None] - y[None])  # of adding column's point after row's
        gain[np.tril_indices(len(x))] = -1
        best = (1 - x) * (1 - y)
        for _ in range(points - 1):
            best = np.maximum(best, (best[:, None] + gain).max(axis=0))
        return float(best.max() / self._all)


def published(path: Path) -> list[Curve]:
    tables = json.loads(path.read_text())
    curves = []
    for key, data in TABLES.items():
        for method in ("THRM", "TRADES"):
            rows = [r for r in tables[key] if r["method"] == method]
            rows.sort(key=lambda r: r["lambda"])
            u = np.log1p([r["lambda"] for r in rows]) / TOP
            risks = np.array([[r["Rnat"], r["Rhyp_minus"]] for r in rows]) / 100
            curves.append(Curve(f"{method} {data}", u, risks))
    return curves


def random_curve(seed: int) -> Curve:
    """Draw a curve: natural risk rises and hypocritical risk falls in 4 to 9 steps of any size."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(4, 10))
    u = np.concatenate([[0.0], np.sort(rng.uniform(0, 1, steps - 1)), [1.0]])

    def rise() -> Points:
        return np.concatenate([[0.0], np.cumsum(rng.dirichlet(np.full(steps, rng.choice([1, 3]))))])

    natural = 0.05 + 0.4 * rise()
    return Curve(f"random {seed}", u, np.stack([natural, 1 - 0.7 * rise()], axis=1))


Rule = Callable[[Curve, int, int], list[float]]
"""Function of a curve, a number of trials and a seed: the lambdas tried, in order."""


def searched(
    config: SweepConfig, curve: Curve, trials: int, seed: int, *, workers: int = 1
) -> list[float]:
    """Replay a strategy as a study runs it: fftune's sampler under Optuna's ask and tell."""
    config = replace(config, trials=trials, sampler_seed=seed)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=make_sampler(config))
    enqueue(study, config)
    return _ask(study, config, curve, trials, workers)


def genetic(curve: Curve, trials: int, seed: int) -> list[float]:
    sampler = optuna.samplers.NSGAIISampler(seed=seed)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    return _ask(study, SweepConfig(strategy="random", trials=trials), curve, trials)


def spaced(_curve: Curve, trials: int, _seed: int) -> list[float]:
    """Equal steps of log(1 + lambda); needs its budget beforehand."""
    return list(np.expm1(np.linspace(0, TOP, trials)))


def _ask(
    study: optuna.Study, config: SweepConfig, curve: Curve, trials: int, workers: int = 1
) -> list[float]:
    lams = []
    running: deque[tuple[optuna.Trial, float]] = deque()
    for _ in range(trials):
        if len(running) == workers:
            ended, lam = running.popleft()
            study.tell(ended, curve.risks([lam])[0].tolist())
        trial = study.ask()
        lams.append(suggest(trial, config)["lam"])
        running.append((trial, lams[-1]))
    return lams


def rules(*, gp: bool) -> dict[str, tuple[Rule, int]]:
    """Map each rule's name to the rule and its number of seeds; `gp` takes most of a second."""
    ours = {s: partial(searched, SweepConfig(strategy=s)) for s in ("gap", "gp", "tpe", "random")}
    found: dict[str, tuple[Rule, int]] = {
        "gap": (ours["gap"], 1),
        "gap, margin 0.05": (partial(searched, SweepConfig(strategy="gap", margin=0.05)), 1),
        GRID: (partial(searched, SweepConfig(strategy="grid")), 1),
        "log grid of n": (spaced, 1),
        GP: (ours["gp"], 1),
        "tpe, corners queued": (ours["tpe"], 3),
        "random": (ours["random"], 20),
        "NSGA-II": (genetic, 3),
    }
    return found if gp else {k: v for k, v in found.items() if k != GP}


def replay(rule: Rule, seeds: int, curves: Sequence[Curve], trials: int) -> tuple[Points, Points]:
    """Replay a rule on every curve.

    Returns:
        Means over seeds: (curves, trials) shares after each trial, and (curves,) shares below
        (1, 1) after `BUDGET` trials.
    """
    fixed = rule is spaced
    shares = np.empty((seeds, len(curves), trials))
    absolute = np.empty((seeds, len(curves)))
    for seed in range(seeds):
        for i, curve in enumerate(curves):
            lams = [] if fixed else rule(curve, trials, seed)
            for n in range(1, trials + 1):
                tried = spaced(curve, n, 0) if fixed else lams[:n]
                shares[seed, i, n - 1] = curve.share(tried)
                if n == min(BUDGET, trials):
                    absolute[seed, i] = curve.share_absolute(tried)
    return shares.mean(axis=0), absolute.mean(axis=0)


def grids_share(curves: Sequence[Curve]) -> float:
    """Mean share that the papers' nine lambdas reach: the goal of the other rules."""
    return float(replay(*rules(gp=False)[GRID], curves, BUDGET)[0].mean(axis=0)[-1])


def table(
    title: str, curves: Sequence[Curve], trials: int, *, goal: float, gp: bool = True
) -> None:
    """Print the shares of every rule, and the trials it needs to reach the goal."""
    print(f"\n{title}: {len(curves)} curves\n")
    columns = ["rule", "9 trials, mean", "worst", "6", "7", "8", f"trials to reach {goal:.3f}"]
    columns += ["below (1, 1), 9 trials, mean", "worst", "ms a proposal"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for name, (rule, seeds) in rules(gp=gp).items():
        began = time.process_time()
        budget = BUDGET if name in (GRID, GP) else trials
        shares, absolute = replay(rule, seeds, curves, budget)
        seconds = (time.process_time() - began) / (seeds * len(curves) * budget)
        mean = shares.mean(axis=0)
        cells = [mean[8], shares[:, 8].min(), *mean[5:8]]
        shown = [name, *(f"{cell:.3f}" for cell in cells), _needed(shares, goal)]
        shown += [f"{absolute.mean():.3f}", f"{absolute.min():.3f}", f"{1000 * seconds:.1f}"]
        print(f"| {' | '.join(shown)} |", flush=True)


def by_workers(
    title: str, curves: Sequence[Curve], workers: Sequence[int], *, goal: float, gp: bool = True
) -> None:
    """Print the shares that strategies reach with several workers, after 9 and 16 trials."""
    print(f"\n{title}, by workers: {len(curves)} curves; mean (worst)\n")
    columns = [f"{n} trials, {k}" for n in WORKER_BUDGETS for k in workers]
    columns += [f"to reach {goal:.3f}, {k}" for k in workers] + ["ms a proposal"]
    print(f"| rule | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}", flush=True)
    for name, seeds in {"gap": 1, "gp": 1, "tpe": 3, "random": 20}.items():
        if name == "gp" and not gp:
            continue
        began, most = time.process_time(), max(WORKER_BUDGETS)
        rule = partial(searched, SweepConfig(strategy=name))
        each = [replay(partial(rule, workers=k), seeds, curves, most)[0] for k in workers]
        proposals = seeds * len(curves) * most * len(workers)
        milliseconds = 1000 * (time.process_time() - began) / proposals
        shown = [
            f"{shares[:, n - 1].mean():.3f} ({shares[:, n - 1].min():.3f})"
            for n in WORKER_BUDGETS
            for shares in each
        ]
        shown += [_needed(shares, goal) for shares in each]
        print(f"| {name} | {' | '.join(shown)} | {milliseconds:.0f} |", flush=True)


def _needed(shares: Points, goal: float) -> str:
    """Trials after which the mean share over the curves reaches a goal."""
    mean = shares.mean(axis=0)
    reached = np.flatnonzero(mean >= goal - 1e-9)
    return str(reached[0] + 1) if len(reached) else f"> {len(mean)}"


def bounds(curves: Sequence[Curve]) -> None:
    """Print upper bounds of the share; the ends of a curve add no area by themselves."""
    print("\n| points besides the two ends | best possible share, mean | worst |\n|---|---|---|")
    for points in (4, 5, 7, 9):
        best = [curve.best(points) for curve in curves]
        print(f"| {points} | {np.mean(best):.3f} | {min(best):.3f} |")


def leave_one_out(curves: Sequence[Curve]) -> None:
    """Choose the margin of `gap` on five curves and test it on the sixth."""
    shares = np.array(
        [
            replay(partial(searched, SweepConfig(margin=margin)), 1, curves, BUDGET)[0][:, -1]
            for margin in MARGINS
        ]
    )
    print(f"\nMargin of `gap`, leave one curve out, {BUDGET} trials; margins {MARGINS}\n")
    print("| left out | margin chosen on the others | share | share with margin 0 |")
    print("|---|---|---|---|")
    kept = []
    for i, curve in enumerate(curves):
        best = int(np.argmax(np.delete(shares, i, axis=1).mean(axis=1)))
        kept.append(shares[best, i])
        print(f"| {curve.name} | {MARGINS[best]:g} | {shares[best, i]:.3f} | {shares[0, i]:.3f} |")
    print(f"| mean | | {np.mean(kept):.3f} | {shares[0].mean():.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path, required=True, help="tables.json")
    parser.add_argument("--trials", type=int, default=12, help="how far rules are followed")
    parser.add_argument("--random", type=int, default=20, help="how many random curves")
    parser.add_argument("--gp", action="store_true", help="replay gp on the random curves too")
    parser.add_argument("--workers", type=whole, nargs="+", default=[1, 4, 8])
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    print(f"Optuna {optuna.__version__}, {platform.machine()}, one thread")
    curves = published(arguments.published)
    goal = grids_share(curves)
    bounds(curves)
    leave_one_out(curves)
    table("Published curves", curves, arguments.trials, goal=goal)
    by_workers("Published curves", curves, arguments.workers, goal=goal)
    unseen = [random_curve(seed) for seed in range(arguments.random)]
    by_workers("Random curves", unseen, arguments.workers, goal=goal, gp=arguments.gp)
    table(
        "Random monotone curves, never seen by any rule",
        unseen,
        arguments.trials,
        goal=goal,
        gp=arguments.gp,
    )
    bounds(unseen)


if __name__ == "__main__":
    main()
