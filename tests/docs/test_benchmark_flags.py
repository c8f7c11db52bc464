"""Mistakes in the benchmarks' flags end at once, with a line and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.forked import Ended, script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def refused(done: Ended | subprocess.CompletedProcess[str]) -> tuple[int, str]:
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("train.py", "--model nope", "--model must be known: unknown model 'nope'"),
        ("train.py", "--batch 0", "--batch: must be a whole number >= 1, got '0'"),
        ("attacks.py", "autoattack --models nowhere", "--models must be a folder with"),
        ("noise.py", "--device tpu", "--device: must be cpu or cuda, got 'tpu'"),
    ],
)
def test_a_wrong_flag_is_a_line(name, flags, said) -> None:
    code, line = refused(script(BENCHMARKS / name, *flags.split()))
    assert code == 2
    assert said in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_a_device_that_is_missing_is_a_line() -> None:
    code, line = refused(script(BENCHMARKS / "noise.py", "--device", "cuda"))
    assert code == 2
    assert "--device: is cuda, and torch sees none here" in line


def test_parts_that_do_not_exist_are_not_passed(tmp_path) -> None:
    env = {"PYTHONPATH": str(BENCHMARKS.parent), "PYTHON": sys.executable, "DEVICE": "cpu"}
    command = ["bash", str(BENCHMARKS / "gpu.sh"), str(tmp_path)]
    env |= {"ONLY": "noise noises"}
    code, line = refused(
        subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    )
    assert code == 2
    assert line.startswith("ONLY must be names among equality")
