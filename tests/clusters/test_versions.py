"""Versions that the project allows: none has a hole that is known and was mended."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.clusters.files import CHECKOUT, PINS

MENDED = {
    "torch": "2.10.0",  # CVE-2026-24747: code from a file read with weights_only
    "ray": "2.54.0",  # CVE-2026-27482: a web page deletes jobs
    "mlflow": "3.11.0",
}
"""First versions without the holes that were known on 2026-11-27."""
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
        assert requirement.specifier.contains(PINS[package])


def test_every_requirement_has_a_lowest_version_that_the_pins_meet() -> None:
    for requirement in requirements():
        if requirement.name in FOR_NETS:
            continue
        assert lowest(requirement) <= Version(PINS[requirement.name]), requirement


def test_images_have_no_older_version() -> None:
    for path in (CHECKOUT / "clusters").iterdir():
        for version in re.findall(r"rayproject/ray:(\d+\.\d+\.\d+)", path.read_text()):
            assert Version(version) >= Version(MENDED["ray"]), path
