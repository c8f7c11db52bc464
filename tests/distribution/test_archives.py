"""What `make dist` would refuse, and pyproject.toml's own promises."""

import io
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.distribution.archives import CHECKOUT, mistakes

METADATA = "fftune-0.2.0.dist-info/METADATA"
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
GOOD = """Metadata-Version: 2.4
Name: fftune
Requires-Python: >=3.11
Classifier: Programming Language :: Python :: 3.11
Classifier: Programming Language :: Python :: 3.12
Classifier: Programming Language :: Python :: 3.13

# fftune, [as said](https://example.org)
"""


def package() -> dict[str, bytes]:
    files = (p for p in (CHECKOUT / "fftune").rglob("*") if p.is_file())
    kept = (p for p in files if "__pycache__" not in p.parts)
    return {str(path.relative_to(CHECKOUT)): path.read_bytes() for path in kept}


def archives(
    folder: Path, metadata: str, changed: dict[str, bytes | None] | None = None
) -> tuple[Path, Path]:
    """A wheel and an sdist as they should be, but for what is changed; None leaves a file out."""
    held = {k: v for k, v in {**package(), **(changed or {})}.items() if v is not None}
    wheel, sdist = folder / "fftune-0.2.0-py3-none-any.whl", folder / "fftune-0.2.0.tar.gz"
    licence = {"fftune-0.2.0.dist-info/licenses/LICENSE": b"", METADATA: metadata.encode()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in {**held, **licence}.items():
            archive.writestr(name, content)
    top = dict.fromkeys(("pyproject.toml", "README.md", "LICENSE", "PKG-INFO"), b"")
    with tarfile.open(sdist, "w:gz", compresslevel=1) as packed:
        for name, content in {**held, **top}.items():
            about = tarfile.TarInfo(f"fftune-0.2.0/{name}")
            about.size = len(content)
            packed.addfile(about, io.BytesIO(content))
    return wheel, sdist


def test_archives_as_they_should_be(tmp_path: Path) -> None:
    assert mistakes(*archives(tmp_path, GOOD)) == []


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    found = mistakes(*archives(tmp_path, GOOD, {"fftune/risk.py": None}))
    assert found == ["wheel lacks fftune/risk.py", "sdist lacks fftune/risk.py"]


def test_a_file_too_many_is_named(tmp_path: Path) -> None:
    found = mistakes(*archives(tmp_path, GOOD, {"tests/test_risk.py": b""}))
    assert found == ["wheel holds tests/test_risk.py"]


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (">=3.11", ">=3.9", "Requires-Python >=3.9"),
        ("Classifier: Programming Language :: Python :: 3.13\n", "", "no classifier for 3.13"),
        ("https://example.org", "docs/index.md", "description links to docs/index.md"),
    ],
)
def test_metadata_that_promise_too_much(tmp_path: Path, good: str, bad: str, said: str) -> None:
    (found,) = mistakes(*archives(tmp_path, GOOD.replace(good, bad)))
    assert found.startswith(said)


def test_system_packages_are_for_extras_alone() -> None:
    """FFCV compiles against system libraries, `ray[default]` and PostgreSQL are for heads."""
    needed = " ".join(PROJECT["project"]["dependencies"])
    assert "ffcv" not in needed and "psycopg" not in needed and "ray[default]" not in needed
    extras = PROJECT["project"]["optional-dependencies"]
    assert any("ffcv" in one for one in extras["ffcv"])
    assert any("psycopg" in one for one in extras["cluster"])
