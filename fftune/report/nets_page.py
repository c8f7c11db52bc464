"""Page of several evaluated nets: one table of nets by attacks, instead of a page for each."""

from collections.abc import Iterator, Mapping, Sequence

from fftune.bracket import GOALS, of_frames
from fftune.comparison import Paired
from fftune.errors import FftuneError
from fftune.evaluation.batteries import CANARY_NAME
from fftune.report.attack_table import attack_lines, framed, only_mistakes
from fftune.report.defense_answer import answers, defense_blocks
from fftune.report.evaluation_page import BOUND, LEGEND, EvaluatedNet
from fftune.report.result_page import told
from fftune.report.terminal import Block, Cell, Grid, Worst, grid
from fftune.risk import Rate, UnionCounts

SHOWN_PAIRS = 3
"""Pairs of nets whose comparison is shown: of three nets; more are among the details."""
TITLES = {
    "accuracy": "Accuracy: of clean images, and what each adversary leaves",
    "concealed": "Hypocritical risk: mistakes of the net that each false friend conceals",
    "led": "Mistakes of the net that are led to a class",
    "changed": "Predictions that each attack changes",
    "bracket": "Between what attacks found and what is certified of each risk",
}
"""Titles of the tables, by what is measured."""
MEASURED = {
    "adversarial": "accuracy",
    "hypocritical": "concealed",
    "targeted": "led",
    "stability": "changed",
}
"""Table that an attack stands in, by its goal."""
CLEAN, WORST, MISTAKES = "clean images", "worst case", "mistakes"
Rates = dict[str, dict[str, Rate]]
"""Rates of one net by table and column."""


def nets_page(nets: Sequence[EvaluatedNet], failed: Mapping[str, FftuneError]) -> list[Block]:
    """Lay out several nets side by side.

    Args:
        failed: errors of nets that could not be evaluated, by their names.
    """
    blocks: list[Block] = [*_head(nets), ""]
    found = {net.name: _rates(net) for net in nets}
    lams = {net.name: net.lam for net in nets}
    for kind, title in TITLES.items():
        if any(kind in one for one in found.values()):
            blocks += [_grid(kind, title, found, lams), ""]
    goals = {goal for net in nets for goal in net.bare.values("goal")}
    blocks.append(" ".join([*(text for goal, text in LEGEND.items() if goal in goals), BOUND]))
    if any(net.is_defended for net in nets):
        blocks += ["", *defense_blocks({n.name: answers(n.outcomes) for n in nets})]
    blocks += [f"MISSING {net.name}: {lost}" for net in nets for lost in net.lost]
    blocks += [f"{name}: {error}" for name, error in failed.items()]
    return [*blocks, "", *_sentences(found)]


def pair_lines(pairs: Mapping[tuple[str, str], Paired]) -> list[str]:
    """Compare nets on the mistakes that both of a pair make, a line each; none without pairs."""
    lines = [f"  {one} - {two}: {paired}" for (one, two), paired in pairs.items()]
    return ["concealed, of the mistakes that both nets make:", *lines] if lines else []


def _head(nets: Sequence[EvaluatedNet]) -> list[str]:
    """Terms that all nets were asked under; of those that differ, each net's."""
    terms = {net.name: net.question.terms() for net in nets}
    alike = [
        line for line in next(iter(terms.values()), ()) if all(line in t for t in terms.values())
    ]
    weights = ", ".join(f"{net.name} {net.question.model_hash[:8]}" for net in nets)
    own = [
        f"{name}: {line}" for name, lines in terms.items() for line in lines if line not in alike
    ]
    return [f"nets      {len(nets)}, with their weights: {weights}", *alike, *own]


