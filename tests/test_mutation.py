"""The tool that asks whether a test sees it when a number goes wrong."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutation import places, scores
from tests.mutation.covering import Covering, maps
from tests.mutation.generate import changed_file, mutants_of
from tests.mutation.scores import ListError, Score, equivalents, grave
from tests.mutation.trial import Trials

TINY = '''
LIMIT = 3


def clipped(values, wide):
    """At most LIMIT."""
    if wide:
        raise ValueError("wide is not known")
    total = 0
    for value in values:
        total += min(value, LIMIT)
    return total
'''


def changes(source: str) -> set[str]:
    """What the mutants make of the only line that is not of the frame."""
    return {mutant.after for mutant in mutants_of("a.py", source)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("f(a, b)", {"pass", "f(b, a)", "a"}),
        ("x = f(k=a, m=b)", {"x = f(k=b, m=a)", "x = f(m=b)", "x = f(k=a)"}),
        ("x = torch.cat([a, b])", {"x = torch.cat([b, a])", "x = torch.cat([a])"}),
        ("x = digest(a, b)", {"x = digest(b)", "x = digest(b, a)"}),
        ("x = a[rng.integers(9)]", {"x = a"}),
        ("x = a < b", {"x = a <= b", "x = a > b"}),
        ("x = a and b", {"x = a or b", "x = a", "x = b"}),
        ("x = a.clamp_min(.5)", {"x = a.clamp_max(.5)", "x = a.clamp_min(0.6)", "x = a"}),
        ("x = min(a, b) * 2", {"x = max(a, b) * 2", "x = min(a, b) / 2", "x = min(a, b) * 4"}),
        ("x = a['key']", {"x = a['XXkey']"}),
        ("x = b if a < 1 else c", {"x = b if not (a < 1) else c"}),
    ],
)
def test_a_line_goes_wrong_in_these_ways(line: str, expected: set[str]) -> None:
    found = changes(line + "\n")
    assert not {" ".join(each.split()) for each in expected} - found, found


def test_contexts_and_decorators_are_dropped() -> None:
    source = "@torch.no_grad()\ndef f(net):\n    with eval_mode(net):\n        net()\n"
    assert {"if True:", ""} <= changes(source)


def test_one_level_of_a_resampling_is_skipped() -> None:
    (skipped,) = (m for m in mutants_of("a.py", "x = rng.integers(9, size=(2, 3))\n")
                  if "arange" in m.after)  # fmt: skip
    names: dict[str, object] = {}
    exec(f"import numpy as np\nrng = np.random.default_rng(0)\n{skipped.source}", names)
    assert names["x"].tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize(
    "source",
    [
        '"""A module."""\n',
        "x: Literal['a', 'b']\n",
        "from a import b\n",
        "__all__ = ['a', 'b']\n",
        "log.info('so many: %d', 3)\n",
        "if TYPE_CHECKING:\n    x = 1\n",
        "class A:\n    def __repr__(self):\n        return str(1 + 1)\n",
        "x = f'{a:.2f} of {b + 1}'\n",
        "x = 'words that are read'\n",
    ],
)
def test_what_people_read_is_left_alone(source: str) -> None:
    assert mutants_of("a.py", source) == []


@pytest.mark.parametrize("line", ["raise ValueError('a', 1 + 1)", "log.warning('a', 1 + 1)"])
def test_a_refusal_or_a_warning_can_go_but_its_words_stay(line: str) -> None:
    assert changes(f"{line}\n") == {"pass"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A root with one module and its tests, whose names no other test has."""
    monkeypatch.setenv("FFTUNE_MUTANTS", str(tmp_path / "kept"))
    monkeypatch.setattr(places, "ROOT", tmp_path)
    monkeypatch.setattr(places, "TARGETS", ("tiny_module.py",))

    def build(tests: str) -> Path:
        (tmp_path / "tests").mkdir(exist_ok=True)
        (tmp_path / "tiny_module.py").write_text(TINY)
        (tmp_path / "conftest.py").touch()  # found from here
        file = tmp_path / "tests/test_tiny.py"
        file.write_text(f"from tiny_module import clipped\n\n{tests}")
        for cached in (places.test_files, places.leaving, places.digest_of, places.imported):
            cached.cache_clear()
        places.importers.cache_clear()
        return file

    monkeypatch.syspath_prepend(tmp_path)
    return build


