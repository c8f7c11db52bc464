"""A file that a user names is replaced by one of its kind alone: a slip costs nobody a key."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fftune.auditing.formats.junit import read_junit
from fftune.auditing.keeping import PAGE, RECORD, ROWS, require_place
from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.errors import StorageError
from fftune.evaluation.saved_images import COLUMNS, INDEX, ImageFolder
from fftune.report.evaluations import EvaluationRecord
from fftune.storage import require_replaceable
from tests.auditing.records import audit_record
from tests.two_nets import BEFORE

FOREIGN = {
    "a key": b"-----BEGIN EC PRIVATE KEY-----\nMHcC\n",
    "JSON": b'{"mine": 1}',
    "a list in JSON": b"[]",
    "XML": b"<?xml version='1.0'?><page><testsuites/></page>",
    "XML behind many comments": b"<!-- a -->" * 100 + b"<page/>",
    "Latin-1": b"\xe9t\xe9",
    "nothing": b"",
}


def rows(path: Path) -> None:
    settings = {"threat": ThreatModel(), "defense": DefenseConfig(), "data": "digits"}
    EvaluationRecord(root=path.parent, rows=path, **settings).check(BatteryConfig())


def junit(path: Path) -> None:
    require_replaceable(path, "JUnit file", read_junit)


WRITTEN: dict[str, tuple[str, Callable[[Path], None]]] = {
    "rows": ("rows.parquet", rows),
    "summary of rows": ("rows.parquet.json", lambda path: rows(path.with_suffix(""))),
    "JUnit file": ("gate.xml", junit),
    "page of an audit": (PAGE, lambda path: require_place(path.parent)),
    "record of an audit": (RECORD, lambda path: require_place(path.parent)),
    "rows of an audit": (ROWS, lambda path: require_place(path.parent)),
    "saved images": (INDEX, lambda path: ImageFolder(folder=path.parent).check()),
}


@pytest.mark.parametrize("what", WRITTEN)
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_left(what: str, kind: str, tmp_path: Path) -> None:
    name, check = WRITTEN[what]
    check(tmp_path / name)  # nothing is there
    (tmp_path / name).write_bytes(FOREIGN[kind])
    with pytest.raises(StorageError, match=f"{name}' is no .* and would be replaced: name another"):
        check(tmp_path / name)


def test_one_of_its_kind_is_replaced(tmp_path: Path) -> None:
    BEFORE.write(tmp_path / "rows.parquet")
    (tmp_path / "rows.parquet.json").write_text('{"question": {}}')
    rows(tmp_path / "rows.parquet")
    for text in ("<testsuites/>", "<?xml version='1.0'?>\n<!-- a -->\n<testsuite name='b'/>"):
        (tmp_path / "gate.xml").write_text(text)
        junit(tmp_path / "gate.xml")
    (tmp_path / INDEX).write_text(",".join(COLUMNS) + "\r\n")
    ImageFolder(folder=tmp_path).check()
    audit_record().write(tmp_path / RECORD)
    (tmp_path / PAGE).touch()
    require_place(tmp_path)


def test_a_defect_of_ours_is_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(ZeroDivisionError):
        require_replaceable(tmp_path / "a", "number", lambda _: 1 / 0)


def test_what_cannot_be_read_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a folder, and a file is needed there"):
        require_replaceable(tmp_path, "list", lambda path: json.loads(path.read_text()))
