"""One hedge: the net's answers behind it, on both splits."""

import time
from dataclasses import dataclass

from fftune.config import HedgeSweep, HedgeTrial, Settings, config_hash, to_json, with_settings
from fftune.evaluation.question import remarks_of
from fftune.hedge_study.evaluation import AWARE, check_hedge, evaluate_hedge
from fftune.hedge_study.precomputed import name_of
from fftune.hedge_study.showcase import showcase
from fftune.hedge_study.showcase_schema import Showcase
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts, UnionCounts
from fftune.storage import write_text
from fftune.sweeping.front import SPLITS, Front, SeedResult, TrialResult
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.training_trial import values
from fftune.sweeping.trial_runner import Report, TrialRunner
from fftune.tracking.runs import TrackedRun

SHOWCASE = "exhibit.json"
"""In a study's folder: the chosen hedge on single images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeRunner(TrialRunner):
    """Puts one net behind a hedge with each of the settings."""

    @staticmethod
    def check(config: HedgeSweep) -> None:
        """Asks the net about a few images."""
        check_hedge(config.base)

    @staticmethod
    def conclude(study: StudyDir, front: Front) -> None:
        """Look at single images behind the hedge that was chosen."""
        base: HedgeTrial = study.config.base
        best, path = chosen(front, base), study.path / SHOWCASE
        if best is None:
            return
        config = with_settings(base, best.settings)
        if path.exists() and Showcase.read(path).settings == config_hash(config):
            return
        showcase(config, study.path.parents[1] / "crafted").write(path)

    def measure(
        self, number: int, settings: Settings, config: HedgeTrial, run: TrackedRun, report: Report
    ) -> SeedResult:
        """Judge; the examples were crafted by whichever trial came first."""
        folder = self.study.seed_folder(number, config.seed)
        write_text(folder / "config.json", to_json(config))
        began = time.perf_counter()
        outcomes = evaluate_hedge(config, self.study.path.parents[1] / "crafted")
        outcomes.write(folder / "outcomes.parquet")
        behind = outcomes.where(defense=name_of(config.hedge))
        attack = f"{config.attack.search}-{config.attack.steps}"
        validation, test = (RiskCounts.of(behind, attack=attack, split=s) for s in SPLITS)
        aware = _tried(behind)
        run.metrics(
            values(test)
            | {f"validation/{k}": v for k, v in values(validation).items()}
            | {f"aware/{k}": v for k, v in values(aware).items()}
        )
        for name in ("config.json", "outcomes.parquet"):
            run.file(folder / name)
        return SeedResult(
            trial=number,
            settings=settings,
            seed=config.seed,
            model_hash=next(iter(behind.values("model_hash"))),
            validation=validation,
            test=test,
            train_seconds=0.0,
            evaluate_seconds=time.perf_counter() - began,
            aware=aware,
            remarks=remarks_of(outcomes),
        )


def chosen(front: Front, base: HedgeTrial) -> TrialResult | None:
    """The hedge with the least adversarial risk on the split that selects, then natural risk.

    None where attacks differ, as in a grid over eps: the weakest one would choose.
    """
    tried = [(t, with_settings(base, t.settings)) for t in front.trials]
    if len({one.attack for _, one in tried}) > 1:
        return None
    hedges = [t for t, one in tried if one.eps_d]
    risks = ("adversarial_risk_all", "natural_risk")
    return min(hedges, key=lambda t: t.risks(front.selection, risks), default=None)


def _tried(outcomes: Outcomes) -> RiskCounts:
    """By everything that was tried on the examples which an attacker who knows was let at."""
    few = outcomes.where(split="test").among(outcomes.where(attack=AWARE).values("id"))
    union = UnionCounts.of(few, split="test")
    return RiskCounts(
        total=union.total, wrong=union.wrong, fooled=union.fooled, concealed=union.concealed
    )