LOOSE = "def test_it():\n    assert clipped([1], False) == 1\n"
TIGHT = """
import pytest

def test_it():
    assert clipped([1, 5, 2], False) == 6

def test_wide():
    with pytest.raises(ValueError):
        clipped([], True)
"""


def tried(change: tuple[str, str] | None = None) -> tuple[Score, int]:
    """The score of all mutants, or of one by hand; and how many were run for it."""
    every = mutants_of("tiny_module.py", TINY)
    mutants = [changed_file("tiny_module.py", TINY, TINY.replace(*change))] if change else every
    trials = Trials(Covering(maps(2)), 2, print)
    return Score("tiny_module.py", mutants, trials.run(mutants), set()), len(trials.spent)


def test_what_no_test_sees_is_named_until_a_better_test_kills_it(house) -> None:
    change = ("LIMIT = 3", "LIMIT = 4")
    house(LOOSE)
    score, ran = tried(change)
    assert ran == 1 and score.counts == {"survived": 1} and not score.met
    assert score.alive() == ["survived     0 tiny_module.py:2  - LIMIT = 3  + LIMIT = 4"]
    assert tried(change)[1] == 0  # kept
    house(TIGHT)
    score, ran = tried(change)
    assert ran == 1 and score.counts == {"killed": 1} and score.met
    assert score.results[0]["by"] == "tests/test_tiny.py::test_it"


def test_a_mutant_without_end_is_stopped(house, monkeypatch) -> None:
    monkeypatch.setattr("tests.mutation.trial.limit", lambda _: 0.05)
    house(TIGHT)
    score, _ = tried(("    return total", "    while True: pass"))
    assert score.counts == {"timed out": 1} and score.met
    assert score.alive()[0].startswith("timed out")


def test_an_equivalent_needs_a_proof_and_a_mutant(tmp_path, monkeypatch) -> None:
    listed = tmp_path / "equivalent.toml"
    monkeypatch.setattr(scores, "EQUIVALENT", listed)
    source = "x = a < b\n" * 50
    mutants = mutants_of("a.py", source)
    entry = '[[mutant]]\nfile = "a.py"\nline = "{}"\nmutant = "x = a <= b"\nproof = "{}"\n'
    listed.write_text(entry.format("x = a > b", "Never equal."))
    with pytest.raises(ListError, match="no mutant"):
        equivalents("a.py", mutants)
    listed.write_text(entry.format("x = a < b", ""))
    with pytest.raises(ListError, match="no proof"):
        equivalents("a.py", mutants)
    listed.write_text(entry.format("x = a < b", "Never equal."))
    with pytest.raises(ListError, match="50 of 100 are listed"):
        equivalents("a.py", mutants)


def test_scores_are_given_with_the_equivalent_and_without() -> None:
    mutants = mutants_of("a.py", "x = a < b\n")
    results = [{"status": "killed"}, {"status": "survived"}]
    score = Score("a.py", mutants, results, {mutants[1].source})
    assert score.scores == (1.0, 0.5) and score.met and score.alive() == []


def test_each_mutant_of_the_list_by_hand_still_fits_the_code() -> None:
    assert len(grave()) >= 37


def test_all_files_are_where_they_are_looked_for() -> None:
    assert [t for t in places.TARGETS if not (places.ROOT / t).is_file()] == []


def test_the_lines_of_equivalent_mutants_are_still_there() -> None:
    entries = tomllib.loads((places.ROOT / "tests/mutation/equivalent.toml").read_text())["mutant"]
    for entry in entries:
        assert entry["line"] in (places.ROOT / entry["file"]).read_text(encoding="utf-8"), entry
