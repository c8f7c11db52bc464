import pytest
from test_risk import TEN, outcomes

from fftune.errors import DataError
from fftune.outcomes import SCHEMA, Outcomes


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
    with pytest.raises(DataError, match=r"a\.parquet.*cannot be read"):
        Outcomes.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        Outcomes.read(tmp_path / "missing.parquet")


def test_of_nothing() -> None:
    assert len(Outcomes.of([])) == 0
