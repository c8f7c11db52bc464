"""The record of an audit: exact JSON both ways, and shares that are shares."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fftune.auditing.record import AuditRecord
from fftune.errors import ConfigError, StorageError
from tests.auditing.records import SAMPLED, audit_record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, record = tmp_path / "audit.json", audit_record()
    record.write(path)
    assert AuditRecord.read(path) == record
    assert json.loads(path.read_text())["findings"][1]["found_by"][0]["attack"] == "pgd-20"
    assert record.exit_code == 3


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"outcome": "fail"', '"outcome": "failed"', "outcome"),
        ('"examined": 16', '"examind": 16', "examined"),
        ('"low": 0.41', '"low": 1.41', "low must be in [0, 1]"),
        ('"value": 0.75', '"value": NaN', "value must be in [0, 1]"),
    ],
)
def test_another_file_is_refused_by_its_name(tmp_path: Path, was: str, now: str, said) -> None:
    path = tmp_path / "audit.json"
    text = audit_record().json
    assert was in text
    path.write_text(text.replace(was, now))
    with pytest.raises(StorageError) as refused:
        AuditRecord.read(path)
    assert "audit.json" in str(refused.value) and said in str(refused.value)


@pytest.mark.parametrize("name", ["bar", "low", "high", "value", "certified_high"])
def test_no_share_lies_beyond_all(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(SAMPLED, **{name: 1.01})
