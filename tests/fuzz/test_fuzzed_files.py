"""Damaged copies of every file that fftune reads: one line that names it, and nothing is lost."""

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

from fftune.remedies import REMEDIES
from tests.fuzz.damage import DAMAGES, WRONG, Copy, as_nobody, with_other_leaf
from tests.fuzz.kinds import KINDS, Kind, make
from tests.fuzz.said import Said

EXAMPLES = int(os.environ.get("FFTUNE_FUZZ_EXAMPLES", "4000"))
"""Damaged files that the slow tests try."""
FUZZ = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
WHERE = st.floats(0, 1, exclude_max=True)
CONTENT = ("cut", "emptied", "nul_tail", "null", "other_text", "binary", "other_bytes")
"""Damages of a file that can still be read."""
OBJECTS = [name for name, kind in KINDS.items() if kind.file.endswith(".json")]


@pytest.fixture(scope="module")
def copy() -> Iterator[Copy]:
    """A file of each kind, where others may look: pytest's own folder is the user's."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.chmod(0o755)
    make(folder / "whole")
    logging.disable(logging.ERROR)
    yield Copy(folder / "whole", folder / "copy")
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
def test_a_whole_file_is_read(name: str, copy: Copy) -> None:
    said = Said(lambda: KINDS[name].read(copy.root))
    assert said.code == 0, said.err


def tried(kind: Kind, copy: Copy, spoil: Callable[[Path], None], *, forbidden: bool) -> Said:
    """Spoil a file of a copy, and read it."""
    path = copy.root / kind.file
    copy.mend()
    if forbidden:  # what it imports may lie where nobody may look
        Said(lambda: kind.read(copy.root))
        copy.mend()
    spoil(path)
    before = copy.state()
    with as_nobody(forbidden):
        said = Said(lambda: kind.read(copy.root))
    after = copy.state()
    said.require_one_line()
    if said.code:
        names = (path.stem, *path.parts[len(copy.root.parts) : -1])
        assert any(name in said.lines[0] for name in names), said.lines
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed <= {*kind.mended, *([kind.file] if kind.goes_on or kind.mended else [])}
    return said


def is_advised(line: str) -> bool:
    """The line says what to do: by its kind, by a command or a flag, or what would be right."""
    kind = any(end and end in line for end in REMEDIES.values())
    right = ("`", " --", "expected", "must", "known", "did you mean", "cannot be the name")
    return kind or any(words in line for words in right)


def check_damaged(name: str, how: str, at: float, copy: Copy) -> None:
    said = tried(
        KINDS[name], copy, lambda path: DAMAGES[how](path, at), forbidden=how == "forbidden"
    )
    if said.code and how in CONTENT and name != "user's file":  # Python says what is wrong with it
        assert is_advised(said.lines[0]), f"{said.lines[0]} ... and what to do?"
    sure = how in ("folder", "pipe", "forbidden") or (how == "emptied" and name != "user's file")
    left_out = name == "image" and how in ("folder", "pipe")  # it is no image of its class
    if sure and not left_out and not KINDS[name].goes_on:
        assert said.code == 2, f"{how} {name} is read without a word"


def check_other_value(name: str, value: Any, at: float, copy: Copy) -> None:
    tried(KINDS[name], copy, lambda path: with_other_leaf(path, at, value), forbidden=False)


@settings(FUZZ, max_examples=150)
@given(st.sampled_from(list(KINDS)), st.sampled_from(list(DAMAGES)), WHERE)
def test_a_damaged_file_is_one_line(copy: Copy, name: str, how: str, at: float) -> None:
    check_damaged(name, how, at, copy)


@settings(FUZZ, max_examples=150)
@given(st.sampled_from(OBJECTS), st.sampled_from(WRONG), WHERE)
def test_a_value_of_another_type_is_one_line(copy: Copy, name: str, value: Any, at: float) -> None:
    check_other_value(name, value, at, copy)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(FUZZ, max_examples=EXAMPLES // 2, derandomize=False)
@given(st.sampled_from(list(KINDS)), st.sampled_from(list(DAMAGES)), WHERE)
def test_many_damaged_files(copy: Copy, name: str, how: str, at: float) -> None:
    check_damaged(name, how, at, copy)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(FUZZ, max_examples=EXAMPLES // 2, derandomize=False)
@given(st.sampled_from(OBJECTS), st.sampled_from(WRONG), WHERE)
def test_many_values_of_another_type(copy: Copy, name: str, value: Any, at: float) -> None:
    check_other_value(name, value, at, copy)


def test_what_is_forbidden_here_is_forbidden(copy: Copy) -> None:
    """Else the test above would try nothing as root."""
    path = copy.root.parent / "secret"
    path.write_text("x")
    path.chmod(0)
    with as_nobody(True), pytest.raises(PermissionError):
        path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0
