"""Risks, counted from outcome rows. Counts add up; rates are derived; undefined is nan, not 0."""

from dataclasses import dataclass, fields
from math import nan, sqrt
from typing import Any

from fftune.errors import DataError
from fftune.outcomes import CERTIFIED, Outcomes

Z = 1.959963984540054
"""Quantile .975 of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Share `count / n` with its confidence interval."""

    count: int
    n: int

    @property
    def value(self) -> float:
        """Share in [0, 1]; nan if n is 0."""
        return self.count / self.n if self.n else nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval (low, high) of Wilson (1927); (nan, nan) if n is 0."""
        return wilson(self.value, self.n)

    def __str__(self) -> str:
        if not self.n:
            return "undefined (n = 0)"
        low, high = self.interval
        return f"{self.value:.1%} (95 % CI {low:.1%} to {high:.1%}, n = {self.n:,})"


def wilson(share: float, n: float, z: float = Z) -> tuple[float, float]:
    """Interval (low, high) of Wilson (1927) of a share of n, of 95 %; (nan, nan) if n is 0.

    Args:
        z: quantile of the standard normal distribution, for another level.
    """
    if not n:
        return nan, nan
    whole = 2 * (n + z**2)
    centre = (2 * n * share + z**2) / whole
    half = z / whole * sqrt(4 * n * share * (1 - share) + z**2)
    low, high = centre - half, centre + half
    return low if share > 0 else 0.0, high if share < 1 else 1.0


def plain_rate(rate: Rate) -> dict[str, float | int | None]:
    """Convert a rate to plain JSON; an undefined one becomes null, since JSON has no nan."""
    if not rate.n:
        return {"count": 0, "n": 0, "value": None, "low": None, "high": None}
    low, high = rate.interval
    return {"count": rate.count, "n": rate.n, "value": rate.value, "low": low, "high": high}


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCounts:
    """Counts of examples for one adversarial and one hypocritical attack (Tao et al. 2022).

    `fooled` and `concealed` let an attack fall back to the clean image, so that the identities
    of Theorems 4.3 and 4.4 hold exactly. The paper's accuracies under attack use the perturbed
    images alone; `adv_corrected` and `hyp_broken` count where those do the opposite of the
    attack's goal.
    """

    total: int = 0
    """Examples evaluated, |D|."""
    wrong: int = 0
    """Misclassified when clean, |D-|."""
    fooled: int = 0
    """Correct when clean, misclassified under the adversarial attack."""
    concealed: int = 0
    """Misclassified when clean, correct under the hypocritical attack."""
    adv_corrected: int = 0
    """Misclassified when clean, correct under the *adversarial* attack."""
    hyp_broken: int = 0
    """Correct when clean, misclassified under the *hypocritical* attack."""

    @classmethod
    def of(cls, outcomes: Outcomes, *, attack: str, split: str) -> "RiskCounts":
        """Count the rows of one attack, with both goals, on one split.

        Raises:
            DataError: a goal is missing, or the two goals do not cover the same examples.
        """
        frame = outcomes.to_pandas()
        frame = frame[(frame["attack"] == attack) & (frame["split"] == split)]
        adv, hyp = (
            frame[frame["goal"] == goal].reset_index() for goal in ("adversarial", "hypocritical")
        )
        if not len(adv) or not adv["id"].equals(hyp["id"]):
            raise DataError(f"{attack} on {split} needs both goals on the same examples")
        if adv["id"].duplicated().any():
            raise DataError(f"{attack} on {split} has several rows per example: choose one defense")
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
        """Count the rows of one hypocritical attack; the adversarial counts stay 0."""
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
        """Natural risk R_nat: share of clean examples that the model misclassifies."""
        return Rate(self.wrong, self.total)

    @property
    def adversarial_risk(self) -> Rate:
        """Adversarial risk on D+ (def. 4.1): share of correct examples that are fooled."""
        return Rate(self.fooled, self.total - self.wrong)

    @property
    def hypocritical_risk(self) -> Rate:
        """Hypocritical risk on D- (def. 4.2): share of mistakes that are concealed."""
        return Rate(self.concealed, self.wrong)

    @property
    def adversarial_risk_all(self) -> Rate:
        """Adversarial risk on D (Theorem 4.3): misclassified when clean, or fooled."""
        return Rate(self.wrong + self.fooled, self.total)

    @property
    def hypocritical_risk_all(self) -> Rate:
        """Hypocritical risk on D (Theorem 4.4): correct when clean, or concealed."""
        return Rate(self.total - self.wrong + self.concealed, self.total)

    @property
    def clean_accuracy(self) -> Rate:
        """Accuracy on clean examples, column "D" of the papers' tables."""
        return Rate(self.total - self.wrong, self.total)

    @property
    def adversarial_accuracy(self) -> Rate:
        """Accuracy on adversarially perturbed examples, column "A" of the papers' tables."""
        return Rate(self.total - self.wrong - self.fooled + self.adv_corrected, self.total)

    @property
    def hypocritical_accuracy(self) -> Rate:
        """Accuracy on hypocritically perturbed examples, column "F" of the papers' tables."""
        return Rate(self.total - self.wrong - self.hyp_broken + self.concealed, self.total)

    @property
    def inflation(self) -> Rate:
        """Inflation of the score by a false friend: natural risk x hypocritical risk.

        The share of D that is concealed, which tells how deeply and how often a net errs at once:
        one that makes more and worse mistakes has a smaller hypocritical risk on D-. It is F - D
        where the friend leaves right answers alone; last iterates also break `hyp_broken` of them.
        """
        return Rate(self.concealed, self.total)

    @property
    def violations(self) -> int:
        """Number of perturbed examples that do the opposite of their attack's goal."""
        return self.adv_corrected + self.hyp_broken

    def rates(self) -> dict[str, Rate]:
        """Map each name in `RATES` to its rate."""
        return {name: getattr(self, name) for name in RATES}


