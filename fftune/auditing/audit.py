"""Audit of one net: bars in, a verdict with its paper trail out; the rows it rests on beside it."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fftune import __version__
from fftune.auditing.bars import Bar, read_bars
from fftune.auditing.findings import findings
from fftune.auditing.record import (
    AuditedBattery,
    AuditedData,
    AuditedModel,
    AuditRecord,
)
from fftune.auditing.sentences import verdict
from fftune.auditing.walk import Walk, clean_look
from fftune.config import (
    Backend,
    BatteryConfig,
    DataSpec,
    ModelSpec,
    Norm,
    Resources,
    Split,
    ThreatModel,
    config_hash,
    require,
)
from fftune.config.overrides import with_checked
from fftune.config.validation import require_word
from fftune.data.signing import Signature, signature_of
from fftune.evaluation.evaluate import Beside, Data, Model, evaluate
from fftune.evaluation.question import Question, questions_of
from fftune.inputs import AnyNet, built_for, given_data, given_net, threat_of
from fftune.models import device_of
from fftune.names import plain_name
from fftune.outcomes import Outcomes
from fftune.storage import sha256, storage_root
from fftune.verdict import worst

BLOCK = {"cpu": 32, "cuda": 256}
"""Examples attacked between two looks, by device: fewer stop earlier, more keep it busy."""
AHEAD = 8
"""Blocks that actors may do at once, where `--concurrency` names no number of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Question of an audit, to any net."""

    bars: tuple[Bar, ...]
    alpha: float = 0.05
    """Probability, at most, of a wrong PASS, and of a wrong FAIL."""
    examples: int | None = None
    """Most examples to attack; None: as many as it takes."""

    def __post_init__(self) -> None:
        require("bar", len(self.bars) > 0, "named, as in hypocritical_risk=.3", None)
        require("alpha", 0 < self.alpha < 1, "a probability in (0, 1), as in .05", self.alpha)
        few = self.examples is None or self.examples >= 1
        require("examples", few, ">= 1", self.examples)

    @property
    def attacks(self) -> bool:
        """A bar rests on attacks."""
        return any(bar.goal is not None for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Audit:
    """A verdict and the rows on which it rests."""

    record: AuditRecord
    outcomes: Outcomes
    """A row for every image as it is, and for every example and attack that was tried."""
    question: Question
    """Net, images and attacks, as rows tell of them."""

    @property
    def outcome(self) -> str:
        """`pass`, `fail` or `inconclusive`."""
        return self.record.outcome

    @property
    def name(self) -> str:
        """Name of its folder and its run, which no two audits of other questions share."""
        asked = [(f.measure, f.bar) for f in self.record.findings]
        settings = (self.question.hash, asked, self.record.alpha, self.record.examples)
        digest = config_hash(_Hashed(repr(settings)))[:8]
        data = self.record.data.name.partition(":")[0]
        return plain_name(f"{self.record.model.name[:40]}-{data[:30]}") + f"-{digest}"

    def __repr__(self) -> str:
        from fftune.auditing.formats.text import blocks
        from fftune.report.terminal import plain

        return plain(blocks(self.record))

    def _repr_html_(self) -> str:
        from fftune.auditing.page import summary

        return summary(self.record)


@dataclass(frozen=True)
class _Hashed:
    text: str


def audit(
    net: AnyNet,
    data: Any = None,
    bars: Mapping[str, float | str] | Sequence[str] = (),
    battery: str | BatteryConfig = "audit",
    *,
    eps: float | str | None = None,
    norm: Norm | None = None,
    weights: str | Path = "",
    weights_key: str = "",
    normalize: str = "",
    classes: int | Sequence[str] | None = None,
    split: Split = "test",
    alpha: float = 0.05,
    examples: int | None = None,
    signature: str | Path | None = None,
    public_key: str | Path | None = None,
    backend: Backend = "inline",
    resources: Resources | None = None,
    storage: str | Path | None = None,
    **settings: Any,
) -> Audit:
    """Judge a net by bars: pass, fail, or inconclusive.

    >>> found = audit(net, data=(x, y), bars={"hypocritical_risk": 0.3})  # doctest: +SKIP
    >>> found.outcome, found.record.findings  # doctest: +SKIP

    Args:
        net, data, battery, eps, norm, weights, weights_key, normalize, classes, split, backend,
            storage: as of `evaluate`.
        bars: bars by rate, as in `{"accuracy": 0.95}` or `["accuracy=.95"]`.
        alpha: probability, at most, of a wrong pass, and of a wrong fail.
        examples: most examples to attack; default as many as it takes.
        signature, public_key: files by which somebody vouches for data that have a name; see
            `fftune data sign`.
        resources: the cluster, for Ray.
        settings: fields of `BatteryConfig`, as in `device="cuda", seed=1, tier="full"`.

    Raises:
        ConfigError, DataError, ModelError: as of `evaluate`; or a bar is none.
        FftuneError: blocks were lost, so that there is no verdict.
    """
    require_word("split", split, Split)
    asked = Asked(bars=read_bars(bars), alpha=alpha, examples=examples)
    found = given_net(net, str(weights), weights_key=weights_key, normalize=normalize)
    battery = BatteryConfig(name=battery) if isinstance(battery, str) else battery
    images = given_data(found, data, split, classes)
    built = built_for(found, images, split)
    vouched = _signature(images, split, signature, public_key)
    name = found.name or (built.label if isinstance(built, ModelSpec) else type(built).__name__)
    return audited(
        name,
        built,
        images,
        asked,
        with_checked(battery, settings),
        threat=threat_of(found, eps, norm),
        split=split,
        signature=vouched,
        backend=backend,
        resources=resources,
        root=storage_root(str(storage)) if storage is not None else None,
    )


def audited(
    name: str,
    model: Model,
    data: Data,
    asked: Asked,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    split: Split = "test",
    signature: Signature | None = None,
    backend: Backend = "inline",
    resources: Resources | None = None,
    root: Path | None = None,
    command: str = "",
    beside: Beside = nullcontext,
) -> Audit:
    """Judge a net by what was asked; raises what `audit` does.

    Args:
        root: folder where finished blocks are kept and found again.
        command: the command as it can be typed again.
        beside: opened just before the attacks; see `evaluate`.
    """
    resources = resources or Resources()
    on_ray = backend == "ray"
    walk = Walk(
        bars=asked.bars,
        alpha=asked.alpha,
        examples=asked.examples,
        ahead=(resources.concurrency or AHEAD) if on_ray else 1,
    )
    result = evaluate(
        {name: model},
        data,
        _sized(battery, backend, resources),
        threat=threat,
        split=split,
        attacks=None if asked.attacks else (clean_look(threat),),
        backend=backend,
        resources=resources,
        root=root,
        make_plan=walk.plan,
        beside=beside,
    )[name]
    outcomes = result.complete()
    (question,) = questions_of(outcomes)
    spec = model if isinstance(model, ModelSpec) else None
    record = _record(walk, asked, question, spec, threat)
    record = replace(record, command=command, data=replace(record.data, signature=signature))
    return Audit(record, outcomes, question)


def _signature(
    images: Data, split: Split, signature: str | Path | None, public_key: str | Path | None
) -> Signature | None:
    files = [None if one is None else Path(one) for one in (signature, public_key)]
    if isinstance(images, DataSpec):
        return signature_of(images, split, *files)
    require("signature", files == [None, None], "left out for data in memory", signature)
    return None


def _sized(battery: BatteryConfig, backend: Backend, resources: Resources) -> BatteryConfig:
    """The battery with the block of an audit, unless it says its own."""
    if battery.block_size is not None:
        return battery
    on_gpu = bool(resources.share) if backend == "ray" else device_of(battery.device) == "cuda"
    return replace(battery, block_size=BLOCK["cuda" if on_gpu else "cpu"])


def _record(
    walk: Walk, asked: Asked, question: Question, spec: ModelSpec | None, threat: ThreatModel
) -> AuditRecord:
    told = question.battery + (f", tier {question.tier}" if question.tier else "")
    found = findings(walk, told, question.remarks)
    outcome = worst(one.outcome for one in found)
    attacks = (attack.name for one in walk.strata.values() for attack in one.attacks)
    return AuditRecord(
        outcome=outcome,
        sentence=verdict(outcome, found, told),
        findings=found,
        model=_model(question, spec),
        data=AuditedData(
            name=question.data,
            split=question.split,
            hash=question.dataset_hash,
            n=walk.total,
            available=question.available,
            wrong=walk.wrong,
            signature=None,
        ),
        threat=threat,
        battery=AuditedBattery(
            name=question.battery,
            tier=question.tier,
            attacks=tuple(dict.fromkeys(attacks)),
            hash=question.suite,
            device=question.device,
            block_size=question.block_size,
        ),
        alpha=asked.alpha,
        examples=asked.examples,
        seed=question.seed,
        fftune=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command="",
        remarks=question.remarks,
    )


def _model(question: Question, spec: ModelSpec | None) -> AuditedModel:
    file = Path(spec.weights) if spec is not None and spec.weights else None
    return AuditedModel(
        name=question.net,
        hash=question.model_hash,
        weights="" if file is None else file.name,
        weights_sha256="" if file is None else sha256(file),
        code=question.code,
        origin=question.origin,
    )
