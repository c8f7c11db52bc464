"""Prose that a stranger understands: docstrings' beginnings, words it does without, spelling."""

import re
from pathlib import Path

from tests.source_tree import ROOT, docstrings, modules

BEGINNINGS = {
    *("of", "as", "likewise", "none", "whether"),
    *("what", "how", "which", "where", "who", "whose", "why", "when"),
}
"""A docstring begins with the verb or the noun of the thing itself."""
PAPERS = re.compile(r"\bP[12]\b(?!\.[TFa-z])")
"""Short names of the papers; `P1.T10` is the key of a table, which commands take."""
"""The papers have authors and years: Tao et al. 2022, Wu et al. 2021."""

PROSE = ("*.md", "*.py", "*.ipynb", "*.js", "*.css", "*.html", "*.toml", "*.yaml", "*.json", "*.sh")
AS_IT_WAS = {
    *("CHANGELOG.md", "experiments/LOG.md"),
    *("fftune/evaluation/question.py", "tests/evaluation/test_question.py"),  # a stored key
    *("tests/test_prose.py", "tests/cli/test_evaluate_command.py"),
}
"""Files of ours with another spelling of `defense`."""


def bad_beginnings(path: Path) -> list[str]:
    found = ((line, text.split(maxsplit=1)[0]) for line, text in docstrings(path))
    return [f"{line}: {word}" for line, word in found if word.strip(",.:;").lower() in BEGINNINGS]


def short_names(path: Path) -> list[int]:
    texts = docstrings(path, private=True)
    return [line for line, text in texts if PAPERS.search(text)]


def test_docstrings_begin_with_the_thing_itself() -> None:
    found = {name: bad_beginnings(path) for name, path in modules().items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_papers_are_cited_by_authors_and_year() -> None:
    found = {name: short_names(path) for name, path in modules().items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_every_kind_of_docstring_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        '"""What a module holds."""\n'
        "LIMIT = 3\n"
        '"""How much."""\n'
        "_hidden = 3\n"
        '"""Whether private."""\n'
        "class Settings:\n"
        '    """Settings of something."""\n'
        "    lam: float\n"
        '    """None: not used."""\n'
        "    def method(self):\n"
        '        """\n        Where it goes."""\n'
        '        "Which is no docstring."\n'
        "def _private():\n"
        '    """Who knows, in P1."""\n'
        "    def inner():\n"
        '        """Of P2."""\n'
    )
    assert bad_beginnings(path) == ["1: What", "3: How", "9: None:", "11: Where"]
    assert short_names(path) == [15, 17]


def written() -> list[Path]:
    """Files of the checkout that people read, without those that a tool made."""
    folders = ("benchmarks", "clusters", "dashboards", "docs", "experiments", "fftune", "tests")
    found = [path for folder in folders for kind in PROSE for path in (ROOT / folder).rglob(kind)]
    found += [path for kind in PROSE for path in ROOT.glob(kind)]
    return [path for path in found if "_build" not in path.parts]


def test_defense_has_one_spelling() -> None:
    texts = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8").lower() for p in written()}
    assert len(texts) > 800
    assert {name for name, text in texts.items() if "defence" in text} <= AS_IT_WAS
