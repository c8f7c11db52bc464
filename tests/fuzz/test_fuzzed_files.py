"""Damaged copies of every file that fftune reads: one line that names it, and nothing is lost."""

import contextlib
import io
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fftune.cli.edge import ended
from tests.fuzz.damage import DAMAGES, WRONG, as_nobody, contents, copied, with_other_leaf
from tests.fuzz.kinds import KINDS, Kind, make

EXAMPLES = int(os.environ.get("FFTUNE_FUZZ_EXAMPLES", "4000"))
"""Damaged files that the slow tests try."""
FUZZ = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
WHERE = st.floats(0, 1, exclude_max=True)
OBJECTS = [name for name, kind in KINDS.items() if kind.file.endswith(".json")]


class Said:
    """Exit code and stderr of work at the edge."""

    def __init__(self, work: Callable[[], object]) -> None:
        stream = io.StringIO()
        with contextlib.redirect_stderr(stream):
            self.code = ended(lambda: work() and None)
        self.err = stream.getvalue()
        self.lines = [line for line in self.err.splitlines() if line.startswith("fftune: ")]

    def require_one_line(self) -> None:
        """What every mistake comes to."""
        assert self.code in (0, 2), self.err
        assert "Traceback" not in self.err
        assert len(self.lines) == (self.code != 0), self.err
        assert all(line.isprintable() and len(line) < 2100 for line in self.lines)


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A whole file of each kind, where others may look: pytest's own folder is the user's."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.chmod(0o755)
    make(folder / "whole")
    logging.disable(logging.ERROR)
    yield folder / "whole"
    logging.disable(logging.NOTSET)
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("FFTUNE_DB", "FFTUNE_STORAGE", "FFTUNE_DATA", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        yield


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_read(name: str, whole: Path) -> None:
    said = Said(lambda: KINDS[name].read(whole))
    assert said.code == 0, said.err


def tried(kind: Kind, whole: Path, spoil: Callable[[Path], None], *, forbidden: bool) -> Said:
    """Spoil a copy of a file, and read it."""
    root = copied(whole, whole.parent / "copy")
    path = root / kind.file
    spoil(path)
    before = contents(root)
    with as_nobody(forbidden):
        said = Said(lambda: kind.read(root))
    said.require_one_line()
    if said.code:
        assert path.stem in said.lines[0] or str(path.parent) in said.lines[0], said.lines
    after = contents(root)
    others = {*kind.mended, *([kind.file] if kind.goes_on or kind.mended else [])}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if name in before} <= {*others, kind.file}
    return said


def check_damaged(name: str, how: str, at: float, whole: Path) -> None:
    said = tried(
        KINDS[name], whole, lambda path: DAMAGES[how](path, at), forbidden=how == "forbidden"
    )
    sure = how in ("folder", "pipe", "forbidden") or (how == "emptied" and name != "user's file")
    if sure and not KINDS[name].goes_on:
        assert said.code == 2, f"{how} {name} is read without a word"


def check_other_value(name: str, value: Any, at: float, whole: Path) -> None:
    tried(KINDS[name], whole, lambda path: with_other_leaf(path, at, value), forbidden=False)


@settings(FUZZ, max_examples=150)
@given(st.sampled_from(list(KINDS)), st.sampled_from(list(DAMAGES)), WHERE)
def test_a_damaged_file_is_one_line(whole: Path, name: str, how: str, at: float) -> None:
    check_damaged(name, how, at, whole)


@settings(FUZZ, max_examples=150)
@given(st.sampled_from(OBJECTS), st.sampled_from(WRONG), WHERE)
def test_a_value_of_another_type_is_one_line(whole: Path, name: str, value: Any, at: float) -> None:
    check_other_value(name, value, at, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(FUZZ, max_examples=EXAMPLES // 2, derandomize=False)
@given(st.sampled_from(list(KINDS)), st.sampled_from(list(DAMAGES)), WHERE)
def test_many_damaged_files(whole: Path, name: str, how: str, at: float) -> None:
    check_damaged(name, how, at, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(FUZZ, max_examples=EXAMPLES // 2, derandomize=False)
@given(st.sampled_from(OBJECTS), st.sampled_from(WRONG), WHERE)
def test_many_values_of_another_type(whole: Path, name: str, value: Any, at: float) -> None:
    check_other_value(name, value, at, whole)


def test_what_is_forbidden_here_is_forbidden(whole: Path) -> None:
    """Else the test above would try nothing as root."""
    path = whole.parent / "secret"
    path.write_text("x")
    path.chmod(0)
    with as_nobody(True), pytest.raises(PermissionError):
        path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0
