"""Whole commands over damaged copies of all that they read: exit code 0, or 2 and one line."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.forked import forked
from tests.fuzz import verbs
from tests.fuzz.damage import DAMAGES, WRONG, Copy, as_nobody, with_other_leaf
from tests.fuzz.said import Said

EXAMPLES = int(os.environ.get("FFTUNE_FUZZ_EXAMPLES", "4000")) // 20
"""Damaged files that the slow tests try."""
FUZZ = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # each example is a whole command
)
WHERE = st.floats(0, 1, exclude_max=True)
DATABASE = "store/mlflow.db"
EVIL = """from pathlib import Path
Path(__file__).with_name("burgled").touch()
"""


@dataclass
class Place:
    """A folder that commands are run in, and the files that each of them reads."""

    copy: Copy
    reads: Mapping[str, list[str]]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every command with every file that it reads."""
        return [(name, file) for name, files in self.reads.items() for file in files]

    def after(
        self, name: str, file: str, spoil: Callable[[Path], None], *, forbidden: bool = False
    ) -> Said:
        """Mend all, spoil a file, and run a command."""
        self.copy.mend()
        if file == DATABASE:  # the process has it open
            return self._elsewhere(name, spoil, forbidden=forbidden)
        spoil(self.copy.root / file)
        with verbs.inside(self.copy.root), as_nobody(forbidden):
            return verbs.run(verbs.COMMANDS[name])

    def _elsewhere(self, name: str, spoil: Callable[[Path], None], *, forbidden: bool) -> Said:
        root = Path(tempfile.mkdtemp(dir=self.copy.root.parent))
        answer = root / "answer.json"

        def program() -> None:
            spoil(root / "place" / DATABASE)
            with verbs.inside(root / "place"), as_nobody(forbidden):
                said = verbs.run(verbs.COMMANDS[name])
            answer.write_text(json.dumps([said.code, said.err]))

        shutil.copytree(self.copy.root, root / "place")
        opened(root)
        ended = forked(program)
        assert ended.returncode == 0, ended.stderr
        code, err = json.loads(answer.read_text())
        shutil.rmtree(root)
        return Said.of(code, err)


def opened(root: Path) -> None:
    """Let everybody write there, or what is forbidden would be all."""
    for path, _, files in os.walk(root):
        os.chmod(path, 0o777)
        for name in files:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), 0o666)


def placed(*, slow: bool) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="verbs-"))
    folder.chmod(0o755)
    logging.disable(logging.ERROR)
    whole = folder / "whole"
    verbs.make_whole(whole, slow=slow)
    (whole / "evil.py").write_text(EVIL)
    opened(whole)
    copy = Copy(whole, folder / "copy", live=(DATABASE, f"{DATABASE}-journal"))
    reads = {}
    with verbs.inside(copy.root):
        for name, command in verbs.COMMANDS.items():
            if slow or not command.slow:
                copy.mend()
                found = verbs.read_by(lambda command=command: verbs.run(command), copy.root)
                reads[name] = verbs.damageable(found)
    yield Place(copy, reads)
    logging.disable(logging.NOTSET)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def quick() -> Iterator[Place]:
    yield from placed(slow=False)


@pytest.fixture(scope="module")
def every() -> Iterator[Place]:
    yield from placed(slow=True)


def wrong(said: Said, name: str) -> str:
    """What a command said that it must not; empty where it ended well."""
    one = len(said.lines) <= 1 and not any("defect of fftune" in line for line in said.lines)
    if said.code == 1 and verbs.COMMANDS[name].fails and one and "Traceback" not in said.err:
        return ""
    try:
        said.require_one_line()
    except AssertionError:
        return f"{said.code}: {said.err[-400:]}"
    return ""


Case = tuple[str, str, str, Callable[[Path], None]]
"""A command, a file that it reads, what is done to that, in words, and in deed."""


def damaged(place: Place, at: float, how: str, where: float) -> Case:
    name, file = place.pairs[int(at * len(place.pairs))]
    return name, file, how, lambda path: DAMAGES[how](path, where)


def with_value(place: Place, at: float, value: Any, where: float) -> Case:
    pairs = [pair for pair in place.pairs if pair[1].endswith(".json")]
    name, file = pairs[int(at * len(pairs))]
    return name, file, repr(value)[:40], lambda path: with_other_leaf(path, where, value)


def told(place: Place, case: Case) -> str:
    """What is wrong with a case; empty where nothing is."""
    name, file, how, spoil = case
    found = wrong(place.after(name, file, spoil, forbidden=how == "forbidden"), name)
    return f"{name}, {how}, {file}: {found}" if found else ""


@settings(FUZZ, max_examples=14)
@given(WHERE, st.sampled_from(list(DAMAGES)), WHERE)
def test_a_command_with_a_damaged_file_is_one_line(
    quick: Place, at: float, how: str, where: float
) -> None:
    assert not told(quick, damaged(quick, at, how, where))


@settings(FUZZ, max_examples=8)
@given(WHERE, st.sampled_from(WRONG), WHERE)
def test_a_command_with_a_value_of_another_type_is_one_line(
    quick: Place, at: float, value: Any, where: float
) -> None:
    assert not told(quick, with_value(quick, at, value, where))


def report(found: Iterable[str]) -> None:
    """Fail with all that was wrong."""
    if lines := [*filter(None, found)]:
        pytest.fail("\n".join(lines), pytrace=False)


def draws(count: int) -> Iterator[Random]:
    """Generators of cases; a failure names what it drew."""
    seed = os.environ.get("FFTUNE_FUZZ_SEED") or str(SystemRandom().getrandbits(32))
    print(f"FFTUNE_FUZZ_SEED={seed}")
    return (Random(f"{seed} {i}") for i in range(count))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_commands_with_a_damaged_file(every: Place) -> None:
    found = [
        told(every, damaged(every, r.random(), r.choice(list(DAMAGES)), r.random()))
        for r in draws(EXAMPLES)
    ]
    report(found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_commands_with_a_value_of_another_type(every: Place) -> None:
    found = [
        told(every, with_value(every, r.random(), r.choice(WRONG), r.random()))
        for r in draws(EXAMPLES // 2)
    ]
    report(found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_command_runs_a_file_that_a_value_names(every: Place) -> None:
    found = []
    for r in draws(EXAMPLES // 2):
        case = with_value(every, r.random(), f"{every.copy.root}/evil.py:thing", r.random())
        found.append(told(every, case))
        assert not (every.copy.root / "burgled").exists(), case
    report(found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_commands_read_files_of_each_kind(every: Place) -> None:
    """Else nothing above is tried."""
    files = {file for _, file in every.pairs}
    for part in (
        *("blocks/", "crafted/", "states/", "mlflow.db", "mlflow-unsent/", "optuna.journal"),
        *("search.json", "result.json", "front.json", "outcomes.parquet", "weights.pt"),
        *("history.parquet", "training.json", "model.json", "config.json", "exhibit.json"),
        *("whole.beton", "whole.json", "1.png", "val_annotations.txt", "images.parquet"),
        *("papers/tasks/analysis", "tiny/sizes.json", "net.py"),
    ):
        assert any(part in file for file in files), (part, files)
