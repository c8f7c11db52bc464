"""What the set-up promises: pins of no host in particular, FFCV compiled, a free second call."""

import re
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (CHECKOUT / "constraints.txt").read_text(), re.M))


def test_pins_are_exact_and_name_no_host() -> None:
    text = (CHECKOUT / "constraints.txt").read_text()
    assert len(PINS) == len(text.splitlines())
    assert "://" not in text


def test_every_package_of_the_card_is_installed_at_its_pin() -> None:
    card = ("ray", "torch", "torchvision", "ffcv", "mlflow", "optuna", "pandas", "pytest")
    assert {name: version(name) for name in card} == {name: PINS[name] for name in card}


def test_no_package_slows_the_start_of_every_process_of_rays() -> None:
    """Ray imports jsonschema, and that, where it finds it, a grammar that takes 1.7 s to build."""
    assert "rfc3987-syntax" not in PINS


@pytest.mark.slow
def test_ffcv_and_torchvision_import() -> None:
    """torchvision's operators are compiled against one torch: a mismatch shows here."""
    code = (
        "import os; os.environ['NUMBA_THREADING_LAYER'] = 'omp'\n"
        "import torch, torchvision, ffcv.libffcv\n"
        "boxes, scores = torch.tensor([[0., 0., 1., 1.]]), torch.tensor([1.])\n"
        "assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [0]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_second_call_takes_seconds() -> None:
    setup = [CHECKOUT / "clusters/setup.sh", "--dev"]
    if not (CHECKOUT / ".venv/.fftune-setup").exists():
        pytest.skip("this checkout was not set up by clusters/setup.sh")
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(setup, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 5
