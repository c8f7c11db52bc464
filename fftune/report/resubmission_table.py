"""Text tables of resubmission: every attack behind a defense by four rules, over images."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from fftune.comparison import Paired
from fftune.evaluation.adaptive import is_adaptive
from fftune.expectation import Expectation, MeanGain
from fftune.report.defended_rows import CONTROL, is_leaked, judged_draws
from fftune.report.defense_rates import ADVERSARIES
from fftune.report.resubmission import (
    RULES,
    Resubmitted,
    Won,
    by_image,
    gains,
    of_all,
    of_mistakes,
    of_right,
    robust,
    withstood,
)
from fftune.report.row_order import attacks_in
from fftune.report.terminal import Block, grid
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[["pd.DataFrame"], Resubmitted]
Row = list[str]


def explained(under: "pd.DataFrame") -> list[str]:
    """Say what the columns are, and how it is decided whose mistakes are whose.

    Args:
        under: rows of `defense_frame` behind all defenses.
    """
    m = judged_draws(under)
    differ = any(len(_rules(rows)) > 1 for _, rows in under.groupby("defense"))
    several = [
        "each perturbed image met several draws; by a column an attack wins on it if it wins",
        "  one draw     in the first draw: a single submission",
        f"  majority     in more than half of the {m}: the defender lets draws vote",
        f"  any          in any of the {m}: the attacker may come back",
        "  expectation  mean over the draws",
    ]
    return [
        *(several if differ else ["what attacks come to behind a defense"]),
        "  in brackets: 95 % intervals over images, as draws on one image are no further examples",
        "  `clean` and `random-start` are no attacks: they show what noise alone does",
        f"  D-: clean images that the defended net gets wrong in most of {m} draws of their own, "
        "under which no attack is judged; D+: the others",
        *(["  (the expectation weighs each image by its share of those draws)"] if differ else []),
    ]


def adversaries(under: "pd.DataFrame", bare: "pd.DataFrame") -> list[Block]:
    """Format accuracy, robust accuracy, and adversarial risk on D+, behind one defense.

    Args:
        under, bare: rows of `defense_frame`, behind the defense and of the bare net.
    """
    under, bare = (one[one["goal"].isin([*ADVERSARIES, CONTROL])] for one in (under, bare))
    if not (under["goal"] != CONTROL).any():
        return []
    best, theirs = (by_image(_blind(one), "wrong") for one in (under, bare))
    (defense,) = under["defense"].unique()
    rules = _rules(under)
    rows = [["", *rules.values()]]
    for name, one, other in (
        ("right", withstood(best), withstood(theirs)),
        ("and right when clean (D+)", robust(best), robust(theirs)),
    ):
        paired = gains(one, other)
        rows.append([name, *(_gain(paired[rule]) for rule in rules)])
    return [
        *_block(under, bare, "wrong", "accuracy", "all", lambda each: of_all(withstood(each))),
        "",
        grid(
            rows,
            f"{defense} - none in points, both under the best of all, paired, n = {len(best):,}",
        ),
        "",
        *_block(under, bare, "wrong", "adversarial risk", "D+", of_right),
    ]


def friends(under: "pd.DataFrame", bare: "pd.DataFrame") -> list[Block]:
    """Format hypocritical risk on D- of every false friend behind one defense."""
    under, bare = (one[one["goal"].isin(["hypocritical", CONTROL])] for one in (under, bare))
    return _block(under, bare, "right", "hypocritical risk", "D-", of_mistakes)


def _block(
    under: "pd.DataFrame",
    bare: "pd.DataFrame",
    won: Won,
    title: str,
    among: str,
    measure: Measure,
) -> list[Block]:
    """Grid of every attack, then of several together, then of the bare net."""
    measured = {a: measure(by_image(under[under["attack"] == a], won)) for a in attacks_in(under)}
    aware = under[~under["attack"].map(is_adaptive) & (under["goal"] != CONTROL)]
    blind = _blind(under)
    if aware["attack"].nunique() > 1 and len(aware) < len(blind):
        name = f"worst of {aware['attack'].nunique()} made for the bare net"
        measured[name] = measure(by_image(aware, won))
    measured["best of all"] = best = measure(by_image(blind, won))
    if any(map(is_leaked, measured)):
        every = under[under["goal"] != CONTROL]
        measured["known*, or best of all"] = measure(by_image(every, won))
    rules, n = _rules(under), best.one.n
    rows = [_row(name, one, n, rules) for name, one in measured.items()]
    plain = measure(by_image(_blind(bare), won))
    rows.append(_row("bare net, best of all", plain, n, ("one",)))
    weighed = among != "all" and "expectation" in rules
    more = f" (expectation: {best.expectation.weight:,.1f})" if weighed else ""
    head = f"{title} in % of {among}, n = {n:,}{more}"
    leaked = ["  * by the first draw alone, which it has got hold of"]
    return [
        grid([["", *rules.values()], *rows], head),
        *(leaked if any(map(is_leaked, measured)) else []),
    ]


def _blind(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Rows of attackers who do not have the defender's draw."""
    return rows[(rows["goal"] != CONTROL) & ~rows["attack"].map(is_leaked).astype(bool)]


def _rules(under: "pd.DataFrame") -> Mapping[str, str]:
    """Columns and their heads: one where draws never differ, as those of JPEG."""
    m = judged_draws(under)
    each = under.groupby(["attack", "goal", "target", "seed", "id"])["pred_pert"].nunique()
    if (each > 1).any():
        return {name: head.format(m=m) for name, head in RULES.items()}
    return {"one": f"all {m} draws alike" if m > 1 else RULES["one"]}


def _row(name: str, found: Resubmitted, n: int, rules: Iterable[str]) -> Row:
    """Cells of an attack; of one to whom the first draw is leaked by that alone."""
    if is_leaked(name):
        name, rules = f"{name.partition('*')[0]}*{name.partition('*')[2]}", ("one",)
    name += "" if found.one.n == n else f" (n = {found.one.n:,})"
    return [name, *(_share(getattr(found, rule)) for rule in rules)]


def _share(rate: Rate | Expectation) -> str:
    if not rate.n:
        return "undefined"
    value, low, high = (100 * share for share in (rate.value, *rate.interval))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _gain(found: Paired | MeanGain) -> str:
    if not found.n:
        return "undefined"
    if isinstance(found, Paired):
        value, low, high = (100 * share for share in (found.gain, *found.interval))
    else:
        value, low, high = (100 * share for share in (found.value, found.low, found.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