RATES = tuple(name for name, value in vars(RiskCounts).items() if isinstance(value, property))
RATES = tuple(name for name in RATES if name != "violations")
"""Names of the rates of `RiskCounts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnionCounts:
    """Counts of examples under the union of all attacks, the clean image included.

    For unions, theorems 4.3 to 4.5 and lemma C.1 of Tao et al. 2022 hold exactly. For the
    perturbed images of a single attack they need not, and `violations` counts how often.
    """

    total: int
    """Examples that every attack has a row for."""
    wrong: int
    """Misclassified when clean."""
    fooled: int
    """Correct when clean, and some attack makes the model misclassify them."""
    concealed: int
    """Misclassified when clean, and some attack makes the model classify them correctly."""
    changed_wrong: int
    """Misclassified when clean, and some attack changes the prediction (to any class)."""
    ever_wrong: int
    """Misclassified when clean or under some attack."""
    ever_right: int
    """Correct when clean or under some attack."""
    changed: int
    """Examples whose prediction some attack changes."""
    violations: int
    """Rows in which an adversarial attack corrects an example or a hypocritical one breaks it."""

    @classmethod
    def of(cls, outcomes: Outcomes, *, split: str) -> "UnionCounts":
        """Count all rows of a split, over all attacks and goals; certified bounds are none.

        An example that some attack (other than the canary) has no row for is left out, as it
        would count as one that withstood the attack; so lost blocks make `total` smaller.

        Raises:
            DataError: there are no rows, or an example has several clean predictions.
        """
        frame = outcomes.to_pandas()
        frame = frame[(frame["split"] == split) & (frame["protocol"] != CERTIFIED)]
        if not len(frame):
            raise DataError(f"there are no outcomes on {split!r}")
        frame = frame[frame["id"].isin(tried_by_all(frame))].copy()
        frame["right"] = frame["pred_pert"] == frame["y"]
        frame["wrong"] = ~frame["right"]
        frame["clean"] = clean_prediction(frame)
        frame["right_clean"] = frame["clean"] == frame["y"]
        frame["changed"] = frame["pred_pert"] != frame["clean"]
        each = frame.groupby("id")
        if (each["clean"].nunique() > 1).any():
            raise DataError(f"outcomes on {split!r} are of more than one model")
        right = each["right_clean"].first()
        ever = each[["right", "wrong", "changed"]].any()
        adversarial, hypocritical = (frame["goal"] == g for g in ("adversarial", "hypocritical"))
        corrected = ~frame["right_clean"] & frame["right"]
        broken = frame["right_clean"] & frame["wrong"]
        return cls(
            total=len(right),
            wrong=int((~right).sum()),
            fooled=int((right & ever["wrong"]).sum()),
            concealed=int((~right & ever["right"]).sum()),
            changed_wrong=int((~right & ever["changed"]).sum()),
            ever_wrong=int((~right | ever["wrong"]).sum()),
            ever_right=int((right | ever["right"]).sum()),
            changed=int(ever["changed"].sum()),
            violations=int((adversarial & corrected | hypocritical & broken).sum()),
        )

    @property
    def adversarial_risk(self) -> Rate:
        """Adversarial risk on D+: share of correct examples that some attack fools."""
        return Rate(self.fooled, self.total - self.wrong)

    @property
    def hypocritical_risk(self) -> Rate:
        """Hypocritical risk on D-: share of misclassified examples that some attack conceals."""
        return Rate(self.concealed, self.wrong)

    @property
    def inflation(self) -> Rate:
        """Inflation of the score, F - D: natural risk x hypocritical risk, exact for unions."""
        return Rate(self.concealed, self.total)

    @property
    def stability_risk_all(self) -> Rate:
        """Stability risk on D: share of predictions that some attack changes (Theorem 4.5)."""
        return Rate(self.changed, self.total)

    def broken_identities(self) -> tuple[str, ...]:
        """Name the identities of Tao et al. 2022 that fail; unless rows are corrupt, none can."""
        identities = {
            "theorem 4.3": self.ever_wrong == self.wrong + self.fooled,
            "theorem 4.4": self.ever_right == self.total - (self.wrong - self.concealed),
            "theorem 4.5": self.changed == self.fooled + self.changed_wrong,
            "lemma C.1": self.concealed <= self.changed_wrong,
        }
        return tuple(name for name, holds in identities.items() if not holds)


def clean_prediction(frame: Any) -> Any:
    """Predictions of clean images by the evaluated model, its defense included.

    Args:
        frame: a pandas table of rows.

    Returns:
        A pandas column, which all counts here use.

    Raises:
        DataError: the rows are of schema 1, which does not have these predictions.
    """
    clean = frame["pred_clean_defended"]
    if clean.isna().any():
        raise DataError(
            "rows of schema 1 lack the defended model's predictions of clean images: "
            "evaluate the model again"
        )
    return clean


def tried_by_all(frame: Any) -> list[int]:
    """List the ids that every attack has a row for; the canary, which takes a few, apart.

    Args:
        frame: a pandas table of rows.
    """
    frame = frame[frame["attack"] != "canary"]
    # The target of a hypocritical attack is the example's own label: it tells no attacks apart.
    target = frame["target"] * (frame["goal"] == "targeted")
    attack = frame.groupby(["attack", "goal", target], observed=True).ngroup()
    each = attack.groupby(frame["id"]).nunique()
    tried: list[int] = each.index[each == attack.nunique()].tolist()
    return tried
