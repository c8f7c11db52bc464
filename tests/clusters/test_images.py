"""The Dockerfile, and the set-up script that it shares with `make`: nothing here runs an image."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.clusters.files import CHECKOUT, CLUSTERS, IMAGE, PINS

DOCKERFILE = (CLUSTERS / "Dockerfile").read_text()


def test_versions_agree_with_the_pins() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert re.findall(r"^FROM (\S+)$", DOCKERFILE, re.M) == [IMAGE]
    makefile = (CHECKOUT / "Makefile").read_text()
    assert "--python-version 3.11" in makefile  # what constraints.txt was resolved for
    assert project["requires-python"] == ">=3.11"
    major, minor, _ = PINS["ray"].split(".")
    assert f"ray[train,tune]>={major}.{minor},<{major}.{int(minor) + 1}" in project["dependencies"]


def test_every_version_of_ray_in_the_files_is_the_pin() -> None:
    for path in CLUSTERS.iterdir():
        found = re.findall(r"rayproject/ray:(\S+)|rayVersion: \"(\S+)\"", path.read_text())
        for image, version in found:
            assert (f"rayproject/ray:{image}" == IMAGE) if image else (version == PINS["ray"]), path


def test_the_image_sets_what_the_bare_job_needs() -> None:
    env = dict(re.findall(r"(\w+)=(\S+)", DOCKERFILE[DOCKERFILE.index("ENV") :]))
    assert env["FFTUNE_STORAGE"] == "/mnt/fftune/storage"
    assert env["FFTUNE_DATA"] == "/mnt/fftune/data"
    assert env["RAY_AUTH_MODE"] == "token"
    assert "clusters/setup.sh --system --python python" in DOCKERFILE


def test_nothing_in_the_image_runs_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.M)
    assert users == ["ray"]
    last = DOCKERFILE[DOCKERFILE.index("\nUSER ray") :]
    assert "RUN" not in last and "sudo" not in last


def test_scripts_are_bash_and_can_be_run() -> None:
    scripts = sorted(CLUSTERS.glob("*.sh"))
    names = ["audit.sh", "local.sh", "mlflow.sh", "setup.sh", "token.sh"]
    assert [path.name for path in scripts] == names
    for path in scripts:
        assert os.access(path, os.X_OK)
        assert path.read_text().startswith("#!/usr/bin/env bash\n")
        assert "\nset -euo pipefail\n" in path.read_text()
        subprocess.run(["bash", "-n", path], check=True)


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    """A machine like Ray's image: its own Python, Debian's packages, a uv that only notes."""
    programs = tmp_path / "conda/bin"
    programs.mkdir(parents=True)
    note = f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/calls\n'
    python = (
        f'#!/bin/sh\ncase "$*" in *version_info*) exit 0;; *executable*) echo {programs}/python;; '
        f'*) echo "python $*" >> {tmp_path}/calls; printf "%s" \'{note}\' > {programs}/uv; '
        f"chmod +x {programs}/uv;; esac\n"
    )
    debian = "#!/bin/sh\necho install ok installed\n"
    for name, text in {"python": python, "dpkg-query": debian}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)}


def test_setup_into_the_images_own_python(image: dict[str, str], tmp_path: Path) -> None:
    setup = [CLUSTERS / "setup.sh", "--system", "--python", "python"]
    programs = tmp_path / "conda/bin"
    subprocess.run(setup, env=image, check=True, capture_output=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == f"python -m pip install --quiet uv=={PINS['uv']}"
    assert calls[1].startswith(f"{programs}/uv pip install --quiet --python {programs}/python")
    assert "--constraints constraints.txt --compile-bytecode --editable .[ffcv,cluster]" in calls[1]
    assert calls[2:] == ["python -m compileall -q fftune"]
    subprocess.run(setup, env=image, check=True, capture_output=True)  # nothing left to do
    assert (tmp_path / "calls").read_text().splitlines() == calls


def test_an_unknown_option_is_one_line() -> None:
    done = subprocess.run(
        [CLUSTERS / "setup.sh", "--sytem"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "setup: unknown option '--sytem'\n"


def test_this_python_is_one_that_the_pins_were_made_for() -> None:
    assert sys.version_info >= (3, 11)
