"""Best hypocritical risk under a bound of natural risk: searched with it, or filtered afterwards.

    python benchmarks/search_bounds.py --published tables.json

The published curves of `search.py` stand in for training. On each the bound lies at 20, 40 and 60 %
of the curve's range of natural risks; a regret is the least hypocritical risk of the trials that
keep it, less the least that the whole curve has under it, in points. `where` is what `fftune sweep
--where` does: hypocritical risk alone is minimized, and the bound is an Optuna constraint. "front,
constrained" minimizes both risks and has the constraint as well; "filtered" knows no bound.
"""

import argparse
import platform
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from search import Curve, Points, published

from fftune.config import Bound, SweepConfig
from fftune.sweeping.samplers.strategies import enqueue, make_sampler
from fftune.sweeping.search_space import suggest

SHARES, TRIALS, SHOWN = (0.2, 0.4, 0.6), 9, (5, 7, 9)
RULES = {
    "gap, filtered": ("gap", False, True),
    "gp, filtered": ("gp", False, True),
    "gp, front, constrained": ("gp", True, True),
    "gp, where": ("gp", True, False),
    "tpe, where": ("tpe", True, False),
}
"""Strategy, if it is told of the bound, and if it minimizes both risks."""


def tried(curve: Curve, most: float, rule: str) -> Points:
    """Replay a rule: (TRIALS, 2) risks in the order of the trials."""
    strategy, told, both = RULES[rule]
    bound = Bound(risk="natural_risk", most=most)
    config = SweepConfig(strategy=strategy, trials=TRIALS, where=(bound,) if told else ())
    directions = ["minimize"] * (2 if both else 1)
    study = optuna.create_study(directions=directions, sampler=make_sampler(config))
    enqueue(study, config)
    found = []
    for _ in range(TRIALS):
        trial = study.ask()
        natural, hypocritical = curve.risks([suggest(trial, config)["lam"]])[0].tolist()
        if told:
            trial.set_constraint(str(bound), natural - most)
        study.tell(trial, [natural, hypocritical] if both else [hypocritical])
        found.append((natural, hypocritical))
    return np.asarray(found)


def regrets(curve: Curve, share: float, rule: str) -> list[float]:
    """Points of hypocritical risk above the best under the bound, after each of `SHOWN` trials."""
    most = float(curve.low[0] + share * (curve.high[0] - curve.low[0]))
    best = curve.whole[curve.whole[:, 0] <= most, 1].min()
    risks = tried(curve, most, rule)
    return [100 * float(risks[:n][risks[:n, 0] <= most, 1].min(initial=1.0) - best) for n in SHOWN]


def table(curves: Sequence[Curve]) -> None:
    cases = [(curve, share) for curve in curves for share in SHARES]
    print(f"\nRegret in points, mean (worst) of {len(cases)} bounds on {len(curves)} curves\n")
    print(f"| rule | {' | '.join(f'{n} trials' for n in SHOWN)} | ms a proposal |")
    print(f"|{'---|' * (len(SHOWN) + 2)}", flush=True)
    for rule in RULES:
        began = time.process_time()
        found = np.array([regrets(curve, share, rule) for curve, share in cases])
        ms = 1000 * (time.process_time() - began) / (len(cases) * TRIALS)
        shown = [f"{column.mean():.1f} ({column.max():.1f})" for column in found.T]
        print(f"| {rule} | {' | '.join(shown)} | {ms:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path, required=True, help="tables.json")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    print(f"Optuna {optuna.__version__}, {platform.machine()}, one thread")
    table(published(arguments.published))


if __name__ == "__main__":
    main()
