"""Gate of a release: is a net as good as the one before it, on the same images and attacks?

Non-inferiority of each measure, by the 95 % interval of its gain from the first net to the second:
**pass** if all of it is above minus the margin, **fail** if not, and all of the interval is below
0, else **inconclusive**. So a net that is shown to be worse by less than the margin passes, and one
that cannot be told from the other passes only if a loss of the margin is excluded.

All measures must pass. Each has its interval at 95 % for that: a gate that should not pass has some
measure that lost the margin or more, and that one passes with at most 2.5 % (intersection-union,
Berger 1982). One fail fails the gate, so that of m measures each is tested for it by an interval at
1 - .05 / m (Bonferroni): a net that is nowhere worse fails with at most 2.5 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any, get_args

from fftune.auditing.paired_risks import Answers, PairedRisk
from fftune.config import GateMeasure, require, told_radius
from fftune.config.validation import require_word
from fftune.errors import DataError
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.report.defended_rows import undefended
from fftune.risk import clean_prediction, tried_by_all
from fftune.verdict import EXIT_CODES, Outcome, worst

MEASURES: tuple[GateMeasure, ...] = get_args(GateMeasure)
ALPHA = 0.05
"""One minus the level of the two-sided intervals."""
NEEDED: dict[GateMeasure, str] = {
    "robust_accuracy": "adversarial",
    "adversarial_risk": "adversarial",
    "hypocritical_risk": "hypocritical",
}
"""Goal of the attacks that a measure counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFinding:
    """One measure of both nets, and its verdict."""

    measure: GateMeasure
    margin: float
    """Loss, a difference of shares, that is still accepted; in [0, 1)."""
    pair: PairedRisk
    measures: int
    """Measures of the gate."""

    @property
    def outcome(self) -> Outcome:
        """Verdict on this measure."""
        low, _ = self.pair.interval(ALPHA)
        _, high = self.pair.interval(ALPHA / self.measures)
        if low > -self.margin:
            return "pass"
        return "fail" if high < 0 else "inconclusive"

    @property
    def sentence(self) -> str:
        """Finding in one sentence."""
        pair = self.pair
        if isnan(pair.gain):
            return f"{self.measure} is undefined: one net has no example that it is a share of"
        was, now = (100 * net.rate.value for net in (pair.before, pair.after))
        low, high = (100 * end for end in pair.interval(ALPHA))
        better = "a lower one is better" if pair.lower_is_better else "a higher one is better"
        return (
            f"{self.measure} was {was:.1f} % and is {now:.1f} % ({better}): a gain of "
            f"{100 * pair.gain:+.2f} points (95 % CI {low:+.2f} to {high:+.2f}), {self._because}"
        )

    @property
    def _because(self) -> str:
        lost = "any loss" if not self.margin else f"a loss of {100 * self.margin:g} points"
        return {
            "pass": f"which excludes {lost}",
            "fail": "which is a loss",
            "inconclusive": f"which shows no loss, and does not exclude {lost}",
        }[self.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Comparison of two nets on the same images under the same attacks."""

    before: str
    after: str
    about: str
    """Images and ball in words."""
    n: int
    """Examples of D."""
    findings: tuple[GateFinding, ...]

    @property
    def outcome(self) -> Outcome:
        """Verdict: the gravest of all measures."""
        return worst(one.outcome for one in self.findings)

    @property
    def exit_code(self) -> int:
        """Exit code of a command whose verdict this is."""
        return EXIT_CODES[self.outcome]


def gate(
    before: Outcomes,
    after: Outcomes,
    margin: float | Mapping[GateMeasure, float],
    *,
    names: tuple[str, str] = ("before", "after"),
) -> Gate:
    """Compare two nets by their rows.

    Args:
        before, after: rows of one net each, of the same attacks on the same examples, as those of
            `fftune.evaluate(...).outcomes`; the bare nets are compared, whatever defense there are
            rows of.
        margin: accepted loss, a difference of shares in [0, 1), of every measure; or those of the
            measures that are to be compared.
        names: names of the nets.

    Raises:
        ConfigError: there is no measure, or a margin is out of range.
        DataError: the rows are not of one net each, not of the same images, examples, ball or
            attacks, or have no attack that a measure counts.
    """
    margins = margin if isinstance(margin, Mapping) else dict.fromkeys(MEASURES, margin)
    require("measure", bool(margins), "at least one", [*margins])
    for measure, loss in margins.items():
        require_word("measure", measure, GateMeasure)
        check_margin(loss)
    one, two = _of_one_net(before, names[0]), _of_one_net(after, names[1])
    _refuse_other_terms(one, two, names)
    goals = one.values("goal")
    for measure in margins:
        if (goal := NEEDED.get(measure, "")) and goal not in goals:
            raise DataError(
                f"{measure} cannot be told from rows without a {goal} attack: choose another "
                "battery, as risks, or other measures"
            )
    was, now = _by_id(one), _by_id(two)
    _refuse_other_examples(was, now, names)
    pairs = _pairs(was, now)
    return Gate(
        before=names[0],
        after=names[1],
        about=_about(one),
        n=len(was),
        findings=tuple(
            GateFinding(measure=measure, margin=loss, pair=pairs[measure], measures=len(margins))
            for measure, loss in margins.items()
        ),
    )


def check_margin(margin: float) -> None:
    """Refuse a loss that cannot be accepted.

    Raises:
        ConfigError: it is not in [0, 1).
    """
    require("margin", 0 <= margin < 1, "a share in [0, 1), as in .01", margin)


def _of_one_net(rows: Outcomes, name: str) -> Outcomes:
    """Rows of the bare net, those of certified bounds apart."""
    hashes = rows.values("model_hash")
    if len(hashes) != 1:
        raise DataError(f"rows of {name!r} must be of one net, got {len(hashes)}")
    bare = undefended(rows)
    kept = Outcomes.of(
        bare.where(protocol=protocol).table for protocol in bare.values("protocol") - {CERTIFIED}
    )
    splits = kept.values("split")
    if len(splits) != 1:
        raise DataError(f"rows of {name!r} must be of one split, got {len(splits)}")
    return kept


def _refuse_other_terms(one: Outcomes, two: Outcomes, names: tuple[str, str]) -> None:
    for term, terms in (
        ("images", [rows.values("dataset_hash") for rows in (one, two)]),
        ("split", [rows.values("split") for rows in (one, two)]),
        ("norm", [rows.values("norm") for rows in (one, two)]),
        ("eps", [{told_radius(eps) for eps in rows.values("eps")} for rows in (one, two)]),
        ("attacks", [_attacks(rows) for rows in (one, two)]),
    ):
        was, now = terms
        if was != now:
            ours, theirs = (", ".join(sorted(a - b)) or "none" for a, b in ((was, now), (now, was)))
            raise DataError(
                f"{names[0]!r} and {names[1]!r} differ in {term}: {ours} and {theirs}; a gate "
                "compares nets on the same images and attacks"
            )


def _attacks(rows: Outcomes) -> set[str]:
    """Attacks with their goals and settings, as far as all nets have them."""
    columns = ["attack", "goal", "tier", "config_hash"]
    frame = rows.to_pandas()
    frame = frame.loc[frame["attack"] != "canary", columns].astype(str).drop_duplicates()
    return {
        f"{row.attack} {row.goal} ({row.tier}, {row.config_hash})" for row in frame.itertuples()
    }


def _by_id(rows: Outcomes) -> Any:
    """Table by id: label, right when clean, ever right and ever wrong, the clean image included."""
    frame = rows.to_pandas()
    frame = frame[frame["id"].isin(tried_by_all(frame))].copy()
    frame["clean"] = clean_prediction(frame) == frame["y"]
    hit = frame["pred_pert"] == frame["y"]
    frame["ever_right"], frame["ever_wrong"] = hit | frame["clean"], ~(hit & frame["clean"])
    each = frame.groupby("id")
    table = each[["ever_right", "ever_wrong"]].any()
    return table.assign(right=each["clean"].first(), y=each["y"].first())


def _refuse_other_examples(one: Any, two: Any, names: tuple[str, str]) -> None:
    if not len(one) or not one.index.equals(two.index):
        shared = len(one.index.intersection(two.index))
        raise DataError(
            f"{names[0]!r} and {names[1]!r} were attacked on other examples ({len(one):,} and "
            f"{len(two):,}, {shared:,} of them the same): a gate needs a battery that attacks all "
            "images, as risks, and the same --battery.examples for both"
        )
    if not one["y"].equals(two["y"]):
        raise DataError(f"{names[0]!r} and {names[1]!r} have other labels for the same images")


def _pairs(one: Any, two: Any) -> dict[GateMeasure, PairedRisk]:
    """Measures of both nets, from their tables by id."""

    def pair(lower: bool, *, of: Any, hit: Any) -> PairedRisk:
        before, after = (
            Answers(of=of(t).to_numpy(bool), hit=hit(t).to_numpy(bool)) for t in (one, two)
        )
        return PairedRisk(before=before, after=after, lower_is_better=lower)

    return {
        "accuracy": pair(False, of=lambda t: t["right"] | True, hit=lambda t: t["right"]),
        "robust_accuracy": pair(
            False, of=lambda t: t["right"] | True, hit=lambda t: ~t["ever_wrong"]
        ),
        "adversarial_risk": pair(True, of=lambda t: t["right"], hit=lambda t: t["ever_wrong"]),
        "hypocritical_risk": pair(True, of=lambda t: ~t["right"], hit=lambda t: t["ever_right"]),
    }


def _about(rows: Outcomes) -> str:
    data = {str(q.get("data", "")) for q in rows.questions} - {""}
    (split,) = rows.values("split")
    balls = {f"{n}, eps {told_radius(e)}" for n in rows.values("norm") for e in rows.values("eps")}
    return ", ".join([*sorted(data), split, *sorted(balls)])
