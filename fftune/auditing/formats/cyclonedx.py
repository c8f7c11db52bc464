"""An audit as CycloneDX ML-BOM: the net with its model card, the data, and what was measured.

cyclonedx-python-lib has no model of a model card (11.12), so the document is plain JSON, which the
library's strict validator compares with the schema of CycloneDX 1.6 before anybody gets it.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from fftune.auditing.record import AuditRecord, Finding
from fftune.auditing.sentences import told_battery, told_signature
from fftune.errors import DataError
from fftune.models.extras import extra

SPEC = "1.6"
DATA = "data"
"""Name of the data within the document, by which the model card refers to them."""


def cyclonedx(record: AuditRecord) -> str:
    """The audit as a bill of materials in JSON; equal audits give equal documents.

    Raises:
        DataError: the schema refuses it, as where `created` is no time.
        ModelError: cyclonedx-python-lib is not installed.
    """
    schema = extra("cyclonedx.schema", "formats", "--format cyclonedx")
    validation = extra("cyclonedx.validation.json", "formats", "--format cyclonedx")
    text = json.dumps(_document(record), indent=2, allow_nan=False) + "\n"
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    if (error := validator.validate_str(text)) is not None:
        cause = getattr(error, "data", error)
        path = ".".join(map(str, getattr(cause, "absolute_path", ())))
        reason = getattr(cause, "message", str(error))
        raise DataError(f"audit of {record.model.name!r} is no CycloneDX {SPEC}: {path}: {reason}")
    return text


def _document(record: AuditRecord) -> dict[str, Any]:
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, record.json)}",
        "version": 1,
        "metadata": {
            "timestamp": record.created,
            "tools": {
                "components": [
                    {"type": "application", "name": "fftune", "version": record.fftune},
                ]
            },
            "component": _model(record),
            "properties": _properties(_audit(record)),
        },
        "components": [_data(record)],
    }


def _model(record: AuditRecord) -> dict[str, Any]:
    model = record.model
    whole = [{"alg": "SHA-256", "content": model.weights_sha256}] if model.weights_sha256 else []
    about = {
        "model:hash": model.hash,
        "model:code": model.code,
        "model:weights": model.weights,
        "model:origin": model.origin,
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": model.name,
        **({"hashes": whole} if whole else {}),
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": "image-classification",
                "datasets": [{"ref": DATA}],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    metric for finding in record.findings for metric in _metrics(finding, record)
                ]
            },
            "considerations": {"technicalLimitations": list(_limitations(record))},
        },
        "properties": _properties(about),
    }


def _metrics(finding: Finding, record: AuditRecord) -> Iterator[dict[str, Any]]:
    """The rate with its bounds on this set; beyond it; and the bound that no attack can pass."""
    of = f"{record.data.name}, {record.data.split}"
    drawn = f"{finding.examined} of {finding.population} examples examined"
    known = {} if finding.value is None else {"value": repr(finding.value)}
    yield {
        "type": finding.measure,
        **known,
        "slice": f"{of}: this set, {drawn}",
        "confidenceInterval": _interval(finding.low, finding.high),
    }
    if finding.population_interval is not None:
        yield {
            "type": finding.measure,
            **known,
            "slice": f"{of}: beyond this set, if it is a random sample",
            "confidenceInterval": _interval(*finding.population_interval),
        }
    if finding.certified_high is not None:
        side = "at most" if finding.at_most else "at least"
        yield {
            "type": f"{finding.measure}, certified",
            "value": repr(finding.certified_high),
            "slice": f"{of}: {side} this against any attack in the ball",
        }


def _interval(low: float, high: float) -> dict[str, str]:
    return {"lowerBound": repr(low), "upperBound": repr(high)}


def _limitations(record: AuditRecord) -> Iterator[str]:
    """Doubts that were not excluded, and who vouches for the data."""
    for finding in record.findings:
        if finding.unexcluded:
            yield f"{finding.question}: {finding.unexcluded}"
    yield told_signature(record.data.signature)
    yield from record.remarks


def _audit(record: AuditRecord) -> dict[str, str]:
    """The verdict, and the settings under which it holds."""
    bars = {
        f"bar:{finding.measure}": f"{finding.outcome}, asked {finding.question}: {finding.sentence}"
        for finding in record.findings
    }
    return {
        "outcome": record.outcome,
        "sentence": record.sentence,
        **bars,
        "alpha": repr(record.alpha),
        "threat:norm": record.threat.norm,
        "threat:eps": repr(record.threat.eps),
        "battery": told_battery(record.battery),
        "battery:attacks": ", ".join(record.battery.attacks),
        "battery:hash": record.battery.hash,
        "seed": str(record.seed),
        "command": record.command,
    }


def _data(record: AuditRecord) -> dict[str, Any]:
    data = record.data
    about = {"data:hash": data.hash, "data:split": data.split, "data:n": str(data.n)}
    if (signature := data.signature) is not None:
        about |= {
            "data:signer": signature.signer,
            "data:manifest-sha256": signature.manifest_sha256,
            "data:signed-by": signature.tool,
        }
    size = f"{data.n} of {data.available} examples of the {data.split} split, {data.wrong} of them"
    return {
        "type": "data",
        "bom-ref": DATA,
        "name": data.name,
        "data": [
            {
                "type": "dataset",
                "name": data.name,
                "description": f"{size} wrong when clean; {told_signature(data.signature)}",
            }
        ],
        "properties": _properties(about),
    }


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": f"fftune:{key}", "value": value} for key, value in values.items() if value]
