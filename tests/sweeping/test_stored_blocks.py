"""A study that was stored when 256 was the default size of a block goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from fftune.config import SweepConfig
from fftune.errors import StudyError
from fftune.sweeping.study_dir import open_study


def sized(config: SweepConfig, size: int | None) -> SweepConfig:
    return replace(config, battery=replace(config.battery, block_size=size))


def test_the_former_default_is_what_is_not_said_now(quick: SweepConfig, tmp_path: Path) -> None:
    for stored, asked in ((256, None), (None, None), (256, 256), (100, 100)):
        root = tmp_path / f"{stored}-{asked}"
        for size in (stored, asked):
            with open_study(sized(quick, size), root, resume=True) as study:
                (study.path / "trials").mkdir(exist_ok=True)


def test_a_size_that_was_chosen_is_kept(quick: SweepConfig, tmp_path: Path) -> None:
    for stored, asked in ((100, None), (None, 256), (None, 100)):
        root = tmp_path / f"{stored}-{asked}"
        with open_study(sized(quick, stored), root, resume=True) as study:
            (study.path / "trials").mkdir()
        expected = f"battery.block_size was {stored}, now {asked}"
        with (
            pytest.raises(StudyError, match=expected),
            open_study(sized(quick, asked), root, resume=True),
        ):
            pass
