"""From rows to counts to risks. Counts add up; rates are derived; undefined is nan, never 0."""

from dataclasses import dataclass, fields
from math import nan
from typing import Any

from scipy.stats import binomtest

from fftune.errors import DataError
from fftune.outcomes import Outcomes


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `n`, as a fraction with its uncertainty."""

    count: int
    n: int

    @property
    def value(self) -> float:
        """Count / n; nan where there is nothing to count."""
        return self.count / self.n if self.n else nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson (1927)."""
        if not self.n:
            return nan, nan
        interval = binomtest(self.count, self.n).proportion_ci(0.95, method="wilson")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        if not self.n:
            return "undefined (n = 0)"
        low, high = self.interval
        return f"{self.value:.1%} (95 % CI {low:.1%} to {high:.1%}, n = {self.n:,})"


def plain_rate(rate: Rate) -> dict[str, float | int | None]:
    """A rate as JSON keeps it; an undefined one is null, as JSON has no nan."""
    if not rate.n:
        return {"count": 0, "n": 0, "value": None, "low": None, "high": None}
    low, high = rate.interval
    return {"count": rate.count, "n": rate.n, "value": rate.value, "low": low, "high": high}


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCounts:
    """Of `total` examples: how many were wrong, and what an adversary and a friend changed.

    `fooled` and `concealed` count what either could do to an example, so that the identities
    of Theorems 4.3 and 4.4 hold exactly. The papers' columns A and F are the last iterates'
    predictions on all of D; `adv_corrected` and `hyp_broken` count where these
    betray their purpose.
    """

    total: int = 0
    wrong: int = 0
    fooled: int = 0  # right when clean, wrong under the adversary
    concealed: int = 0  # wrong when clean, right under the false friend
    adv_corrected: int = 0  # wrong when clean, right under the *adversary*
    hyp_broken: int = 0  # right when clean, wrong under the *false friend*

    @classmethod
    def of(cls, outcomes: Outcomes, *, attack: str, split: str) -> "RiskCounts":
        """Count one attack's rows for both goals on one split.

        Raises:
            DataError: a goal is missing, or the goals speak of different examples.
        """
        one = outcomes.where(attack=attack, split=split)
        adv, hyp = (one.where(goal=goal).to_pandas() for goal in ("adversarial", "hypocritical"))
        if not len(adv) or adv["id"].tolist() != hyp["id"].tolist():
            raise DataError(f"{attack} on {split} needs both goals on the same examples")
        if adv["id"].duplicated().any():
            raise DataError(f"{attack} on {split} has several rows an example: choose one defense")
        right = clean_prediction(adv) == adv["y"]
        right_adv = adv["pred_pert"] == adv["y"]
        right_hyp = hyp["pred_pert"] == hyp["y"]
        return cls(
            total=len(adv),
            wrong=int((~right).sum()),
            fooled=int((right & ~right_adv).sum()),
            concealed=int((~right & right_hyp).sum()),
            adv_corrected=int((~right & right_adv).sum()),
            hyp_broken=int((right & ~right_hyp).sum()),
        )

    @classmethod
    def of_friend(cls, outcomes: Outcomes) -> "RiskCounts":
        """Count rows of one "hypocritical" attack alone; what an adversary could do stays 0."""
        frame = outcomes.where(goal="hypocritical").to_pandas()
        wrong, right_hyp = clean_prediction(frame) != frame["y"], frame["pred_pert"] == frame["y"]
        return cls(
            total=len(frame),
            wrong=int(wrong.sum()),
            concealed=int((wrong & right_hyp).sum()),
            hyp_broken=int((~wrong & ~right_hyp).sum()),
        )

    def __add__(self, other: "RiskCounts") -> "RiskCounts":
        return RiskCounts(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    @property
    def natural_risk(self) -> Rate:
        """R_nat: the share of clean examples that the model gets wrong."""
        return Rate(self.wrong, self.total)

    @property
    def adversarial_risk(self) -> Rate:
        """R_adv on D+ (def. 4.1): right answers that an adversary can turn."""
        return Rate(self.fooled, self.total - self.wrong)

    @property
    def hypocritical_risk(self) -> Rate:
        """R_hyp on D- (def. 4.2): mistakes that a friend can hide. Conditional on D-."""
        return Rate(self.concealed, self.wrong)

    @property
    def adversarial_risk_all(self) -> Rate:
        """R_adv on D: wrong already, or made wrong (Theorem 4.3)."""
        return Rate(self.wrong + self.fooled, self.total)

    @property
    def hypocritical_risk_all(self) -> Rate:
        """R_hyp on D: right already, or made right (Theorem 4.4)."""
        return Rate(self.total - self.wrong + self.concealed, self.total)

    @property
    def clean_accuracy(self) -> Rate:
        """The papers' column D."""
        return Rate(self.total - self.wrong, self.total)

    @property
    def adversarial_accuracy(self) -> Rate:
        """The papers' column A: right after the adversary's last iterate."""
        return Rate(self.total - self.wrong - self.fooled + self.adv_corrected, self.total)

    @property
    def hypocritical_accuracy(self) -> Rate:
        """The papers' column F: right after the false friend's last iterate."""
        return Rate(self.total - self.wrong - self.hyp_broken + self.concealed, self.total)

    @property
    def violations(self) -> int:
        """Last iterates that did the opposite of their goal; the identities hold without them."""
        return self.adv_corrected + self.hyp_broken

    def rates(self) -> dict[str, Rate]:
        """Every rate by its name."""
        return {name: getattr(self, name) for name in RATES}


RATES = tuple(name for name, value in vars(RiskCounts).items() if isinstance(value, property))
RATES = tuple(name for name in RATES if name != "violations")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnionCounts:
    """What all attacks together could do to each of `total` examples, x itself included.

    On unions theorems 4.3 to 4.5 and lemma C.1 (Tao et al. 2022) are facts about integers; on
    raw last iterates they are not, and `violations` says how often.
    """

    total: int
    wrong: int
    fooled: int  # right when clean, wrong at some point that was tried
    concealed: int  # wrong when clean, right at some point that was tried
    changed_wrong: int  # wrong when clean, predicted otherwise, rightly or not, at some point
    ever_wrong: int  # wrong at some point, x itself included
    ever_right: int
    changed: int  # predicted otherwise than x at some point
    violations: int  # rows in which an adversary made it right, or a friend made it wrong

    @classmethod
    def of(cls, outcomes: Outcomes, *, split: str) -> "UnionCounts":
        """Count all rows of a split, whatever their attacks and goals.

        An example is left out where an attack, the canary excepted, has no row of it: it would
        count as one that had survived. So `total` is smaller where blocks were lost.

        Raises:
            DataError: there are no rows, or an example has several clean predictions.
        """
        frame = outcomes.where(split=split).to_pandas()
        if not len(frame):
            raise DataError(f"there are no outcomes on {split!r}")
        frame = frame[frame["id"].isin(_tried_by_all(frame))].copy()
        frame["right"] = frame["pred_pert"] == frame["y"]
        frame["wrong"] = ~frame["right"]
        frame["clean"] = clean_prediction(frame)
        frame["right_clean"] = frame["clean"] == frame["y"]
        frame["changed"] = frame["pred_pert"] != frame["clean"]
        each = frame.groupby("id")
        if (each["clean"].nunique() > 1).any():
            raise DataError(f"outcomes on {split!r} are of more than one net")
        right = each["right_clean"].first()
        ever = each[["right", "wrong", "changed"]].any()
        adversary, friend = (frame["goal"] == g for g in ("adversarial", "hypocritical"))
        mended, hyp_broken = (
            ~frame["right_clean"] & frame["right"],
            frame["right_clean"] & frame["wrong"],
        )
        return cls(
            total=len(right),
            wrong=int((~right).sum()),
            fooled=int((right & ever["wrong"]).sum()),
            concealed=int((~right & ever["right"]).sum()),
            changed_wrong=int((~right & ever["changed"]).sum()),
            ever_wrong=int((~right | ever["wrong"]).sum()),
            ever_right=int((right | ever["right"]).sum()),
            changed=int(ever["changed"].sum()),
            violations=int((adversary & mended | friend & hyp_broken).sum()),
        )

    @property
    def adversarial_risk(self) -> Rate:
        """R_adv on D+."""
        return Rate(self.fooled, self.total - self.wrong)

    @property
    def hypocritical_risk(self) -> Rate:
        """R_hyp on D-."""
        return Rate(self.concealed, self.wrong)

    @property
    def stability_risk_all(self) -> Rate:
        """R_sta on D: the share of predictions that some attack changed."""
        return Rate(self.changed, self.total)

    def broken_identities(self) -> tuple[str, ...]:
        """Which of the paper's identities do not hold; none can fail unless rows are corrupt."""
        identities = {
            "theorem 4.3": self.ever_wrong == self.wrong + self.fooled,
            "theorem 4.4": self.ever_right == self.total - (self.wrong - self.concealed),
            "theorem 4.5": self.changed == self.fooled + self.changed_wrong,
            "lemma C.1": self.concealed <= self.changed_wrong,
        }
        return tuple(name for name, holds in identities.items() if not holds)


def clean_prediction(frame: Any) -> Any:
    """What the judged net, its defence included, says of the clean image: what every count uses.

    Args:
        frame: a pandas table of rows.

    Raises:
        DataError: the rows are of schema 1, which does not tell.
    """
    clean = frame["pred_clean_defended"]
    if clean.isna().any():
        raise DataError(
            "rows of schema 1 do not say what the defended net answers to clean images: "
            "evaluate it again"
        )
    return clean


def _tried_by_all(frame: Any) -> list[int]:
    """The ids of which each attack has a row; the canary tries but a few.

    Args:
        frame: a pandas table of rows.
    """
    frame = frame[frame["attack"] != "canary"]
    attacks = frame[["attack", "goal", "target"]].astype(str)
    # A friend's target is the example's own label.
    attacks.loc[attacks["goal"] != "targeted", "target"] = ""
    attack = attacks.groupby(list(attacks)).ngroup()
    each = attack.groupby(frame["id"]).nunique()
    tried: list[int] = each.index[each == attack.nunique()].tolist()
    return tried
