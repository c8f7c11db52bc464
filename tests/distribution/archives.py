"""What a wheel and an sdist hold, and what their metadata say."""

import re
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
MOST = 2_000_000
"""Bytes of either archive, at most."""


def mistakes(wheel: Path, sdist: Path) -> list[str]:
    """What is wrong with a wheel and an sdist; empty where all is right."""
    return [*_wheel(wheel), *_sdist(sdist), *_sizes(wheel, sdist)]


def _sizes(*archives: Path) -> list[str]:
    return [f"{a.name}: {a.stat().st_size} bytes" for a in archives if a.stat().st_size > MOST]


def _wheel(path: Path) -> list[str]:
    """The package and its metadata, and nothing else."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(about).decode()
    ours = {str(p.relative_to(CHECKOUT)) for p in _package()}
    held = {name for name in names if ".dist-info/" not in name}
    found = [f"wheel lacks {name}" for name in sorted(ours - held)]
    found += [f"wheel holds {name}" for name in sorted(held - ours)]
    if not path.name.endswith("-py3-none-any.whl"):
        found.append(f"{path.name} is not for every machine")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        found.append("wheel lacks the licence")
    return found + _metadata(metadata)


def _package() -> list[Path]:
    """Files of the package that are not made by Python."""
    return [
        path
        for path in (CHECKOUT / "fftune").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


def _metadata(text: str) -> list[str]:
    """Names, Pythons, and a description whose links work where it is shown."""
    message = message_from_string(text)
    found = []
    if message["Requires-Python"] != ">=3.11":
        found.append(f"Requires-Python {message['Requires-Python']}")
    classifiers = message.get_all("Classifier", [])
    classified = {f"Programming Language :: Python :: {v}": v for v in ("3.11", "3.12", "3.13")}
    found += [f"no classifier for {v}" for text, v in classified.items() if text not in classifiers]
    links = re.findall(r"\]\(([^)\s]+)\)", str(message.get_payload()))
    astray = [link for link in links if not re.match(r"https?://|#", link)]
    return found + [f"description links to {link}, which is not in the wheel" for link in astray]


def _sdist(path: Path) -> list[str]:
    """What builds the same wheel; nothing that git does not know."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"}
    wanted |= {str(p.relative_to(CHECKOUT)) for p in _package()}
    found = [f"sdist lacks {name}" for name in sorted(wanted - names)]
    secret = [n for n in names if n.startswith((".venv", ".whl", ".gpu", "dist/", ".git/"))]
    return found + [f"sdist holds {name}" for name in sorted(secret)]
