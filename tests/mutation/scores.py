"""Results of a file's mutants: counts, scores, survivors, and the lists of equivalent ones."""

import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.mutation import places
from tests.mutation.generate import Mutant, changed_file
from tests.mutation.places import WHOLE
from tests.mutation.trial import Result

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
GRAVE = Path(__file__).with_name("grave.toml")
MOST = 0.03
"""Largest share of a file's mutants that may be listed as equivalent."""


class ListError(Exception):
    """Entry of a list that does not fit the code."""


def equivalents(file: str, mutants: list[Mutant]) -> set[str]:
    """Texts of the listed equivalent mutants, each with a proof that it computes the same.

    Raises:
        ListError: an entry has no mutant or no proof, or there are more than may be.
    """
    entries = [e for e in entries_of(EQUIVALENT) if e["file"] == file]
    found: set[str] = set()
    for entry in entries:
        line, changed = (" ".join(entry[k].split()) for k in ("line", "mutant"))
        hits = {m.source for m in mutants if (m.before, m.after) == (line, changed)}
        if not hits or not entry.get("proof", "").strip():
            raise ListError(f"{EQUIVALENT.name}: no mutant, or no proof: {file}: {line}")
        found |= hits
    if len(found) > MOST * len(mutants):
        raise ListError(f"{file}: {len(found)} of {len(mutants)} are listed as equivalent")
    return found


def entries_of(path: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return found


def grave() -> list[Mutant]:
    """Mutants written by hand, which survived when they were found.

    Raises:
        ListError: an old text does not occur in its file exactly once.
    """
    found = []
    for entry in entries_of(GRAVE):
        source = (places.ROOT / entry["file"]).read_text(encoding="utf-8")
        if source.count(entry["old"]) != 1:
            times = source.count(entry["old"])
            raise ListError(f"{GRAVE.name}: {times} times in {entry['file']}: {entry['old']!r}")
        text = source.replace(entry["old"], entry["new"])
        found.append(changed_file(entry["file"], source, text))
    return found


@dataclass(slots=True)
class Score:
    """Score of one file, or of the list by hand."""

    name: str
    mutants: list[Mutant]
    results: list[Result]
    same: set[str]
    """Texts of equivalent mutants."""

    @property
    def bar(self) -> float:
        if self.name == "grave":
            return 1.0
        return 0.95 if self.name in WHOLE else 0.9

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.status(m, r) for m, r in zip(self.mutants, self.results, strict=True))

    def status(self, mutant: Mutant, result: Result) -> str:
        survived = result["status"] == "survived"
        return "equivalent" if survived and mutant.source in self.same else result["status"]

    @property
    def scores(self) -> tuple[float, float]:
        """Scores without the equivalent mutants, and with them counted as survivors."""
        counts, total = self.counts, len(self.mutants)
        dead = counts["killed"] + counts["timed out"]
        return dead / max(total - counts["equivalent"], 1), dead / max(total, 1)

    @property
    def met(self) -> bool:
        return not self.mutants or self.scores[0] >= self.bar

    def __str__(self) -> str:
        counts, (score, plain) = self.counts, self.scores
        parts = [f"{counts[k]:4d}" for k in ("killed", "timed out", "survived", "equivalent")]
        shown = f"{self.name:32s} {len(self.mutants):5d} " + " ".join(f"{p:>10s}" for p in parts)
        return f"{shown} {score:7.1%} {plain:7.1%}{'' if self.met else f'  below {self.bar:.0%}'}"

    def alive(self) -> list[str]:
        """List survivors, then mutants that timed out, one line each."""
        found = []
        for i, (mutant, result) in enumerate(zip(self.mutants, self.results, strict=True)):
            status = self.status(mutant, result)
            if status in ("survived", "timed out"):
                note = "  (no test reaches it)" if result.get("untested") else ""
                found.append(f"{status:9s} {i:4d} {mutant}{note}")
        return sorted(found)


HEAD = (
    f"{'file':32s} {'all':>5s} "
    + " ".join(f"{word:>10s}" for word in ("killed", "timed out", "survived", "equivalent"))
    + "   score    with equivalents"
)
