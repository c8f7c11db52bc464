"""The file of a showcase: read as it was written, or refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from fftune.errors import DataError
from fftune.hedge_study.showcase_schema import (
    Flips,
    Gaps,
    ImageStrip,
    Linear,
    Showcase,
    Similarity,
    Strip,
    Surface,
)

SHOWCASE = Showcase(
    settings="5f3a",
    hedge="hedge",
    n=4,
    flips=(
        Flips(
            attack="pgd-20",
            defense="hedge",
            n=4,
            right_before=1,
            right_after=2,
            false_to_true=1,
            true_to_false=0,
            false_to_false=1,
        ),
    ),
    gaps=(Gaps(estimator="gradient", false_to_true=(0.5, 1.0), true_to_false=()),),
    similarities=(Similarity(pair="natural, attacked", values=(0.9, float("nan"))),),
    second_attack="fgsm",
    linear=(Linear(case="a", natural=0.9, attacked=0.1, hedged=0.5),),
    strips=(Strip(kind="unmasked", id=3, pictures=(ImageStrip(caption="3", png="aGk="),)),),
    surfaces=(
        Surface(
            id=3,
            false="8",
            true="3",
            at=(-1.0, 1.0),
            false_loss=((0.0, 1.0),),
            true_loss=((1.0, 0.0),),
        ),
    ),
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    SHOWCASE.write(tmp_path / "exhibit.json")
    assert repr(Showcase.read(tmp_path / "exhibit.json")) == repr(SHOWCASE)  # nan is not nan


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(at for key, inner in items for at in places(inner, (*path, key)))]


@pytest.mark.parametrize("wrong", [{"a": None}, None, [["x"]]], ids=str)
def test_a_value_of_another_type_is_one_line(tmp_path: Path, wrong: Any) -> None:
    file = tmp_path / "exhibit.json"
    SHOWCASE.write(file)
    text = file.read_text()
    tried = places(json.loads(text))[1:]
    assert len(tried) > 40
    for *ahead, last in tried:
        data = inner = json.loads(text)
        for key in ahead:
            inner = inner[key]
        inner[last] = wrong
        file.write_text(json.dumps(data))
        with pytest.raises(DataError, match="exhibit.json") as refused:
            Showcase.read(file)
        assert len(str(refused.value).splitlines()) == 1
