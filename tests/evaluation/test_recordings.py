"""What an evaluation records on a device: once for all blocks, and not beyond its end."""

from dataclasses import replace

import pytest
import torch
from subjects import job_of, rows_of

from fftune import devices
from fftune.capture import use
from fftune.capture.captured import _STORE
from fftune.capture.tape import Tape
from fftune.comparison import moved
from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.evaluation.job import under_test
from tests.brief import BRIEF

THREAT = ThreatModel(eps=0.02)


def found(net, data, battery: BatteryConfig, **settings):
    """Rows, and what the tape recorded and replayed meanwhile."""
    tape = Tape()
    job = job_of(net, data, battery, threat=THREAT, **settings)
    with use(tape), under_test(net, job) as subject:
        rows = rows_of(subject, job)
        kept = len(_STORE.recordings)
    return rows, tape, kept


@pytest.mark.some(1)
@pytest.mark.parametrize("name", ["risks", "ensemble"])
def test_rows_are_the_plain_ones_and_blocks_share_recordings(toy, blobs, name: str) -> None:
    """One net's copies stay the same modules from block to block."""
    tier = "screen" if name == "ensemble" else None
    battery = BatteryConfig(name=name, steps=4, tier=tier, block_size=20, precision="fp32")
    job = job_of(toy, blobs, battery, threat=THREAT)
    with under_test(toy, job) as subject:
        plain = rows_of(subject, job)
    rows, tape, kept = found(toy, blobs, battery)
    assert rows.table.equals(plain.table)
    assert kept and tape.replays
    if name == "risks":  # all blocks have one shape: three of them would do
        few = blobs.select(torch.arange(60), "test")
        assert tape.records == found(toy, few, battery)[1].records


def test_nothing_stays_recorded_of_a_net_that_was_evaluated(toy, blobs) -> None:
    battery = BatteryConfig(steps=4, block_size=20, precision="fp32")
    before = len(_STORE.recordings)
    for seed in range(3):
        *_, kept = found(toy, blobs, replace(battery, seed=seed))
        assert kept > before
        assert len(_STORE.recordings) == before


@pytest.mark.slow
def test_a_defenses_steps_are_recorded_too(toy, blobs) -> None:
    battery = BatteryConfig(steps=2, block_size=20, precision="fp32")
    defense = DefenseConfig(**BRIEF, names=("hedge",), steps=3, repeats=1, draws=1)
    few = blobs.select(torch.arange(80), "test")
    job = job_of(toy, few, battery, threat=THREAT, defense=defense)
    with under_test(toy, job) as subject:
        plain = rows_of(subject, job)
    assert found(toy, few, battery, defense=defense)[0].table.equals(plain.table)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["risks", "ensemble"])
def test_sizes_of_a_gpu_move_no_verdict(toy, blobs, name: str, monkeypatch) -> None:
    """Its widths, buckets, chunks and padded pieces, on a CPU that records."""
    tier = "screen" if name == "ensemble" else None
    battery = BatteryConfig(name=name, steps=4, tier=tier, precision="bf16", device="cpu")
    defense = DefenseConfig(**BRIEF, names=("hedge",), steps=2, repeats=2, draws=1)
    few = blobs.select(torch.arange(45), "test")
    plain = found(toy, few, battery, defense=defense)[0]
    monkeypatch.setitem(devices._POLICIES, "cpu", replace(devices.CUDA, piece=32))
    assert moved(plain, found(toy, few, battery, defense=defense)[0]) == ()
