"""README.md and docs/: blocks that are marked are run, in order, a folder of its own a page."""

import importlib.util
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fftune.cli.verbs import VERBS

ROOT = Path(__file__).parents[2]
MADE = ROOT / "docs" / "cli.md"
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").glob("*.md")} - {MADE})]
BLOCK = re.compile(
    r"<!-- (?P<kind>run|file: (?P<file>[\w.]+)|prints) -->\n```(?P<language>\w+)\n(?P<text>.*?)```",
    re.S,
)


@dataclass(frozen=True)
class Block:
    """`file: NAME` is written, `run` is run, `prints` is in what the last run printed."""

    line: int
    kind: str
    file: str
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text[: found.start("text")].count("\n")
        kind = found["kind"].partition(":")[0]
        yield Block(line, kind, found["file"] or "", found["language"], found["text"])


def run_python(block: Block, page: Path, names: dict[str, Any]) -> str:
    """Run a block in the page's namespace; what it printed."""
    printed = io.StringIO()
    code = compile("\n" * block.line + block.text, str(page), "exec")  # lines of the page
    with redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def run_shell(block: Block) -> str:
    """Run `fftune VERB ...` lines in this process, where libraries are imported already."""
    printed = io.StringIO()
    for line in filter(None, block.text.replace("\\\n", " ").splitlines()):
        program, verb, *arguments = shlex.split(line, comments=True)
        assert program == "fftune", line
        with redirect_stdout(printed):
            import_module(f"fftune.cli.{verb}").main(arguments)
    return printed.getvalue()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.stem == "extending" else ())
        for page in PAGES
    ],
    ids=lambda page: page.name,
)
@pytest.mark.usefixtures("root")
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFTUNE_STORAGE", str(tmp_path))
    names: dict[str, Any] = {"__name__": "example"}
    printed = ""
    for block in blocks(page):
        if block.kind == "file":
            (tmp_path / block.file).write_text(block.text)
        elif block.kind == "prints":
            for line in block.text.splitlines():
                assert line.strip() in printed, f"{page.name}: {line!r} is not printed"
        elif block.language == "python":
            printed = run_python(block, page, names)
        else:
            printed = run_shell(block)


def test_pages_have_examples() -> None:
    counts = {page.name: len(list(blocks(page))) for page in PAGES}
    assert counts["README.md"] >= 2 and counts["python-api.md"] >= 5
    files = {block.file for block in blocks(ROOT / "docs" / "extending.md") if block.file}
    assert len(files) >= 8, files
    headings = re.findall(r"^## An? (.+)$", (ROOT / "docs" / "extending.md").read_text(), re.M)
    assert len(headings) == 10, headings


def test_a_block_that_fails_is_told_by_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- run -->\n```python\na = 1\nraise ValueError(a)\n```\n")
    (block,) = blocks(page)
    with pytest.raises(ValueError) as caught:
        run_python(block, page, {})
    assert caught.traceback[-1].lineno + 1 == 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:fftune|tests|docs|clusters|experiments)/[\w./]*)`", text))
    linked = set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = [path for path in named if not (ROOT / path).exists()]
    missing += [path for path in linked if not (page.parent / path).exists() and path != MADE.name]
    assert not missing, missing
    modules = set(re.findall(r"`fftune((?:\.[a-z_]+)+)`", text))
    for module in sorted(modules):
        place = ROOT.joinpath("fftune", *module.strip(".").split("."))
        parent = place.parent
        known = place.is_dir() or place.with_suffix(".py").is_file()
        known = known or parent.is_dir() or parent.with_suffix(".py").is_file()
        assert known, f"fftune{module}"


def test_the_command_line_is_told_whole() -> None:
    spec = importlib.util.spec_from_file_location("_cli", ROOT / "docs" / "_cli.py")
    cli = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cli)
    page = cli.reference()
    for verb in VERBS:
        assert f"\n## {verb}\n" in page
    for flag in ("--lam X", "--battery.name NAME", "--checkpoint FOLDER", "--source", "--quiet"):
        assert flag in page, flag
    empty = [line for line in page.splitlines() if line == ":"]
    assert not empty and str(Path.home()) not in page


@pytest.mark.slow
def test_pages_build_without_a_warning(tmp_path: Path) -> None:
    """`make docs`, which the gate runs too."""
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*build, "-d", tmp_path / "trees", ROOT / "docs", tmp_path / "html"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    pages = [path.read_text() for path in (tmp_path / "html").glob("*.html")]
    assert not [page for page in pages if 'src="http' in page], "a page needs a network"
