"""One trial of a hedge study: predictions of one model behind one hedge, on both splits."""

import time
from dataclasses import replace

from fftune.config import HedgeSweep, HedgeTrial, to_json, with_settings
from fftune.evaluation.question import remarks_of
from fftune.hedge_study.evaluation import ADAPTIVE, check_hedge, evaluate_hedge, pinned
from fftune.hedge_study.precomputed import name_of
from fftune.hedge_study.showcase import settings_hash, showcase
from fftune.hedge_study.showcase_schema import Showcase
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts, UnionCounts
from fftune.storage import write_text
from fftune.sweeping.front import Front
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_kind import SeedRun
from fftune.sweeping.training_trial import rates
from fftune.sweeping.trial_results import SPLITS, SeedResult, TrialResult

SHOWCASE = "exhibit.json"
"""File in a study's folder: the chosen hedge on single images."""


def check_study(config: HedgeSweep) -> None:
    """Run the model on a few images; see `check_hedge`."""
    check_hedge(config.base)


def pin_weights(config: HedgeSweep) -> HedgeSweep:
    """Add the hash of the model's weights to the settings; see `pinned`."""
    return replace(config, base=pinned(config.base))


def evaluate_trial(run: SeedRun) -> SeedResult:
    """Evaluate one hedge on examples that the first trial of all perturbed.

    The folder then holds `config.json` and `outcomes.parquet`.
    """
    config: HedgeTrial = run.config
    write_text(run.folder / "config.json", to_json(config))
    began = time.perf_counter()
    outcomes = evaluate_hedge(config, run.study.path.parents[1] / "crafted")
    outcomes.write(run.folder / "outcomes.parquet")
    defended = outcomes.where(defense=name_of(config.hedge))
    attack = config.attack.label
    validation, test = (RiskCounts.of(defended, attack=attack, split=s) for s in SPLITS)
    aware = _under_all_attacks(defended)
    run.tracked.metrics(
        rates(test)
        | {f"validation/{name}": value for name, value in rates(validation).items()}
        | {f"aware/{name}": value for name, value in rates(aware).items()}
    )
    for name in ("config.json", "outcomes.parquet"):
        run.tracked.file(run.folder / name)
    return SeedResult(
        trial=run.trial,
        settings=run.settings,
        seed=config.seed,
        model_hash=next(iter(defended.values("model_hash"))),
        validation=validation,
        test=test,
        train_seconds=0.0,
        evaluate_seconds=time.perf_counter() - began,
        aware=aware,
        remarks=remarks_of(outcomes),
    )


def write_showcase(study: StudyDir, front: Front) -> None:
    """Write the chosen hedge's effect on single images into the study's folder."""
    assert isinstance(study.config, HedgeSweep)
    base: HedgeTrial = study.config.base
    best, path = chosen(front, base), study.path / SHOWCASE
    if best is None:
        return
    config, shown = with_settings(base, best.settings), study.config.showcase
    if path.exists() and Showcase.read(path).settings == settings_hash(config, shown):
        return
    showcase(config, shown, study.path.parents[1] / "crafted").write(path)


def chosen(front: Front, base: HedgeTrial) -> TrialResult | None:
    """Choose the hedge with the least adversarial risk on the selection split, then natural risk.

    Returns:
        None where trials differ in the attack, as in a grid over eps: the weakest would choose.
    """
    configs = [(t, with_settings(base, t.settings)) for t in front.trials]
    if len({config.attack for _, config in configs}) > 1:
        return None
    hedges = [t for t, config in configs if config.eps_d]
    risks = ("adversarial_risk_all", "natural_risk")
    return min(hedges, key=lambda t: t.risks(front.selection, risks), default=None)


def _under_all_attacks(outcomes: Outcomes) -> RiskCounts:
    """Count over the union of all attacks, on the examples that the adaptive ones attack."""
    few = outcomes.where(split="test").among(outcomes.where(attack=ADAPTIVE).values("id"))
    union = UnionCounts.of(few, split="test")
    return RiskCounts(
        total=union.total, wrong=union.wrong, fooled=union.fooled, concealed=union.concealed
    )
