"""Pages of an inspection: what was found of a set, and what could not be excluded."""

from dataclasses import asdict
from typing import Any

from fftune.config import told_radius
from fftune.config.attack import PIXEL
from fftune.forensics.exact import Change, ExactComparison
from fftune.forensics.friends import MEANING
from fftune.forensics.record import InspectConfig, Inspection
from fftune.report.result_page import ResultPage, told
from fftune.report.terminal import Block, grid
from fftune.verdict import Outcome

VERB = "data inspect"
SHOWN = 20
"""Differences that a page shows one by one; JSON has all."""
WORDS: dict[Outcome, str] = {
    "pass": "NOTHING FOUND",
    "fail": "TOUCHED",
    "inconclusive": "INCONCLUSIVE",
}


def exact_page(found: ExactComparison) -> ResultPage:
    """Lay out all differences from an original."""
    changed, touched, relabelled = found.changed, found.touched, found.relabelled
    blocks: list[Block] = [
        f"{found.examples:,} examples, digest {found.digest}; original: "
        f"{found.original_examples:,}, digest {found.original_digest}",
        f"pixels changed: {len(touched):,}; labels changed: {len(relabelled):,}; missing: "
        f"{len(found.missing):,}; added: {len(found.added):,}",
    ]
    if touched:
        most, many = max(one.linf for one in touched), sum(one.linf <= 8 for one in touched)
        blocks.append(f"largest change {most}/{PIXEL}; {many:,} changed by 8/{PIXEL} at most")
    blocks += [*map(str, changed[:SHOWN])]
    if len(changed) > SHOWN:
        blocks.append(f"... and {len(changed) - SHOWN:,} more; --format json has all")
    blocks += [f"missing: id {i} of the original" for i in found.missing[:SHOWN]]
    blocks += [f"added: id {i}" for i in found.added[:SHOWN]]
    same = found.outcome == "pass"
    end = (
        "UNTOUCHED: every image and label is that of the original, whatever the order."
        if same
        else "TOUCHED: the set is not the original. This is exact, and needs no statistics."
    )
    more = {
        "outcome": found.outcome,
        "exact": {
            **{name: getattr(found, name) for name in ("examples", "original_examples")},
            **{name: getattr(found, name) for name in ("digest", "original_digest")},
            "changed": [_plain(one) for one in changed],
            "missing": list(found.missing),
            "added": list(found.added),
        },
    }
    return ResultPage(verb=VERB, blocks=(*blocks, end), more=more)


def inspection_page(found: Inspection, config: InspectConfig, net: str, data: str) -> ResultPage:
    """Lay out what a net shows of a set."""
    ball = f"{config.threat.norm} eps {told_radius(config.threat.eps)}"
    fit, calibrated, measured = found.clean_right
    blocks: list[Block] = [
        f"{data}: {found.examples:,} images, {found.right:,} of which {net} gets right; friends "
        f"within {ball}, stored as 8 bits",
        f"Unusual, above 99 % of clean images: {told(found.unusual)} of the right ones; of other "
        f"clean images {told(found.unusual_clean)}",
        f"Share touched: {_percent(found.share)} of the set (95 % CI {_percent(found.low)} to "
        f"{_percent(found.high)}), if friends are like ours; p = {found.p:.3f} against the clean "
        "sets that look most touched",
        "",
        _friends(found),
        "",
        _clean(found, config.sets),
        "",
        *(f"Not compared with sets {k}: the net gets far fewer right." for k in found.left_out),
        f"Fitted to {fit:,} clean images, calibrated on {calibrated:,} others and measured on "
        f"{measured:,} more, all of them right; {config.sets} drawn sets of each kind, "
        f"seed {config.seed}.",
        *_verdict(found),
    ]
    return ResultPage(verb=VERB, blocks=tuple(blocks), more=_more(found, config))


def _friends(found: Inspection) -> Block:
    heads = ("friend", "conceals, of mistakes", "AUC (95 % CI)", "smallest share found, power .8")
    rows = [
        (
            f"{one.kind}: {MEANING[one.kind]}",
            told(one.success),
            f"{one.auc.value:.4f} ({one.auc.interval[0]:.4f} to {one.auc.interval[1]:.4f})"
            if one.auc.touched
            else "undefined",
            _smallest(one.smallest, found.examples),
        )
        for one in found.friends
    ]
    return grid([heads, *rows])


def _clean(found: Inspection, sets: int) -> Block:
    heads = ("clean sets", "p", f"false alarms, of {sets} sets")
    rows = [(one.kind, f"{one.p:.3f}", told(one.alarms)) for one in found.clean]
    return grid([heads, *rows])


def _verdict(found: Inspection) -> list[str]:
    """The verdict, and what cannot be excluded, which is always said."""
    words = WORDS[found.outcome]
    if found.outcome == "fail":
        first = f"{words}: clean sets look so touched in {100 * found.p:.1f} % of cases at most."
    elif found.outcome == "pass":
        first = f"{words}: this is no proof that the set is clean."
    elif found.is_another_kind:
        first = (
            f"{words}: the net gets far fewer right than of the clean images, so that these are no "
            "measure of this set."
        )
    else:
        first = (
            f"{words}: nothing was found, but {100 * found.matters:g} % of the set could be "
            "touched unseen."
        )
    plain = _excluded(found.smallest, found.examples)
    evading = _excluded(found.smallest_evading, found.examples)
    return [
        first,
        f"Touched cannot be excluded {plain} by friends who do not know this detector, and "
        f"{evading} by one who does. Only a comparison with the original excludes it: --against.",
    ]


def _excluded(smallest: int | None, examples: int) -> str:
    if smallest is None:
        return "at any share"
    return f"below {_percent(smallest / examples)} of the set ({smallest:,} images)"


def _smallest(smallest: int | None, examples: int) -> str:
    if smallest is None:
        return "none: not even if all are touched"
    return f"{_percent(smallest / examples)} ({smallest:,} images)"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.1f} %"


def _more(found: Inspection, config: InspectConfig) -> dict[str, Any]:
    """Entries of the JSON: the inspection with its settings."""
    plain = asdict(found) | {
        "smallest": found.smallest,
        "smallest_evading": found.smallest_evading,
    }
    for one, friend in zip(plain["friends"], found.friends, strict=True):
        low, high = friend.auc.interval if friend.auc.touched else (None, None)
        one["auc"] |= {"low": low, "high": high}
        one["auc"]["value"] = friend.auc.value if friend.auc.touched else None
    return {"outcome": found.outcome, "inspection": plain, "settings": asdict(config)}


def _plain(one: Change) -> dict[str, Any]:
    return asdict(one)
