"""A clean environment with the wheel in it, and a user's first commands there."""

import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path

VERBS = [
    "fftune --version",
    "fftune data list",
    "fftune train standard --scale tiny --optimizer.epochs 1 --name first",
    "fftune evaluate {storage}/runs/first --battery risks --examples 64",
    "fftune doctor {storage}/runs/first/checkpoint --examples 16",
    "fftune sweep thrm --scale tiny --trials 2 --base.optimizer.epochs 1 --backend inline",
    "fftune sweep trades --scale tiny --trials 2 --base.optimizer.epochs 1 --concurrency 1",
    "fftune report thrm-tiny trades-tiny",
]
"""A walk through the verbs: on this process, on a private Ray, into MLflow."""
NAMED = ("torch", "torchvision", "ray", "mlflow", "optuna", "numpy", "pandas", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One corner of what the metadata promises.

    Args:
        python: version of the interpreter, as in `3.12`.
        resolution: `highest`, or `lowest-direct`: every requirement at its lower bound.
    """

    python: str
    resolution: str

    def __str__(self) -> str:
        return f"Python {self.python}, {self.resolution}"


def interpreter(uv: Path, version: str) -> str | None:
    """Path of an installed interpreter of a version, None where there is none."""
    command = [uv, "python", "find", "--system", "--no-python-downloads", version]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def install(uv: Path, python: str, wheel: Path, folder: Path, resolution: str) -> str:
    """A clean environment with the wheel and what it asks for, as wheels: nothing is compiled.

    Returns:
        The versions that it got.

    Raises:
        subprocess.CalledProcessError: a requirement has no wheel; `stderr` names it.
    """
    venv = folder / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", python, venv], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", venv / "bin/python"]
    command += ["--no-build", "--resolution", resolution, wheel, *requirements(wheel)]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    frozen = subprocess.run(
        [uv, "pip", "freeze", "--quiet", "--python", venv / "bin/python"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    versions = dict(line.split("==", 1) for line in frozen if "==" in line)
    return ", ".join(f"{name} {versions.get(name, 'missing')}" for name in NAMED)


def requirements(wheel: Path) -> list[str]:
    """What a wheel asks for without extras; asked for directly, `lowest-direct` applies to it."""
    with zipfile.ZipFile(wheel) as archive:
        (about,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = message_from_string(archive.read(about).decode())
    return [r for r in message.get_all("Requires-Dist", []) if "extra ==" not in r]


def walk(folder: Path) -> Iterator[tuple[str, int, float, str]]:
    """Each command with its exit code, seconds, and the last line of what it said."""
    storage, place = folder / "storage", folder / "elsewhere"
    storage.mkdir()
    place.mkdir()
    environment = {
        **{key: os.environ[key] for key in ("HOME", "TMPDIR", "LANG") if key in os.environ},
        "PATH": f"{folder}/venv/bin:/usr/bin:/bin",
        "FFTUNE_STORAGE": str(storage),
        "RAY_raylet_start_wait_time_s": "180",
        "OMP_NUM_THREADS": "1",
    }
    for verb in VERBS:
        began = time.monotonic()
        done = subprocess.run(
            verb.format(storage=storage).split(),
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        yield verb, done.returncode, time.monotonic() - began, said[-1] if said else ""
    shutil.rmtree(storage)
