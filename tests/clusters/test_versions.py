"""Versions that the project allows: none has a hole that is known and was mended."""

import os
import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.clusters.files import CHECKOUT, PINS

MENDED = {
    "mlflow": "3.16.0",  # CVE-2026-71211: the AI gateway asks whatever host it is told
    "pyarrow": "23.0.1",  # CVE-2026-25087: memory of a file of Arrow's is used after it was freed
    "pyopenssl": "26.0.0",  # CVE-2026-27459: a cookie overflows a buffer
    "ray": "2.55.0",  # CVE-2026-32981: the dashboard gives files away
    "torch": "2.10.0",  # CVE-2026-24747: code from a file read with weights_only
    "transformers": "5.10.0",  # CVE-2026-9856: a template is written outside its folder
}
"""First versions without the holes that were known on 2026-11-27.

Two remain allowed. torch.jit.script up to torch 2.12.0 (CVE-2025-3000, of local users) is called
nowhere here; setuptools 83 mends CVE-2026-59890, and has no longer what RobustBench imports.
"""
FOR_NETS = {"robustbench", "timm", "transformers"}
"""Libraries of extras that no image and no test needs, and that nothing pins."""
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def requirements() -> list[Requirement]:
    texts = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(text) for some in texts for text in some]


def lowest(requirement: Requirement) -> Version:
    (least,) = (s.version for s in requirement.specifier if s.operator in (">=", "==", "~="))
    return Version(least)


@pytest.mark.parametrize("package", list(MENDED))
def test_the_lowest_version_is_above_those_with_known_holes(package: str) -> None:
    asked = [r for r in requirements() if r.name == package]
    assert asked
    for requirement in asked:
        assert lowest(requirement) >= Version(MENDED[package])
        assert package in FOR_NETS or requirement.specifier.contains(PINS[package])


def test_every_requirement_has_a_lowest_version_that_the_pins_meet() -> None:
    for requirement in requirements():
        if requirement.name in FOR_NETS:
            continue
        assert lowest(requirement) <= Version(PINS[requirement.name]), requirement


def test_images_have_no_older_version() -> None:
    for path in (CHECKOUT / "clusters").iterdir():
        for version in re.findall(r"rayproject/ray:(\d+\.\d+\.\d+)", path.read_text()):
            assert Version(version) >= Version(MENDED["ray"]), path


@pytest.mark.parametrize(
    ("stub", "code", "said"),
    [
        ("exit 0", 0, ""),
        ("echo 'Found 2 known vulnerabilities in 1 package' >&2; exit 1", 1, "Found 2 known"),
        ("echo ERROR: no such host >&2; exit 1", 2, "no database of known holes has answered"),
        ("exit 127", 2, "nothing was compared (it said nothing)"),
    ],
)
def test_an_audit_without_a_database_is_none(stub: str, code: int, said: str, tmp_path) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{stub}\n")
    program.chmod(0o755)
    ended = subprocess.run(
        [CHECKOUT / "clusters/audit.sh"],
        env=os.environ | {"PIP_AUDIT": str(program)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr and ended.stderr.count("\n") == (code > 0)
