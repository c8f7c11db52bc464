"""Forms of an audit: each is valid for whoever reads it, whatever the names in it are."""

import json
import re
import sys
from dataclasses import replace
from typing import get_args

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from junitparser import JUnitXml

from fftune.auditing.bars import MEASURES
from fftune.auditing.formats import AuditForm, written
from fftune.auditing.formats.cyclonedx import cyclonedx
from fftune.auditing.formats.model_card import model_card, printable
from fftune.auditing.record import (
    AuditedBattery,
    AuditedData,
    AuditedModel,
    AuditRecord,
    Finder,
    Finding,
)
from fftune.config import ThreatModel
from fftune.config.serialization import from_json
from fftune.data.signing import Signature
from fftune.errors import DataError, ModelError
from tests.auditing.records import SAMPLED, audit_record

FUZZ = settings(
    max_examples=15,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
SPECIAL = (
    *("<script>alert(1)</script>", "a & b", "]]>", "&amp;", '"', "'", "a: b", "- x", "#x", "{{x}}"),
    *("null", "yes", "1e5", "0x1F", "*x", "&x", "!x", "%x", "@x", "`x`", "|", "a | b", ">", "?"),
    *("---", "\n---\n", "a\nb", "\r\n", "\t", "\x00", "\x1b[0m", "\x85", "\u2028", "\ufffe", "é"),
    *("🂡", "  x  ", "", "[x](y)", "<!-- x -->", "${x}", "\\", "\\n"),
)
NAMES = st.one_of(st.sampled_from(SPECIAL), st.text(max_size=20))
SHARES = st.one_of(st.sampled_from([0, 0.0, 1, 1 / 3, 5e-324, 1e-9]), st.floats(0, 1))
COUNTS = st.integers(0, 10**12)
HASHES = st.text("0123456789abcdef", min_size=16, max_size=16)
OUTCOMES = st.sampled_from(["pass", "fail", "inconclusive"])
FINDINGS = st.builds(
    Finding,
    measure=st.sampled_from(MEASURES),
    outcome=OUTCOMES,
    bar=SHARES,
    value=st.none() | SHARES,
    low=SHARES,
    high=SHARES,
    alpha_low=SHARES,
    alpha_high=SHARES,
    population=COUNTS,
    examined=COUNTS,
    found=COUNTS,
    denominator=COUNTS,
    population_interval=st.none() | st.tuples(SHARES, SHARES),
    certified_high=st.none() | SHARES,
    found_by=st.lists(
        st.builds(Finder, attack=NAMES, goal=NAMES, count=COUNTS, passes=COUNTS), max_size=2
    ).map(tuple),
    unexcluded=NAMES,
    sentence=NAMES,
)
SIGNATURES = st.builds(Signature, signer=NAMES, manifest_sha256=HASHES, tool=NAMES)
RECORDS = st.builds(
    AuditRecord,
    outcome=OUTCOMES,
    sentence=NAMES,
    findings=st.lists(FINDINGS, min_size=1, max_size=3).map(tuple),
    model=st.builds(
        AuditedModel,
        name=NAMES,
        hash=HASHES,
        weights=NAMES,
        weights_sha256=st.sampled_from(["", "0" * 64]),
        code=HASHES,
        origin=NAMES,
    ),
    data=st.builds(
        AuditedData,
        name=NAMES,
        split=st.sampled_from(["train", "test"]),
        hash=HASHES,
        n=COUNTS,
        available=COUNTS,
        wrong=COUNTS,
        signature=st.none() | SIGNATURES,
    ),
    threat=st.sampled_from([ThreatModel(), ThreatModel(norm="l2", eps=0.5)]),
    battery=st.builds(
        AuditedBattery,
        name=NAMES,
        tier=NAMES,
        attacks=st.lists(NAMES, max_size=2).map(tuple),
        hash=HASHES,
        device=NAMES,
        block_size=COUNTS,
    ),
    alpha=st.floats(0.001, 0.5),
    seed=COUNTS,
    fftune=NAMES,
    created=st.datetimes().map(lambda time: time.isoformat() + "+00:00"),
    command=NAMES,
    remarks=st.lists(NAMES, max_size=2).map(tuple),
)
STRICT = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.mark.slow
@FUZZ
@given(RECORDS)
def test_any_audit_is_valid_cyclonedx(record: AuditRecord) -> None:
    text = cyclonedx(record)
    assert STRICT.validate_str(text) is None
    card = json.loads(text)["metadata"]["component"]["modelCard"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    here = [one for one in metrics if ": this set, " in one["slice"]]
    for finding, metric in zip(record.findings, here, strict=True):
        low, high = metric["confidenceInterval"].values()
        assert (float(low), float(high)) == (finding.low, finding.high)
        value = None if finding.value is None else float(metric["value"])
        assert (metric["type"], value) == (finding.measure, finding.value)


@FUZZ
@given(RECORDS)
def test_any_audit_is_a_model_card(record: AuditRecord) -> None:
    card = ModelCard(model_card(record))
    assert card.data.model_name == printable(record.model.name)
    found = [one for one in card.data.eval_results if not one.metric_type.endswith("_certified")]
    for finding, result in zip(record.findings, found, strict=True):
        assert result.metric_type == finding.measure
        assert result.metric_value == ("undefined" if finding.value is None else finding.value)
        interval = result.metric_args["low"], result.metric_args["high"]
        assert interval == (finding.low, finding.high)
        assert result.dataset_name == printable(record.data.name)
    assert card.text.startswith("\n# Audit by fftune\n")


@FUZZ
@given(RECORDS)
def test_markdown_has_no_tag_and_whole_tables(record: AuditRecord) -> None:
    text = written(record, "markdown")
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>]", text)
    rows = [line for line in text.split("\n") if line.startswith("|")]
    assert len(rows) == 2 + len(record.findings)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}


