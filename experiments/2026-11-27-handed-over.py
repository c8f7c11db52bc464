"""APGD and AutoAttack behind defenses, with the points that AutoAttack's own code hands over.

    python experiments/2026-11-27-handed-over.py MODELS STORE [--examples 1000]

MODELS holds `architectures.py` and its nets. The columns of two tables of LOG.md are run again: the
same nets, images, radii and draws, attacks under protocol `last_success`. Blocks are kept in STORE.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from fftune.comparison import Paired
from fftune.config import BatteryConfig, DataSpec, DefenseConfig, ModelSpec, ThreatModel
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.outcomes import Outcomes

COLUMNS = ("apgd-ce", "apgd-t", "autoattack")
NETS = ("natural_small", "fastat_small")


def main() -> None:
    """Attack both nets and print the columns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--examples", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    threat = ThreatModel()
    battery = BatteryConfig(name="nine", examples=given.examples, block_size=250)
    attacks = [one for one in attacks_of(battery, threat, defended=True) if one.name in COLUMNS]
    for net in NETS:
        outcomes = evaluate(
            ModelSpec(factory=f"{given.models / 'architectures.py'}:load:{net}"),
            DataSpec(name="cifar10"),
            battery,
            threat=threat,
            defense=DefenseConfig(names=("random", "hedge")),
            attacks=attacks,
            wanted=COLUMNS.__contains__,
            root=given.store,
        )
        outcomes.write(given.store / f"{net}.parquet")
        print(net, *lines(outcomes), sep="\n", flush=True)


def lines(outcomes: Outcomes) -> list[str]:
    """Accuracy of each column under each defense, and the hedge's gains on the first draw."""
    frame = outcomes.to_pandas()
    frame["right"] = frame["pred_pert"] == frame["y"]
    found = []
    for attack in COLUMNS:
        one = frame[frame["attack"] == attack]
        drawn = one.groupby(["defense", "defense_repeat"], observed=True)["right"].mean() * 100
        means = drawn.groupby("defense", observed=True).agg(["mean", "var"])
        for defense, values in means.iterrows():
            found.append(f"  {attack}, {defense}: {values['mean']:.2f} ({values['var']:.2f})")
        first = one[one["defense_repeat"] == 0].set_index(["defense", "id"])["right"]
        hedged = {other: _gain(first["hedge"], first[other]) for other in ("none", "random")}
        found += [f"  {attack}, hedge - {other}: {gain}" for other, gain in hedged.items()]
    return found


def _gain(one: "pd.Series[bool]", two: "pd.Series[bool]") -> Paired:
    two = two[one.index]
    gained, lost = int((one & ~two).sum()), int((~one & two).sum())
    return Paired(n=len(one), both=int((one & two).sum()), gained=gained, lost=lost)


if __name__ == "__main__":
    main()
