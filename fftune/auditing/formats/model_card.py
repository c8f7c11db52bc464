"""An audit as a model card of the Hugging Face hub: `model-index` in YAML, then all in words."""

from typing import Any

from fftune.auditing.formats.text import markdown
from fftune.auditing.record import AuditRecord, Finding
from fftune.auditing.sentences import NAMES, told_bounds
from fftune.errors import DataError
from fftune.models.extras import extra

TAGS = ["robustness", "fftune"]


def model_card(record: AuditRecord) -> str:
    """The audit as a `README.md` of a model's repository.

    Raises:
        DataError: what huggingface_hub reads back is not what was written.
        ModelError: huggingface_hub is not installed.
    """
    hub = extra("huggingface_hub", "formats", "--format model-card")
    results = [
        result
        for finding in record.findings
        for result in _results(finding, record, hub.EvalResult)
    ]
    name = printable(record.model.name)
    data = hub.ModelCardData(
        model_name=name,
        eval_results=results,
        pipeline_tag="image-classification",
        tags=TAGS,
    )
    text = f"---\n{data.to_yaml()}\n---\n\n# Audit by fftune\n\n{markdown(record)}"
    read = hub.ModelCard(text).data
    if (read.model_name, read.eval_results) != (name, results):
        raise DataError(f"audit of {name!r} cannot be told in YAML, as its names are")
    return text


def printable(text: str) -> str:
    """A text whose line breaks and control characters are spelled out: YAML would lose some."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _results(finding: Finding, record: AuditRecord, result: Any) -> list[Any]:
    """The rate, with its bounds in the metric's name; and the bound that no attack can pass."""
    name = NAMES[finding.measure]
    bounds = told_bounds(finding)
    drawn = f"{finding.examined:,} of {finding.population:,} examined"
    data, settings = record.data, _settings(record)
    about = {
        "task_type": "image-classification",
        "dataset_type": printable(data.name),
        "dataset_name": printable(data.name),
        "dataset_split": data.split,
        "dataset_args": {"n": data.n, "hash": f"fftune:{data.hash}"},
    }
    own = {"bar": finding.bar, "outcome": finding.outcome, "low": finding.low, "high": finding.high}
    found = result(
        **about,
        metric_type=finding.measure,
        metric_name=f"{name} ({bounds}; {drawn})",
        metric_value="undefined" if finding.value is None else finding.value,
        metric_args=own | settings,
    )
    if finding.certified_high is None:
        return [found]
    certified = result(
        **about,
        metric_type=f"{finding.measure}_certified",
        metric_name=f"{name} ({'at most' if finding.at_most else 'at least'}, certified)",
        metric_value=finding.certified_high,
        metric_args=settings,
    )
    return [found, certified]


def _settings(record: AuditRecord) -> dict[str, Any]:
    return {
        "norm": record.threat.norm,
        "eps": record.threat.eps,
        "battery": printable(record.battery.name),
        "tier": printable(record.battery.tier),
        "attacks": [printable(attack) for attack in record.battery.attacks],
        "seed": record.seed,
        "fftune": printable(record.fftune),
    }
