"""Page of fronts for a terminal: the models of each study, what the search cost, the verdicts."""

from collections.abc import Iterator, Sequence
from math import isnan, nan

import pandas as pd

from fftune.comparison import Estimate
from fftune.report.bounds import keeps
from fftune.report.gaps import Gap
from fftune.report.result_page import Figure, ResultPage, measured, told
from fftune.report.results import StudyResult
from fftune.report.sentences import caveats, headlines
from fftune.report.tables import hypervolumes
from fftune.report.terminal import Block, Cell, Grid, Worst, grid
from fftune.sweeping.trial_results import RISKS, SPLITS, SeedResult, TrialResult

LEGEND = (
    "front: no other model is better in both risks, on the split that selects. Natural risk: "
    "share of clean images that the model gets wrong, its mistakes; hypocritical risk: share of "
    "its mistakes that a false friend makes look right; inflation: natural x hypocritical risk, "
    "what that adds to its score."
)
SEARCH = (
    "hypervolume: area between a front and the reference, where both risks are 1; larger is "
    "better. crafted: images that training perturbed; to 95 %: until the front so far had 95 % of "
    "the final area. not monotone: neighbours in lambda whose hypocritical risk does not fall."
)


def front_page(
    studies: Sequence[StudyResult],
    between: Sequence[Gap],
    places: Sequence[str],
    beside: Sequence[Block] = (),
) -> ResultPage:
    """Lay out finished studies.

    Args:
        places: lines that say where pages and fronts are.
        beside: tables of other nets than the last of each training.
    """
    several = len(studies) > 1
    blocks: list[Block] = [*caveats(studies), ""]
    for study in studies:
        blocks += [_models(study, several=several)]
    blocks += [LEGEND, "", frame_grid(hypervolumes(studies), "Search"), SEARCH, ""]
    blocks += [*beside, ""] if beside else []
    bracketed = [line for study in studies for line in _brackets(study, several=several)]
    blocks += [*bracketed, ""] if bracketed else []
    blocks += [*places, "", *map(str, between), *headlines(studies)]
    return ResultPage(
        verb="report",
        blocks=tuple(blocks),
        figures=tuple(figure for study in studies for figure in front_figures(study)),
        more={"studies": [study.config.name for study in studies]},
    )


def _brackets(study: StudyResult, *, several: bool) -> Iterator[str]:
    """A line for each risk of each model that has both attacks and a certified bound."""
    for result in study.front.results:
        name = f"{study.config.name}, " if several else ""
        seed = f", seed {result.seed}" if study.config.seeds > 1 else ""
        for one in result.brackets:
            yield f"{name}trial {result.trial}{seed}, {one}"


def frame_grid(frame: "pd.DataFrame", title: str = "") -> Grid:
    """A grid of a table of cells."""
    rows: list[list[Cell]] = [[str(head) for head in frame.columns]]
    rows += [[str(cell) for cell in row] for row in frame.itertuples(index=False)]
    return grid(rows, title)


def front_figures(study: StudyResult) -> Iterator[Figure]:
    """Every rate of every model on both splits, and means where there are several seeds."""
    for trial in study.front.trials:
        for result in trial.results:
            for split in SPLITS:
                found = dict(result.counts(split).rates())
                for bracket in result.brackets if split == "test" else ():
                    found |= bracket.rates()
                for name, rate in found.items():
                    yield _figure(study, trial, split, name, result, **measured(rate))
        if len(trial.results) > 1:
            for split in SPLITS:
                for risk in RISKS:
                    one = trial.estimate(split, risk)
                    ends = {"low": _known(one.low), "high": _known(one.high)}
                    ends |= {"value": _known(one.mean)}
                    yield _figure(study, trial, split, f"mean/{risk}", None, **ends)


def _figure(
    study: StudyResult,
    trial: TrialResult,
    split: str,
    name: str,
    result: SeedResult | None = None,
    **numbers: float | int | None,
) -> Figure:
    others = (f"{path}={value}" for path, value in trial.settings.items() if path != "lam")
    fields = {"value": None} | numbers
    return Figure(
        study=study.config.name,
        net=f"trial {trial.trial}",
        weights="" if result is None else result.model_hash,
        trial=trial.trial,
        lam=trial.lam,
        settings="; ".join(others),
        seed=None if result is None else result.seed,
        data=study.config.base.data.name,
        split=split,
        norm=study.threat.norm,
        eps=study.threat.eps,
        battery=str(study.config.battery.name),
        figure=name,
        **fields,  # type: ignore[arg-type]
    )


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _models(study: StudyResult, *, several: bool) -> Grid:
    """A row a model, or of several seeds a row a trial with its means."""
    trials = study.front.trials
    members = {member.trial for member in study.front.members}
    others = [path for path in trials[0].settings if path != "lam"]
    lam = [] if trials[0].lam is None else ["lambda"]
    seeds = ["seeds"] if any(len(trial.results) > 1 for trial in trials) else []
    bound = ["bound"] if study.config.where else []
    names = [path.rpartition(".")[2] for path in others]
    rows: list[list[Cell]] = [
        [
            *("trial", *lam, *names, *seeds, "front", *bound),
            *("natural risk", "hypocritical risk", "inflation"),
        ]
    ]
    found = [_risks(trial) for trial in trials]
    worst = [
        max((value for value, _ in column if not isnan(value)), default=nan)
        for column in zip(*found, strict=True)
    ]
    for trial, risks in zip(trials, found, strict=True):
        row: list[Cell] = [str(trial.trial)]
        row += [f"{trial.lam:.4g}"] if lam else []
        row += [_printed(trial.settings[path]) for path in others]
        row += [str(len(trial.results))] if seeds else []
        row.append("yes" if trial.trial in members else "")
        row += ["kept" if keeps(study.config, trial) else ""] if bound else []
        for (value, text), most in zip(risks, worst, strict=True):
            row.append(Worst(text) if value == most and len(trials) > 1 else text)
        rows.append(row)
    title = f"{study.config.name}: " if several else ""
    what = "means over seeds" if seeds else "models"
    title = f"{title}{what} on test images"
    return grid(rows, title, "the worst of a column", labels=1 + len(lam) + len(names))


def _risks(trial: TrialResult) -> list[tuple[float, str]]:
    """Both risks and the inflation of a trial on the test split: value and text."""
    if len(trial.results) == 1:
        counts = trial.results[0].test
        rates = (counts.natural_risk, counts.hypocritical_risk, counts.inflation)
        return [(rate.value, told(rate)) for rate in rates]
    each = [(one.mean, told_estimate(one)) for one in (trial.estimate("test", r) for r in RISKS)]
    inflation = Estimate.of([result.test.inflation for result in trial.results])
    return [*each, (inflation.mean, told_estimate(inflation))]


def told_estimate(found: Estimate) -> str:
    """Format a mean over seeds: its two-level interval, else its deviation, in percent."""
    if isnan(found.mean):
        return "undefined"
    if isnan(found.low):
        spread = "" if isnan(found.sd) else f" (sd {100 * found.sd:.1f})"
        return f"{100 * found.mean:.1f} %{spread}"
    return f"{100 * found.mean:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _printed(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
