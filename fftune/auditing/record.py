"""Record of an audit: what was asked and found, as the page, JSON and every other form read it."""

from dataclasses import dataclass
from pathlib import Path

from fftune.auditing.bars import Measure
from fftune.config import Split, ThreatModel, read_settings, require, to_json
from fftune.data.signing import Signature
from fftune.errors import StorageError
from fftune.storage import write_text
from fftune.verdict import EXIT_CODES, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Attack that succeeded on examined examples."""

    attack: str
    goal: str
    count: int
    """Examples on which it succeeded; others may have succeeded on them, too."""
    passes: int
    """Forward and backward passes that it took on all that it attacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rate against its bar.

    Of `population` examples `examined` were attacked, drawn without replacement, and `found` is
    the number of these that an attack changed. All shares are of `denominator` examples: a score
    of the whole set, as `robust_accuracy`, rests on attacks on a part of it, D+.
    """

    measure: Measure
    bar: float
    """In [0, 1]."""
    at_most: bool
    """The bar is a maximum, as of risks; else a minimum, as of accuracies."""
    outcome: Outcome
    exact: bool
    """Nothing of the set is left to look at: `low` and `high` are counts, no estimates."""
    value: float | None
    """Share as estimated from what was examined; None: undefined, as there is no such example."""
    low: float
    """Least share of this set, whenever the audit stops, at the level 1 - `alpha_low`."""
    high: float
    """Largest share of this set that this battery finds, at the level 1 - `alpha_high`."""
    alpha_low: float
    """Probability, at most, that `low` lies above the truth at any look; 0: it is a count."""
    alpha_high: float
    """Probability, at most, that `high` lies below the truth at any look; 0: it is a count."""
    population: int
    """Examples of this set that it draws from: all of D, D+ or D-."""
    examined: int
    """Examples drawn and judged."""
    found: int
    """Those of them that count: right answers for `accuracy`, wrong ones for `natural_risk`, else
    successful attacks."""
    denominator: int
    """Examples of which `value`, `low` and `high` are shares."""
    population_interval: tuple[float, float] | None
    """Claim beyond this set, on the population it was drawn from; None: too little to say."""
    certified_high: float | None
    """Bound that no attack whatever can pass, of all examples: a risk is at most, an accuracy at
    least this; None: no bound was computed."""
    found_by: tuple[Finder, ...]
    """Attacks that succeeded, the most successful first."""
    unexcluded: str
    """Words on what this finding could not exclude; empty for an exact fact."""
    sentence: str
    """The finding in one sentence."""

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("bar", "low", "high")}
        beyond = self.population_interval or ()
        optional = (("value", self.value), ("certified_high", self.certified_high))
        for name, share in (
            *shares.items(),
            *((name, share) for name, share in optional if share is not None),
            *(("population_interval", share) for share in beyond),
        ):
            require(name, 0 <= share <= 1, "in [0, 1]", share)

    @property
    def question(self) -> str:
        """Rule that the bar sets, as in "hypocritical_risk <= 0.3"."""
        return f"{self.measure} {'<=' if self.at_most else '>='} {self.bar:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedModel:
    """Net, by its weights and its code."""

    name: str
    hash: str
    """Hash of all parameters and buffers, 16 hex digits."""
    weights: str
    """Name of the file of weights; empty where there is none."""
    weights_sha256: str
    """SHA-256 of that file, 64 hex digits; empty where there is none."""
    code: str
    """Hash of what the net computes apart from its weights; empty for a net in memory."""
    origin: str
    """Provenance in words; empty where there is nothing to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedData:
    """Examples that the audit speaks of."""

    name: str
    split: Split
    hash: str
    """Hash of images and labels, 16 hex digits."""
    n: int
    """Examples in the set."""
    available: int
    """Examples of the split that the set was taken from."""
    wrong: int
    """Examples that the net gets wrong when clean, the size of D-."""
    signature: Signature | None
    """Signature of the data; None: nobody vouches for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedBattery:
    """Attacks, and how they were run."""

    name: str
    tier: str
    """Length of its ensembles; empty where it has none."""
    attacks: tuple[str, ...]
    hash: str
    """Hash of every setting of every attack, 16 hex digits."""
    device: str
    block_size: int
    """Examples attacked between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Audit of one net: verdict, findings, and all that is needed to do it again."""

    outcome: Outcome
    sentence: str
    """The verdict in one sentence."""
    findings: tuple[Finding, ...]
    model: AuditedModel
    data: AuditedData
    threat: ThreatModel
    battery: AuditedBattery
    alpha: float
    """Probability, at most, of a wrong PASS, and of a wrong FAIL."""
    examples: int | None
    """Most examples that were to be attacked; None: as many as it takes."""
    seed: int
    """Seed of the order in which examples are drawn, and of the attackers."""
    fftune: str
    """Version that ran it."""
    created: str
    """Time of its end, ISO 8601, UTC."""
    command: str
    """Command as it can be typed again; empty from Python."""
    remarks: tuple[str, ...]
    """Remarks on net and attacks, `code: text`."""

    def __post_init__(self) -> None:
        require("alpha", 0 < self.alpha < 1, "in (0, 1)", self.alpha)

    @property
    def exit_code(self) -> int:
        """Exit code of a command whose verdict this is."""
        return EXIT_CODES[self.outcome]

    @property
    def json(self) -> str:
        """Exact JSON, which `read` reads."""
        return to_json(self)

    @classmethod
    def read(cls, path: Path) -> "AuditRecord":
        """Read an `audit.json`.

        Raises:
            StorageError: it is missing, damaged or something else.
        """
        return read_settings(cls, path, "audit", StorageError)

    def write(self, path: Path) -> None:
        """Write an `audit.json`, whole or not at all."""
        write_text(path, self.json)
