import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_risk import TEN, outcomes

from fftune.errors import DataError
from fftune.outcomes import SCHEMA, Outcomes, _say_old, questions_in
from fftune.risk import RiskCounts, UnionCounts


def test_parts_merge_in_any_order() -> None:
    a, b = TEN.where(goal="adversarial").table, TEN.where(goal="hypocritical").table
    merged = Outcomes.of([b.slice(5), a, b.slice(0, 5)])
    assert merged.table.equals(TEN.table)


def test_two_rows_for_one_key_are_refused() -> None:
    with pytest.raises(DataError, match="two rows for one key"):
        Outcomes.of([TEN.table, TEN.table.slice(3, 1)])


def test_parquet_round_trip(tmp_path) -> None:
    other = outcomes([1], [1], [0], [1], split="validation")
    TEN.write(tmp_path / "a.parquet")
    other.write(tmp_path / "b.parquet")
    back = Outcomes.read(tmp_path / "b.parquet", tmp_path / "a.parquet")
    assert back.table.schema.names == SCHEMA.names
    assert back.table.equals(Outcomes.of([TEN.table, other.table]).table)
    assert len(back) == 22
    assert back.values("split") == {"test", "validation"}


def test_damaged_files_are_refused(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    TEN.write(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        DataError, match=r"a\.parquet' is damaged: .*; delete it, and `fftune evaluate`"
    ):
        Outcomes.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        Outcomes.read(tmp_path / "missing.parquet")


def test_of_nothing() -> None:
    assert len(Outcomes.of([])) == 0


def test_merging_keeps_what_every_part_answers(tmp_path) -> None:
    a, b = (
        TEN.where(goal=goal).answering({"asked": goal}) for goal in ("adversarial", "hypocritical")
    )
    both = Outcomes.of([a.table, b.table, TEN.where(goal="none").table])
    assert both.questions == ({"asked": "adversarial"}, {"asked": "hypocritical"})
    assert Outcomes.of([both.table.slice(0, 3), both.table.slice(3)]).questions == both.questions
    both.write(tmp_path / "a.parquet")
    assert Outcomes.read(tmp_path / "a.parquet").questions == both.questions
    assert questions_in(tmp_path / "a.parquet") == both.questions


def test_rows_of_more_examples_than_were_asked_about_are_refused(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    TEN.answering({"split": "test", "examples": 10}).write(path)
    assert len(Outcomes.read(path)) == 20
    TEN.answering({"split": "test", "examples": 9}).write(path)
    with pytest.raises(DataError, match="hold 10 examples, the question is about 9"):
        Outcomes.read(path)
    TEN.answering({"split": "validation", "examples": 9}).write(path)
    assert len(Outcomes.read(path)) == 20


def old(table: pa.Table, path, defense: str) -> None:
    """As version 1 wrote rows, for which the net stood behind a defense."""
    at = table.schema.names.index("defense")
    names = pa.array([defense] * len(table)).cast(table.schema.field(at).type)
    table = table.set_column(at, table.schema.field(at), names)
    pq.write_table(table.drop_columns("pred_clean_defended").replace_schema_metadata({}), path)


def test_rows_of_schema_1_are_read_and_tell_no_risk_of_a_defended_net(tmp_path, caplog) -> None:
    bare, hedged = tmp_path / "bare.parquet", tmp_path / "hedged.parquet"
    old(TEN.table, bare, "none")
    old(TEN.table, hedged, "hedge")
    _say_old.cache_clear()
    for _ in range(2):
        found = Outcomes.read(bare)
    assert caplog.text.count("outcomes of schema 1") == 1
    of = {"attack": next(iter(TEN.values("attack"))), "split": "test"}
    assert RiskCounts.of(found, **of) == RiskCounts.of(TEN, **of)
    with pytest.raises(DataError, match=r"^rows of schema 1 lack the defended model's"):
        RiskCounts.of(Outcomes.read(hedged), **of)
    with pytest.raises(DataError, match="rows of schema 1"):
        UnionCounts.of(Outcomes.read(hedged), split="test")