def _rates(net: EvaluatedNet) -> Rates:
    """Accuracies and risks of one net, by table and column, worst cases included."""
    found: Rates = {}
    if not len(net.bare):
        return found
    frame, bounds = framed(net.bare)
    for split, part in frame.groupby("split"):
        union = UnionCounts.of(net.bare, split=str(split))
        lines = [line for line in attack_lines(part) if line.attack != CANARY_NAME]
        if not only_mistakes(part):
            clean = Rate(union.total - union.wrong, union.total)
            found["accuracy"] = {CLEAN: clean}
        for line in lines:
            kind = MEASURED.get(line.goal, "changed")
            rate = line.accuracy if kind == "accuracy" else line.risk
            found.setdefault(kind, {})[line.name] = rate
        if sum(line.goal == "adversarial" for line in lines) > 1:
            found["accuracy"][WORST] = Rate(union.total - union.ever_wrong, union.total)
        if sum(line.goal == "hypocritical" for line in lines) > 1:
            found["concealed"][WORST] = union.hypocritical_risk
        for one in of_frames(bounds[bounds["split"] == split], part):
            done = GOALS[one.goal][2]
            found.setdefault("bracket", {}).update(
                {
                    f"{done} by an attack": one.found,
                    f"{done} at most": one.most,
                    f"{done}: undecided": one.undecided,
                }
            )
        if "concealed" in found:
            found["concealed"] = {MISTAKES: Rate(union.wrong, union.total), **found["concealed"]}
    return found


def _grid(
    kind: str, title: str, found: Mapping[str, Rates], lams: Mapping[str, float | None]
) -> Grid:
    columns = list(dict.fromkeys(name for one in found.values() for name in one.get(kind, {})))
    worst = {name: _worst(kind, name, found) for name in columns}
    heads = ["net", *(["lambda"] if any(lam is not None for lam in lams.values()) else [])]
    rows: list[list[Cell]] = [[*heads, *columns]]
    for net, one in found.items():
        lam = lams[net]
        cells: list[Cell] = [net, *(["-" if lam is None else f"{lam:.4g}"] if heads[1:] else [])]
        for name in columns:
            rate = one.get(kind, {}).get(name)
            text = "-" if rate is None else _cell(name, rate)
            is_worst = rate is not None and rate.n > 0 and rate.value == worst[name]
            cells.append(Worst(text) if is_worst and len(found) > 1 else text)
        rows.append(cells)
    return grid(rows, title, "the worst net of a column", labels=len(heads))


def _cell(column: str, rate: Rate) -> str:
    return f"{rate.count:,} of {rate.n:,}" if column == MISTAKES else told(rate)


def _worst(kind: str, column: str, found: Mapping[str, Rates]) -> float:
    rates = [one[kind][column] for one in found.values() if column in one.get(kind, {})]
    values = [rate.value for rate in rates if rate.n]
    pick = min if kind == "accuracy" else max
    return pick(values, default=-1.0)


def _sentences(found: Mapping[str, Rates]) -> Iterator[str]:
    """Name the nets that keep most, and that conceal most."""
    kept = {net: _last(one["accuracy"]) for net, one in found.items() if "accuracy" in one}
    attacked = any(len(one.get("accuracy", {})) > 1 for one in found.values())
    kept = {net: rate for net, rate in kept.items() if rate.n}
    if attacked and kept:
        best, least = (pick(kept, key=lambda n: kept[n].value) for pick in (max, min))
        yield (
            f"Adversaries leave most right of {best}, {told(kept[best])}, and least of {least}, "
            f"{told(kept[least])}."
        )
    hidden = {net: _last(one["concealed"]) for net, one in found.items() if "concealed" in one}
    hidden = {net: rate for net, rate in hidden.items() if rate.n}
    if hidden:
        most, few = (pick(hidden, key=lambda n: hidden[n].value) for pick in (max, min))
        yield (
            f"A false friend conceals most of the mistakes of {most}, {told(hidden[most])} of "
            f"{hidden[most].n:,}, and least of {few}, {told(hidden[few])} of {hidden[few].n:,}."
        )


def _last(rates: Mapping[str, Rate]) -> Rate:
    """The worst case, or the only attack."""
    return rates[WORST] if WORST in rates else list(rates.values())[-1]
