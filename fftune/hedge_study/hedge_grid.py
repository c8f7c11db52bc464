"""Hedges of a study for a terminal: what each is worth against attackers who know it."""

from collections.abc import Iterator

from fftune.hedge_study.summary import HedgeResult, robust
from fftune.report.result_page import Figure, measured, told
from fftune.report.terminal import Cell, Grid, Worst, grid
from fftune.risk import RiskCounts
from fftune.sweeping.trial_results import SPLITS, SeedResult

HEDGE_LEGEND = (
    "front: no other hedge is better in both risks, on the split that selects. Robust: right on "
    "the clean image and on the attacked one. Known: under attackers who know the defense too, on "
    "fewer images. Concealed: of the defended net's own mistakes, by a false friend who does not "
    "know it."
)


def hedge_grid(result: HedgeResult) -> Grid:
    """A row a hedge, on the split that reports, from the least natural risk on."""
    members = {trial.trial for trial in result.front.members}
    heads = ["defense", "front", "robust, known", "robust", "clean", "concealed"]
    results = sorted(result.front.results, key=lambda r: r.test.natural_risk.value)
    known = [robust(r.aware).value for r in results if r.aware]
    rows: list[list[Cell]] = [[*heads]]
    for one in results:
        aware: Cell = "-" if one.aware is None else told(robust(one.aware))
        if one.aware is not None and len(results) > 1 and robust(one.aware).value == min(known):
            aware = Worst(str(aware))
        counts = one.test
        name = result.describe(one.settings) + _others(one)
        rates = (robust(counts), counts.clean_accuracy, counts.hypocritical_risk)
        front = "yes" if one.trial in members else ""
        rows.append([name, front, aware, *map(told, rates)])
    return grid(rows, "Hedges on the images that report", "the least that one who knows it leaves")


def _others(one: SeedResult) -> str:
    """Settings that are no part of the hedge's description."""
    known = ("eps_d", "steps", "step_size")
    return "".join(f", {path} {value}" for path, value in one.settings.items() if path not in known)


def hedge_figures(result: HedgeResult) -> Iterator[Figure]:
    """Every rate of every hedge, on both splits and under attackers who know it."""
    for one in result.front.results:
        for split in SPLITS:
            yield from _figures(result, one, split, "", one.counts(split))
        if one.aware is not None:
            yield from _figures(result, one, "test", "known/", one.aware)


def _figures(
    result: HedgeResult, one: SeedResult, split: str, at: str, counts: RiskCounts
) -> Iterator[Figure]:
    base = result.config.base
    threat = base.attack.threat
    for name, rate in counts.rates().items():
        yield Figure(
            study=result.config.name,
            net=f"{base.net.label}, {result.describe(one.settings)}",
            weights=base.net.hash,
            trial=one.trial,
            settings="; ".join(f"{path}={value}" for path, value in one.settings.items()),
            seed=one.seed,
            data=base.data.name,
            split=split,
            norm=threat.norm,
            eps=threat.eps,
            figure=f"{at}{name}",
            **measured(rate),
        )
