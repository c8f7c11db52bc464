"""News of an evaluation as it runs: what the attacks so far have left, as AutoAttack prints it."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from fftune.evaluation.batteries import CANARY_NAME, Attack
from fftune.evaluation.defended import CONTROLS
from fftune.evaluation.tiers import AttackStage
from fftune.progress import duration, units_at_work

log = logging.getLogger("fftune.evaluation")

OWN = {"nets", "blocks"}
"""Units of the works of an evaluation."""
COLUMNS = ("id", "y", "pred_clean", "pred_pert")
TellSearch = Callable[[Attack, int, int, int, float], None]
"""See `RunningAccuracy.stage`."""


class RunningAccuracy:
    """Accuracy and hypocritical risk of a bare net after each attack, over all attacks so far.

    A line is logged where the last block of an attack is done, and for each search of an ensemble:
    after it on the last block, or, of blocks on Ray, where the last of them is done.
    """

    def __init__(self, net: str, attacks: Collection[Attack] | None = None) -> None:
        """Begin with no attack done.

        Args:
            attacks: of the battery; others check it, and count only as a longer ensemble of its.
                Default: all count.
        """
        self._net, self._attacks = net, attacks
        self._open: Counter[Attack] = Counter()
        self._seconds: dict[Attack, float] = {}
        self._right: dict[int, bool] = {}
        """By id: is the clean image predicted as its label?"""
        self._won: dict[str, set[int]] = {"adversarial": set(), "hypocritical": set()}
        """Ids that some attack of a goal has succeeded on."""
        self._stages: dict[tuple[Attack, int], list[float]] = {}
        """Of each search: examples that it leaves, examples tried, seconds."""
        self._told_clean = False

    def ask(self, blocks: Iterable[Attack], known: Iterable[tuple[Attack, pa.Table]]) -> None:
        """Expect blocks, by their attacks; the rows of known ones are counted without a line."""
        self._open.update(blocks)
        for attack, table in known:
            self._count(attack, table)

    def put(self, attack: Attack, table: pa.Table, seconds: float) -> None:
        """Count the rows of a block; log a line where it was the attack's last."""
        self._count(attack, table)
        self._seconds[attack] = self._seconds.get(attack, 0.0) + seconds
        self._open[attack] -= 1
        if self._open[attack] <= 0 and attack.goal in self._won and self._counts(attack):
            self._tell_clean(attack)
            what = self._after(attack)
            if what:
                tell(f"{self._net}: {what} ({duration(self._seconds[attack])})")

    def stage(self, attack: Attack, at: int, left: int, tried: int, seconds: float) -> None:
        """Count a search of an ensemble on a block; log a line where the block is the last.

        Args:
            at: position of the search in the ensemble.
            left: examples right when clean that it and all before it leave right.
            tried: examples of the block.
        """
        found = self._stages.setdefault((attack, at), [0, 0, 0.0])
        for i, value in enumerate((left, tried, seconds)):
            found[i] += value
        if self._open[attack] == 1 and found[1] and self._counts(attack):
            share = f"{100 * found[0] / found[1]:.1f} %"
            name, took = stage_name(attack.stages[at]), duration(found[2])
            tell(f"{self._net}: robust accuracy after {name}: {share} ({took})")

    def _count(self, attack: Attack, table: pa.Table) -> None:
        bare = table.filter(pc.equal(table["defense"].cast(pa.string()), "none"))
        columns = (bare[name].to_pylist() for name in COLUMNS)
        for i, y, clean, perturbed in zip(*columns, strict=True):
            self._right[i] = clean == y
            if not self._counts(attack):
                continue
            if attack.goal == "adversarial" and perturbed != y:
                self._won["adversarial"].add(i)
            if attack.goal == "hypocritical" and clean != y and perturbed == y:
                self._won["hypocritical"].add(i)

    def _counts(self, attack: Attack) -> bool:
        if attack.name in (*CONTROLS, CANARY_NAME):
            return False
        longer = attack.is_ensemble and attack.tier == "full"
        return self._attacks is None or attack in self._attacks or longer

    def _tell_clean(self, attack: Attack) -> None:
        if self._told_clean or attack.scope != "all" or not self._right:
            return
        self._told_clean = True
        right, n = sum(self._right.values()), len(self._right)
        tell(f"{self._net}: clean accuracy: {100 * right / n:.1f} % of {n:,}")

    def _after(self, attack: Attack) -> str:
        """Robust accuracy over the adversaries so far, or hypocritical risk over the friends."""
        won, n = self._won[attack.goal], len(self._right)
        if attack.goal == "adversarial":
            left = sum(right and i not in won for i, right in self._right.items())
            return f"robust accuracy after {attack.name}: {100 * left / n:.1f} %" if n else ""
        mistakes = [i for i, right in self._right.items() if not right]
        if not mistakes:
            return ""
        share = 100 * sum(i in won for i in mistakes) / len(mistakes)
        return f"mistakes concealed after {attack.name}: {share:.1f} % of {len(mistakes):,}"


def tell(text: str) -> None:
    """Log news of an evaluation; as a part of other work, as of a study, it is none."""
    log.log(logging.INFO if OWN.issuperset(units_at_work()) else logging.DEBUG, "%s", text)


def stage_name(stage: AttackStage) -> str:
    """Name of a search as the field says it: "apgd-ce", "apgd-t", "fab-t", "square"."""
    search, targeted = stage.config.search, stage.config.targets > 0
    if targeted:
        return f"{search}-t"
    return f"{search}-{stage.loss}" if search in ("apgd", "pgd") else search