@FUZZ
@given(RECORDS)
def test_any_audit_is_junit(record: AuditRecord) -> None:
    (suite,) = JUnitXml.fromstring(written(record, "junit").encode())
    assert [case.name for case in suite] == [finding.question for finding in record.findings]
    outcomes = [case.result[0].type if case.result else "pass" for case in suite]
    assert outcomes == [finding.outcome for finding in record.findings]


@FUZZ
@given(RECORDS)
def test_exact_json_reads_back(record: AuditRecord) -> None:
    assert from_json(AuditRecord, written(record, "json")) == record


@pytest.mark.parametrize("form", get_args(AuditForm))
def test_every_form_tells_verdict_net_and_data(form: AuditForm) -> None:
    text = written(audit_record(), form)
    assert "fail" in text.lower()
    assert "hypocritical" in text
    named = re.sub(r"\\", "", text)
    assert form == "junit" or ("fastat_small" in named and "cifar10" in named)


def test_cyclonedx_says_what_was_measured_and_what_it_rests_on() -> None:
    record = audit_record()
    document = json.loads(cyclonedx(record))
    model = document["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[2] == {
        "type": "hypocritical_risk",
        "value": "0.75",
        "slice": "cifar10, test: this set, 16 of 40 examples examined",
        "confidenceInterval": {"lowerBound": "0.41", "upperBound": "0.97"},
    }
    assert metrics[3]["confidenceInterval"] == {"lowerBound": "0.4", "upperBound": "0.98"}
    assert (metrics[4]["type"], metrics[4]["value"]) == ("hypocritical_risk, certified", "0.99")
    limits = " ".join(model["modelCard"]["considerations"]["technicalLimitations"])
    assert "lower bound" in limits and "data unsigned" in limits
    told = {one["name"]: one["value"] for one in document["metadata"]["properties"]}
    assert (told["fftune:outcome"], told["fftune:threat:eps"]) == ("fail", repr(8 / 255))
    assert cyclonedx(record) == cyclonedx(record)


def test_signed_data_name_their_signer() -> None:
    signature = Signature(signer="sha256:77", manifest_sha256="88", tool="model-signing 1.1.1")
    record = audit_record()
    record = replace(record, data=replace(record.data, signature=signature))
    told = json.dumps(json.loads(cyclonedx(record))["components"])
    assert '{"name": "fftune:data:signer", "value": "sha256:77"}' in told
    assert "all rests on whoever signed, sha256:77" in told


def test_an_undefined_rate_has_no_value() -> None:
    record = audit_record(findings=(replace(SAMPLED, value=None),))
    card = json.loads(cyclonedx(record))["metadata"]["component"]["modelCard"]
    assert "value" not in card["quantitativeAnalysis"]["performanceMetrics"][0]
    assert ModelCard(model_card(record)).data.eval_results[0].metric_value == "undefined"


def test_what_the_schema_refuses_is_never_written() -> None:
    with pytest.raises(DataError, match=r"no CycloneDX 1.6: metadata.timestamp: 'yesterday' is"):
        cyclonedx(audit_record(created="yesterday"))
    assert STRICT.validate_str('{"bomFormat": "CycloneDX", "specVersion": "1.6", "x": 1}')


@pytest.mark.parametrize(
    ("form", "library"), [("cyclonedx", "cyclonedx.schema"), ("model-card", "huggingface_hub")]
)
def test_without_the_library_the_extra_is_named(form: AuditForm, library: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelError, match=r"pip install 'fftune\[formats\]'"):
        written(audit_record(), form)
