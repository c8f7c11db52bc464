"""Summary of a finished hedge study, in sentences and in a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fftune.config import HedgeSweep, HedgeTrial, Settings, told_radius, with_settings
from fftune.hedge_study.evaluation import ADAPTIVE
from fftune.hedge_study.showcase_schema import Showcase
from fftune.hedge_study.trial import SHOWCASE, chosen
from fftune.outcomes import Outcomes
from fftune.report.bounds import bound_lines
from fftune.report.sentences import asked
from fftune.report.tables import percent, with_interval
from fftune.risk import Rate, RiskCounts
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import SeedResult


@dataclass(frozen=True, slots=True)
class HedgeResult:
    """Settings of a hedge study, its front, and the chosen hedge on single images."""

    config: HedgeSweep
    front: Front
    showcase: Showcase | None
    folder: Path

    def flips(self, trial: SeedResult) -> dict[str, int]:
        """Count predictions on adversarial images that the defense corrects (FtoT) or breaks."""
        rows = Outcomes.read(self.folder / "trials" / str(trial.trial) / "outcomes.parquet")
        frame = rows.where(goal="adversarial").to_pandas()
        frame = frame[frame["attack"] != ADAPTIVE].astype({"defense": str, "split": str})
        frame["right"] = frame["pred_pert"] == frame["y"]
        bare = frame["defense"] == "none"
        key = ["split", "id"]
        was = frame[bare].set_index(key)["right"]
        defended = frame if bare.all() else frame[~bare]
        now = defended.set_index(key)["right"].reindex(was.index)
        corrected, broken = int((~was & now).sum()), int((was & ~now).sum())
        return {"FtoT": corrected, "TtoF": broken, "FtoT - TtoF": corrected - broken}

    def trial(self, settings: Settings) -> HedgeTrial:
        """Config of a trial: the base with its settings."""
        return with_settings(self.config.base, settings)

    def describe(self, settings: Settings) -> str:
        """Describe the hedge of a trial in a few words."""
        one = self.trial(settings).hedge
        if not one.eps_d:
            return "none"
        radius = told_radius(one.eps_d)
        if not one.steps:
            return f"random {radius}"
        return f"hedge {radius}, K {one.steps}, step {told_radius(one.step_length)}"

    @property
    def undefended(self) -> SeedResult | None:
        """Result of the bare model, if the study has tried it."""
        return next((r for r in self.front.results if not self.trial(r.settings).eps_d), None)

    @property
    def chosen(self) -> SeedResult | None:
        """Result of the chosen hedge; see `trial.chosen`."""
        best = chosen(self.front, self.config.base)
        return best.results[0] if best else None


def read_hedges(config: HedgeSweep, folder: Path) -> HedgeResult:
    """Read a finished study from its folder.

    Raises:
        StudyError: it has no front, or one that cannot be read.
    """
    path = folder / SHOWCASE
    found = Showcase.read(path) if path.exists() else None
    return HedgeResult(config, Front.read(folder / "front.json"), found, folder)


def hedge_headlines(result: HedgeResult) -> list[str]:
    """State the chosen hedge beside the bare model, and always under adaptive attacks too."""
    hedge, bare = result.chosen, result.undefended
    if hedge is None:
        none = "No hedge is chosen here: none was tried, or the attack is one of what is varied."
        return [none, *bound_lines(result.config, result.front)]
    lines = [
        f"Chosen: {result.describe(hedge.settings)}. Against attackers who do not know it, robust "
        f"accuracy is {_in_words(robust(hedge.test))}"
        + (f"; without a defense {_in_words(robust(bare.test))}" if bare else "")
        + f". It is right on {_in_words(hedge.test.clean_accuracy)} of clean images"
        + (f", the bare net on {_in_words(bare.test.clean_accuracy)}." if bare else ".")
    ]
    if hedge.aware:
        knows = f"Attackers who know it, added to those, leave {_in_words(robust(hedge.aware))}"
        if bare and bare.aware:
            knows += f"; on the same images the bare net keeps {_in_words(robust(bare.aware))}"
        lines.append(knows + ".")
    friends = (
        "False friends who do not know it conceal "
        f"{_in_words(hedge.test.hypocritical_risk)} of its mistakes, an inflation "
        f"of its score by {_in_words(hedge.test.inflation)}"
        + (f"; of the bare net's {_in_words(bare.test.hypocritical_risk)}." if bare else ".")
    )
    if hedge.aware:
        friends += f" Those who know it conceal {_in_words(hedge.aware.hypocritical_risk)}."
    return [*lines, friends, *bound_lines(result.config, result.front)]


def hedge_caveats(result: HedgeResult) -> list[str]:
    """List what a reader must know before quoting a number."""
    base = result.config.base
    attack, threat = base.crafting, base.attack.threat
    n = result.front.results[0]
    halves = (
        "Validation images chose, test images report"
        if base.data.validation_size
        else "The data have no validation split that the net has not seen: the test images were "
        "parted by a hash of their ids, one part chose, the other reports"
    )
    chose = (
        "; but the front was selected on the split that reports: optimistic"
        if result.config.selection == "test"
        else ""
    )
    varied = any(d.path.startswith("attack.") for d in result.config.dimensions)
    radius = "as in the table" if varied else told_radius(threat.eps)
    written = base.attack.step_size is not None or not varied
    step = told_radius(attack.step_length) if written else "eps / 2"
    return [
        *asked(result.front),
        f"Net {base.net.label}, {base.data.name}; {threat.norm}, eps {radius}. Crafted once on the "
        f"bare net by {attack.label} with steps of {step}, last iterate: the "
        "protocol of Wu et al. 2021, which knows of no defense and flatters it.",
        "Attackers who know the hedge climb through it (their algorithm 6, the defense's "
        "derivative taken for the identity, noise of their own at every step), on "
        f"{n.aware.total if n.aware else 0} of the images that report; stronger ones are in "
        "`fftune evaluate NET --defense hedge random`.",
        "Robust accuracy is 1 - adversarial risk on D: right on the clean image and on the "
        "attacked one, behind one and the same draw. A, as Wu et al. print it, asks only for the "
        "second. Hypocritical risk is conditional on the defended net's own mistakes.",
        f"{halves}: {n.validation.total:,} and {n.test.total:,}{chose}. Intervals are Wilson's, "
        "95 %; one draw of each defense.",
    ]


def hedge_table(result: HedgeResult) -> pd.DataFrame:
    """One row a hedge, on the split that reports; rates in percent."""
    members = {t.trial for t in result.front.members}
    rows = [
        _row(result, r) | {"front": "*" if r.trial in members else ""} for r in _ordered(result)
    ]
    return pd.DataFrame(rows)


def _ordered(result: HedgeResult) -> Sequence[SeedResult]:
    return sorted(result.front.results, key=lambda r: r.test.natural_risk.value)


def _row(result: HedgeResult, trial: SeedResult) -> dict[str, object]:
    counts, aware, flips = trial.test, trial.aware, result.flips(trial)
    others = {
        path: f"{value:.4g}" if isinstance(value, float) else value
        for path, value in trial.settings.items()
        if path not in ("eps_d", "steps", "step_size")
    }
    return {
        "defense": result.describe(trial.settings),
        **others,
        "clean": percent(counts.clean_accuracy),
        "robust": with_interval(robust(counts)),
        "A": percent(counts.adversarial_accuracy),
        "corrected (FtoT), all images": flips["FtoT"],
        "broken (TtoF), all images": flips["TtoF"],
        "hypocritical risk": with_interval(counts.hypocritical_risk),
        "n-": f"{counts.wrong:,}",
        "inflation": with_interval(counts.inflation),
        "robust, attackers know": with_interval(robust(aware)) if aware else "",
        "hypocritical, friends know": with_interval(aware.hypocritical_risk) if aware else "",
        "n, attackers know": f"{aware.total:,}" if aware else "",
        "seconds": f"{trial.evaluate_seconds:.0f}",
    }


def robust(counts: RiskCounts) -> Rate:
    """Robust accuracy: correct on the clean image and on the attacked one."""
    risk = counts.adversarial_risk_all
    return Rate(risk.n - risk.count, risk.n)


def _in_words(rate: Rate) -> str:
    if not rate.n:
        return "none (n = 0)"
    low, high = rate.interval
    return f"{rate.value:.1%} ({low:.1%} to {high:.1%}, n = {rate.n:,})"
