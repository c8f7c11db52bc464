"""Coverage of lines by tests, measured once per test file and cached until a text changes."""

import ast
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.mutation import places
from tests.mutation.forks import fork, pytest_run
from tests.mutation.generate import Mutant
from tests.mutation.places import (
    digest,
    digest_of,
    importers,
    kept,
    leaving,
    stem_of,
    test_files,
)

ENOUGH = 10.0
"""Most seconds of tests per mutant: the file's own and the fastest. A mutant that only longer tests
would kill counts as a survivor, so scores are too low rather than too high."""
LONGEST = 900.0
"""Most seconds of processor time for one test file."""


class Recorder:
    """Plugin that gives coverage the test at work; a shared fixture counts for all its tests."""

    def __init__(self, cover: Any) -> None:
        self.cover, self.contexts = cover, [""]
        self.seconds: dict[str, float] = defaultdict(float)
        self.red: set[str] = set()
        self.users: dict[str, list[str]] = defaultdict(list)

    def enter(self, context: str) -> None:
        self.contexts.append(context)
        self.cover.switch_context(context)

    def leave(self) -> None:
        self.contexts.pop()
        self.cover.switch_context(self.contexts[-1])

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [i for i in items if i.originalname not in (leaving(file_of(i.nodeid)) or ())]

    def pytest_runtest_setup(self, item: Any) -> None:
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                if definition.scope != "function":
                    self.users[f"fixture {definition.argname}"].append(item.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.red.add(report.nodeid)


def file_of(test: str) -> str:
    return test.partition("::")[0]


def recorder(cover: Any) -> Recorder:
    import pytest

    class Wrapped(Recorder):
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
            self.enter(item.nodeid)
            before = time.process_time()
            result = yield
            self.seconds[item.nodeid] += time.process_time() - before
            self.leave()
            return result

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
            if fixturedef.scope == "function":
                return (yield)
            self.enter(f"fixture {fixturedef.argname}")
            try:
                return (yield)
            finally:
                self.leave()

    return Wrapped(cover)


def measure(test_file: str) -> dict[str, Any]:
    """Run a test file; returns its tests, their seconds, and the target lines that each covers."""
    import coverage

    paths = {str(places.ROOT / target): target for target in places.TARGETS}
    cover = coverage.Coverage(data_file=None, include=list(paths), config_file=False)
    plugin = recorder(cover)
    cover.start()
    code = pytest_run([test_file], [plugin])
    cover.stop()
    data, lines = cover.get_data(), {}
    for path in data.measured_files():
        found: dict[int, list[str]] = {}
        for line, contexts in data.contexts_by_lineno(path).items():
            tests = {t for c in contexts for t in ([c] if c in plugin.seconds else plugin.users[c])}
            if tests - plugin.red:
                found[line] = sorted(tests - plugin.red)
        if found and path in paths:
            lines[paths[path]] = found
    return {
        "code": code,
        "seconds": {t: s for t, s in plugin.seconds.items() if t not in plugin.red},
        "red": sorted(plugin.red),
        "lines": lines,
        "texts": {file: text_digest(file) for file in lines},
    }


def text_digest(file: str) -> str:
    path = places.ROOT / file
    return digest(path.read_text(encoding="utf-8")) if path.is_file() else ""


def maps(jobs: int) -> dict[str, dict[str, Any]]:
    """Coverage of every test file, from the cache or measured now."""
    found, missing = {}, []
    for test_file in test_files():
        old = kept_map(test_file)
        (missing.append(test_file) if old is None else found.update({test_file: old}))
    running: dict[str, Any] = {}
    todo = list(missing)
    while todo or running:
        while todo and len(running) < jobs:
            test_file = todo.pop(0)
            running[test_file] = fork(lambda f=test_file: measure(f), LONGEST)
        time.sleep(0.05)
        for test_file, child in list(running.items()):
            if (result := child.result()) is None:
                continue
            del running[test_file]
            found[test_file] = settled(test_file, result)
            left = len(todo) + len(running)
            print(
                f"{test_file}: {sum(found[test_file]['seconds'].values()):.1f} s, {left} left",
                file=sys.stderr,
                flush=True,
            )
    return found


def settled(test_file: str, result: dict[str, Any]) -> dict[str, Any]:
    """Cache a map; a test that fails without any mutant is reported and left out."""
    if "lines" not in result:
        print(
            f"{test_file} {result['status']}, is left out: {result['output'][-500:]}",
            file=sys.stderr,
        )
        return {"seconds": {}, "lines": {}, "texts": {}, "red": []}
    for test in result["red"]:
        print(f"red without a mutant, left out: {test}", file=sys.stderr)
    path = map_path(test_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not result["red"]:
        new = path.with_suffix(".new")
        new.write_text(json.dumps(result), encoding="utf-8")
        new.rename(path)
    return json.loads(json.dumps(result))


def map_path(test_file: str) -> Any:
    return kept() / "maps" / f"{digest(test_file, digest_of(test_file), *places.TARGETS)}.json"


def kept_map(test_file: str) -> dict[str, Any] | None:
    path = map_path(test_file)
    if not path.is_file():
        return None
    old = json.loads(path.read_text(encoding="utf-8"))
    fresh = all(text_digest(file) == text for file, text in old["texts"].items())
    return old if fresh else None


@dataclass(slots=True)
class Cover:
    """Tests that cover a mutant, by test file."""

    tests: dict[str, dict[str, float]] = field(default_factory=dict)
    """Seconds by test, by test file."""

    def cut(self, stem: str, enough: float) -> "Cover":
        """Keep the tests named after the file, then the fastest, up to `enough` seconds."""
        every = [(f, t, s) for f, tests in self.tests.items() for t, s in tests.items()]
        kept, spent = Cover(), 0.0
        for test_file, test, seconds in sorted(
            every, key=lambda each: (f"test_{stem}" not in each[0], each[2])
        ):
            if (spent := spent + seconds) > enough and kept.tests:
                break
            kept.tests.setdefault(test_file, {})[test] = seconds
        return kept

    def seconds(self, test_file: str) -> float:
        return sum(self.tests[test_file].values())


@dataclass
class Covering:
    """Coverage of all test files, which gives the tests of a mutant."""

    maps: dict[str, dict[str, Any]]
    enough: float = ENOUGH

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {}

    def of(self, mutant: Mutant) -> Cover:
        if mutant.file not in self.trees:
            text = (places.ROOT / mutant.file).read_text(encoding="utf-8")
            self.trees[mutant.file] = ast.parse(text)
        lines, names = reach(self.trees[mutant.file], mutant)
        cover = Cover()
        if mutant.file not in places.TARGETS:  # no lines are known: all tests that import it
            names = {*names, "*"}
        users = importers(mutant.file, frozenset(names)) if names else frozenset()
        for test_file, found in self.maps.items():
            tests = set(self._running(found, mutant.file, lines))
            if names and test_file in users:
                tests |= set(found["seconds"])
            for user in users & found["lines"].keys():
                tests |= set(self._running(found, user, None))
            if tests:
                cover.tests[test_file] = {t: found["seconds"].get(t, 0.0) for t in tests}
        return cover.cut(stem_of(mutant.file), self.enough)

    @staticmethod
    def _running(found: dict[str, Any], file: str, lines: range | None) -> Iterator[str]:
        for line, tests in found["lines"].get(file, {}).items():
            if lines is None or int(line) in lines:
                yield from tests


def reach(tree: ast.Module, mutant: Mutant) -> tuple[range | None, set[str]]:
    """Lines of which a test runs one; None and the defined names for code run at import."""
    first, last = mutant.lines
    inner: ast.stmt | None = None
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None
    outer = next((s for s in tree.body if begin(s) <= first <= (s.end_lineno or 0)), None)
    for node in ast.walk(outer) if outer else ():
        if isinstance(node, ast.stmt) and begin(node) <= first <= (node.end_lineno or 0):
            inner = node
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                function = node
    if function is None:
        return None, names_of(outer)
    if inner is function:  # its head: arguments, their defaults, decorators
        return range(function.body[0].lineno, (function.end_lineno or 0) + 1), set()
    body = getattr(inner, "body", None)
    end = body[0].lineno - 1 if body else inner.end_lineno
    return range(inner.lineno, max(end, inner.lineno, min(last, inner.end_lineno)) + 1), set()


def begin(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


def names_of(node: ast.stmt | None) -> set[str]:
    """Names that a statement at the module's top defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} if node else set()
    return found or {"*"}
