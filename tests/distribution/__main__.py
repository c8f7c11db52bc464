"""Wheel and sdist in clean environments: `make dist` runs it after it has built them.

    python -m tests.distribution DIST [--pythons 3.11 3.12] [--resolutions highest lowest-direct]

Exit code 1 if a command failed anywhere. A Python that is not installed is resolved only: whether
every requirement has a version for it; the line says so.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.distribution.archives import mistakes
from tests.distribution.walk import Environment, install, interpreter, requirements, walk

PYTHONS = ["3.11", "3.12", "3.13"]
RESOLUTIONS = ["highest", "lowest-direct"]
UV = Path(sys.executable).with_name("uv")


def main() -> None:
    """Check the archives, then walk through each environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--pythons", nargs="+", default=PYTHONS)
    parser.add_argument("--resolutions", nargs="+", default=RESOLUTIONS, choices=RESOLUTIONS)
    given = parser.parse_args()
    (wheel,), (sdist,) = given.dist.glob("*.whl"), given.dist.glob("*.tar.gz")
    wrong = mistakes(wheel, sdist)
    print("\n".join(wrong) or f"{wheel.name}, {sdist.name}: as they should be", flush=True)
    failed = bool(wrong)
    for python in given.pythons:
        for resolution in given.resolutions:
            failed |= not tried(Environment(python=python, resolution=resolution), wheel)
    sys.exit(failed)


def tried(environment: Environment, wheel: Path) -> bool:
    """Whether all of an environment's commands passed; prints a line of each."""
    python = interpreter(UV, environment.python)
    if python is None:
        return resolved(environment, wheel)
    with tempfile.TemporaryDirectory(prefix="fftune-dist-") as folder:
        try:
            got = install(UV, python, wheel, Path(folder), environment.resolution)
        except subprocess.CalledProcessError as error:
            print(f"{environment}: cannot be installed\n{error.stderr}", flush=True)
            return False
        print(f"{environment}: {got}", flush=True)
        passed = True
        for verb, code, seconds, said in walk(Path(folder)):
            print(f"  {code}  {seconds:5.0f} s  {verb.format(storage='STORAGE')}", flush=True)
            if code:
                print(f"      {said}", flush=True)
            passed &= code == 0
    return passed


def resolved(environment: Environment, wheel: Path) -> bool:
    """Whether every requirement has a version for a Python that is not here."""
    command = [UV, "pip", "compile", "--quiet", "--python-version", environment.python, "-"]
    done = subprocess.run(
        [*command, "--resolution", environment.resolution],
        input="\n".join(requirements(wheel)),
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"{environment}: not installed here; {'resolved' if done.returncode == 0 else 'no'} only")
    return done.returncode == 0


if __name__ == "__main__":
    main()
