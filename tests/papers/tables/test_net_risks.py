"""Nets that answer one class, told from good ones."""

import numpy as np
import pyarrow as pa
import pytest

from fftune.outcomes import SCHEMA, Outcomes
from fftune.papers.tables.net_risks import answers_one_class
from tests.papers.synthetic_rows import of_one_class


def first(count: int, rows: Outcomes) -> Outcomes:
    """The rows of the first images, whose labels alternate."""
    kept = rows.table.filter(pa.array(rows.table["id"].to_numpy() < count))
    at = SCHEMA.get_field_index("y")
    y = pa.array((kept["id"].to_numpy() % 3).astype(np.int32))
    return Outcomes(kept.set_column(at, SCHEMA.field(at), y))


@pytest.mark.parametrize(("count", "expected"), [(19, False), (20, True), (300, True)])
def test_few_images_that_are_answered_alike_say_nothing(count: int, expected: bool) -> None:
    """As the mistakes of a good net, of which alone some evaluations have rows."""
    assert answers_one_class(first(count, of_one_class(wrong=9000))) is expected


@pytest.mark.parametrize(("others", "expected"), [(15, True), (16, False)])
def test_an_image_counts_once_however_often_it_is_attacked(others: int, expected: bool) -> None:
    """Of 300 images 95 % are 285; attacks that went to mistakes alone have more rows of them."""
    rows = first(300, of_one_class(wrong=9000)).table
    at = SCHEMA.get_field_index("pred_clean")
    pred = (rows["id"].to_numpy() >= others).astype(np.int32)
    rows = rows.set_column(at, SCHEMA.field(at), pa.array(pred))
    again = rows.filter(pa.array(rows["id"].to_numpy() < others))
    assert answers_one_class(Outcomes(pa.concat_tables([rows, again, again]))) is expected
