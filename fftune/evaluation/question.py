"""Question that a table of rows answers: everything that must be equal for equal answers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from fftune import __version__
from fftune.attacks import protocol_of
from fftune.config import (
    Norm,
    Precision,
    Split,
    ThreatModel,
    config_hash,
    flat,
    from_json,
    to_json,
    told_radius,
)
from fftune.config.model import Origin
from fftune.config.serialization import SINCE
from fftune.defenses import Defense, Hedge, NamedDefense
from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.batteries import battery_spec, tier_of
from fftune.evaluation.block_cache import ENGINE, judging
from fftune.evaluation.defended import CONTROLS
from fftune.evaluation.job import EvalJob
from fftune.outcomes import Outcomes
from fftune.registry import code_of, label

SHOWN_CLASSES = 10
"""Class names that a head prints; of more, it prints the first and the last."""
LONGEST = 40
"""Maximum length of one part of a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defended:
    """A defense with its resolved settings."""

    name: str
    norm: Norm | None
    """Norm of a hedge's ball, as the settings below; None for any other defense."""
    eps_d: float | None
    steps: int | None
    step_size: float | None
    clamp: bool | None
    others: str = ""
    """Settings of any other defense, as in "quality 75"."""

    @classmethod
    def of(cls, name: str, defense: Defense) -> "Defended":
        """Resolved settings of a defense."""
        if not isinstance(defense, Hedge):
            found = {} if isinstance(defense, NamedDefense) else flat(defense)
            others = ", ".join(f"{k.rpartition('.')[2]} {v}" for k, v in found.items())
            none = dict.fromkeys(("norm", "eps_d", "steps", "step_size", "clamp"))
            return cls(name=name, others=others, **none)
        config = defense.config
        return cls(
            name=name,
            norm=config.norm,
            eps_d=config.eps_d,
            steps=config.steps,
            step_size=config.step_length,
            clamp=config.clamp,
        )

    def __str__(self) -> str:
        if self.norm is None or self.eps_d is None:
            return f"{self.name} ({self.others})" if self.others else self.name
        steps = f", K {self.steps} of {told_radius(self.step_size or 0)}" if self.steps else ""
        return f"{self.name} ({self.norm}, eps_d {told_radius(self.eps_d)}{steps})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Net, images, attacks and defenses of an evaluation, and how it is computed."""

    net: str
    """Name that the user gave the net."""
    model_hash: str
    """Hash of the net's weights."""
    code: str
    """Hash of what the net computes apart from its weights; empty for a net in memory."""
    data: str
    dataset_hash: str
    split: Split
    examples: int
    available: int
    """Images of the split, of which `examples` are attacked."""
    classes: tuple[str, ...]
    """Class names in the order of the labels, from label 0."""
    norm: Norm
    eps: float
    clamp: bool
    battery: str
    tier: str
    """Tier of the battery's ensembles; empty where it has none."""
    attacks: tuple[str, ...]
    suite: str
    """Hash of every setting of every attack and defense."""
    precision: Precision
    """Precision of searches for a first success; `auto`: actors resolved it, in old rows."""
    device: str
    threads: int
    block_size: int
    seed: int
    defenses: tuple[Defended, ...]
    repeats: int
    """Draws of each defense; 0 without one."""
    engine: int
    remarks: tuple[str, ...]
    """Remarks of the lint and on the battery, `code: text`; they are not part of the question."""
    origin: str = field(default="", metadata={SINCE: 5})
    """Provenance of the net, in words; `model_hash` and `code` are what counts."""

    @staticmethod
    def upgraded(stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """A question that schema version 5 stored with another spelling of `defenses`."""
        return {key.replace("defences", "defenses"): value for key, value in stored.items()}

    @property
    def hash(self) -> str:
        """Hash of the whole question, in 8 hex digits."""
        return config_hash(replace(self, remarks=(), origin=""))[:8]

    @property
    def name(self) -> str:
        """Name for files and runs, which no two questions share."""
        words = (
            *(self.net, self.model_hash[:8] or "empty", self.data.partition(":")[0]),
            *(self.split, f"n{self.examples}", self.norm, f"{self.eps:.3g}"),
            *(
                self.battery,
                *filter(None, [self.tier]),
                *(d.name for d in self.defenses),
                self.hash,
            ),
        )
        return "-".join(map(_plain, words))

    def head(self, lam: float | None = None) -> str:
        """First lines of a page: net, images and settings.

        Args:
            lam: weight lambda of the net's training, where it is known.
        """
        weight = "" if lam is None else f", lambda {lam:.4g}"
        net = [f"net       {self.net}, weights {self.model_hash[:8]}{weight}"] if self.net else []
        return "\n".join((*net, *self.terms()))

    def about(self) -> str:
        """Images, as in "digits, test: n = 40 of 1,197"."""
        count = f"n = {self.examples:,} of {self.available:,}"
        return f"{self.data}, {self.split}: {count}"

    @property
    def ball(self) -> str:
        """Norm and radius, as in "linf, eps 0.0313725 (8/255)"."""
        return f"{self.norm}, eps {told_radius(self.eps)}" + ("" if self.clamp else ", unclamped")

    def terms(self) -> tuple[str, ...]:
        """Lines with the images and all resolved settings, each below its subject."""
        tier = f", tier {self.tier}" if self.tier else ""
        draws = f"; {self.repeats} draws of each" if self.defenses else ""
        added = [one for one in self.attacks if one in CONTROLS or is_adaptive(one)]
        own = [one for one in self.attacks if one not in added]
        threads = f"{self.threads} thread" + ("s" if self.threads != 1 else "")
        told = {
            "from": self.origin,
            "images": self.about(),
            "classes": f"{len(self.classes)} in order: {_shortened(self.classes)}",
            "ball": self.ball,
            "attacks": f"battery {self.battery}{tier}: {', '.join(own)}; seed {self.seed}",
            "defenses": ", ".join(map(str, self.defenses)) + draws,
            "aware": f"{', '.join(added)} (controls, and attackers that know of defenses)",
            "run": f"{self.device}, {self.precision}, {threads}, blocks of {self.block_size}; "
            f"fftune {__version__}, engine {self.engine}",
        }
        absent = {
            "from": not self.origin,
            "defenses": not self.defenses,
            "aware": not added,
        }
        return (
            *(f"{name:9s} {text}" for name, text in told.items() if not absent.get(name)),
            *(f"remark    {remark}" for remark in self.remarks),
        )

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the evaluation's run in MLflow, by which it is found there."""
        return {
            "fftune.question": self.name,
            "fftune.net": self.net,
            "fftune.model_hash": self.model_hash,
            "fftune.data": self.data,
            "fftune.split": self.split,
            "fftune.examples": str(self.examples),
            "fftune.norm": self.norm,
            "fftune.eps": told_radius(self.eps),
            "fftune.battery": self.battery,
            "fftune.tier": self.tier,
            "fftune.defenses": ", ".join(d.name for d in self.defenses) or "none",
        }

    @property
    def params(self) -> dict[str, str]:
        """Params of the evaluation's run in MLflow: every field, long lists shortened."""
        params = {f.name: getattr(self, f.name) for f in fields(self)}
        params["classes"] = f"{len(self.classes)}: {_shortened(self.classes)}"
        params["eps"] = told_radius(self.eps)
        return {
            name: (", ".join(map(str, value)) if isinstance(value, tuple) else str(value))[:500]
            for name, value in params.items()
        }

    @property
    def plain(self) -> dict[str, Any]:
        """The question as plain JSON values."""
        data: dict[str, Any] = json.loads(to_json(self))
        return data


def question_of(
    job: EvalJob,
    *,
    net: str,
    code: str,
    threat: ThreatModel,
    available: int | None,
    device: str,
    precision: Precision,
    remarks: Sequence[str] = (),
    origin: Origin | None = None,
) -> Question:
    """Build the question of a job from its resolved settings.

    Args:
        net: name that the user gave it.
        available: images of the split; None: as many as are attacked.
    """
    battery, defense_set = job.battery, job.defense_set
    stages = [stage for attack in job.attacks for stage in attack.stages]
    early = any(protocol_of(stage.config) == "first_success" for stage in stages)
    searches = {stage.config.search for stage in stages}
    settings = [
        *map(config_hash, job.attacks),
        "" if defense_set is None else config_hash(defense_set),
        *filter(None, map(code_of, sorted(searches))),
    ]
    if revision := judging(device, defended=defense_set is not None):
        settings.append(f"judging {revision}")
    settings += [f"stored {form}" for form in battery.stored]
    defenses = {} if defense_set is None else defense_set.defenses
    return Question(
        net=net,
        model_hash=job.model_hash,
        code=code,
        data=job.dataset.source.name,
        dataset_hash=job.dataset_hash,
        split=job.dataset.split,
        examples=len(job.dataset),
        available=len(job.dataset) if available is None else available,
        classes=tuple(job.dataset.source.classes),
        norm=threat.norm,
        eps=float(threat.eps),
        clamp=threat.clamp,
        battery=label(battery.name),
        tier=tier_of(battery) or "",
        attacks=tuple(dict.fromkeys(attack.name for attack in job.attacks)),
        suite=hashlib.sha256(repr(settings).encode()).hexdigest()[:16],
        precision=precision if early else "fp32",
        device=device,
        threads=battery.threads,
        block_size=job.block_size,
        seed=battery.seed,
        defenses=tuple(Defended.of(name, defense) for name, defense in defenses.items()),
        repeats=0 if defense_set is None else defense_set.repeats,
        engine=ENGINE,
        remarks=(*remarks, *filter(None, [battery_spec(battery.name).caveat])),
        origin="" if origin is None else origin.told,
    )


def read_question(data: Any) -> Question:
    """Read a question from what `Question.plain` gave.

    Raises:
        ConfigError: it is no question.
    """
    return from_json(Question, json.dumps(data))


def questions_of(outcomes: Outcomes) -> tuple[Question, ...]:
    """Questions that rows say they answer.

    Raises:
        ConfigError: one is no question.
    """
    return tuple(map(read_question, outcomes.questions))


def remarks_of(outcomes: Outcomes) -> tuple[str, ...]:
    """Remarks on the nets of these rows, each line once."""
    lines = (line for question in questions_of(outcomes) for line in question.remarks)
    return tuple(dict.fromkeys(lines))


def _plain(word: str) -> str:
    """Replace characters that a file system or a filter of MLflow refuses."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._") else "_" for c in word)[:LONGEST]


def _shortened(names: Sequence[str]) -> str:
    if len(names) <= SHOWN_CLASSES:
        return ", ".join(names)
    return f"{', '.join(names[: SHOWN_CLASSES - 1])}, ... {names[-1]}"
