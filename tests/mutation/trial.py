"""Run mutants against their tests in forks, up to the first failure; results are cached."""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from tests.mutation.covering import Cover, Covering
from tests.mutation.forks import Instead, fork, pytest_run
from tests.mutation.generate import Mutant
from tests.mutation.places import digest, digest_of, kept, stem_of

Result = dict[str, Any]
"""`status`: killed, timed out or survived; `by`: the test that failed; `seconds`: wall clock."""


class Chosen:
    """Plugin that selects the covering tests, the fastest first, and notes the first failure."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.red = seconds, ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted(
            (i for i in items if i.nodeid in self.seconds), key=lambda i: self.seconds[i.nodeid]
        )

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.red:
            self.red = report.nodeid


def judge(mutant: Mutant, cover: Cover, order: list[str], *, loud: bool = False) -> Result:
    """Run the covering tests of each file in `order`, in this process, until one fails."""
    sys.meta_path.insert(0, Instead(mutant.file, mutant.source))
    for test_file in order:
        chosen = Chosen(cover.tests[test_file])
        code = pytest_run([test_file, "-x"], [chosen], loud=loud)
        if code not in (0, 5):
            return {"status": "killed", "by": chosen.red or f"{test_file} (import)"}
    return {"status": "survived", "by": ""}


def limit(cover: Cover) -> float:
    """Limit of processor time of a mutant's tests, in seconds, besides importing."""
    return 5 + max(10.0, 5 * sum(cover.seconds(f) for f in cover.tests))


class Trials:
    """Runner of mutants, `jobs` at once."""

    def __init__(self, covering: Covering, jobs: int, note: Callable[[str], None]) -> None:
        self.covering, self.jobs, self.note = covering, jobs, note
        self.kills: dict[str, Counter[str]] = defaultdict(Counter)
        self.spent: list[float] = []

    def order(self, mutant: Mutant, cover: Cover) -> list[str]:
        """Order test files: most kills first, then the file's own, then the fastest."""
        kills = self.kills[mutant.file]
        stem = stem_of(mutant.file)

        def rank(test_file: str) -> tuple[int, bool, float]:
            return -kills[test_file], f"test_{stem}" not in test_file, cover.seconds(test_file)

        return sorted(cover.tests, key=rank)

    def run(self, mutants: list[Mutant]) -> list[Result]:
        """Run all mutants; one result each, in their order."""
        results: dict[int, Result] = {}
        running: dict[int, tuple[Any, float, Cover]] = {}
        todo = list(enumerate(mutants))
        while todo or running:
            while todo and len(running) < self.jobs:
                i, mutant = todo.pop(0)
                cover = self.covering.of(mutant)
                old = remembered(mutant, cover)
                if not cover.tests:
                    results[i] = {"status": "survived", "untested": True}
                elif old is not None:
                    results[i] = old
                    self.kills[mutant.file][test_file_of(old)] += 1
                else:
                    running[i] = self.start(mutant, cover), time.monotonic(), cover
            time.sleep(0.02)
            for i, (child, began, cover) in list(running.items()):
                if (found := child.result()) is None:
                    continue
                del running[i]
                seconds = round(time.monotonic() - began, 2)
                results[i] = self.settle(mutants[i], cover, {**found, "seconds": seconds})
                self.note(
                    f"[{len(results)}/{len(mutants)}] {results[i]['status']} "
                    f"{seconds:.1f} s {mutants[i].file}:{mutants[i].line}"
                )
        return [results[i] for i in range(len(mutants))]

    def start(self, mutant: Mutant, cover: Cover) -> Any:
        order = self.order(mutant, cover)
        return fork(lambda: judge(mutant, cover, order), limit(cover))

    def settle(self, mutant: Mutant, cover: Cover, result: Result) -> Result:
        self.spent.append(result["seconds"])
        if result["status"] == "died":
            result = {**result, "status": "killed", "by": "the process died"}
        self.kills[mutant.file][test_file_of(result)] += result["status"] == "killed"
        remember(mutant, cover, result)
        return result


def test_file_of(result: Result) -> str:
    return str(result.get("by", "")).partition("::")[0].removesuffix(" (import)")


def witnesses(cover: Cover, result: Result) -> list[str]:
    """Test files that a result depends on: the killer alone, or all that passed."""
    by = test_file_of(result)
    return [by] if by in cover.tests else sorted(cover.tests)


def texts_of(files: list[str]) -> str:
    return digest(*(f"{file} {digest_of(file)}" for file in files))


def result_path(mutant: Mutant) -> Any:
    name = digest(mutant.file, mutant.source)
    return kept() / "results" / name[:2] / f"{name}.json"


def remembered(mutant: Mutant, cover: Cover) -> Result | None:
    """Cached result of the same text under the same tests."""
    path = result_path(mutant)
    if not path.is_file():
        return None
    old: Result = json.loads(path.read_text(encoding="utf-8"))
    files = witnesses(cover, old)
    return old if old["tests"] == texts_of(files) else None


def remember(mutant: Mutant, cover: Cover, result: Result) -> None:
    path = result_path(mutant)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{id(result)}")
    new.write_text(json.dumps({**result, "tests": texts_of(witnesses(cover, result))}))
    new.rename(path)
