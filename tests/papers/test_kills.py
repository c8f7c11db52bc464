"""Comparison of tables after kills: it cannot succeed by comparing nothing."""

from tests.papers.kills import compared


def test_no_tables_are_no_success() -> None:
    assert compared({}, {}) == ["no tables were written"]
    assert compared({"a.csv": "1"}, {}) == ["no tables were written"]


def test_every_table_that_differs_or_lacks_is_named() -> None:
    undisturbed = {"a.csv": "1", "b.csv": "2"}
    assert compared(dict(undisturbed), undisturbed) == []
    assert compared({"a.csv": "0"}, undisturbed) == ["a.csv differs", "b.csv differs"]
    assert compared({**undisturbed, "c.csv": "3"}, undisturbed) == ["c.csv differs"]
