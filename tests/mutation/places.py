"""Files that are mutated, tests that count, and the folder of cached results."""

import ast
import hashlib
import os
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

WHOLE = tuple(
    f"fftune/{name}.py"
    for name in (
        *("objectives", "risk", "comparison", "certified/linf_dist"),
        *("training/step", "attacks/pgd", "attacks/apgd"),
    )
)
"""Files of which every mutant is tried."""
SAMPLED = tuple(
    f"fftune/{name}.py"
    for name in (
        *("threat", "keyed_noise", "threefry", "pareto", "expectation"),
        *("attacks/search_state", "attacks/query_counter", "attacks/deepfool", "attacks/fab"),
        *("attacks/goals", "attacks/box_projection", "attacks/losses", "attacks/rays"),
        *("attacks/square", "attacks/constraint_relaxation"),
        *("evaluation/block", "evaluation/escalation", "evaluation/defended", "evaluation/tiers"),
        *("evaluation/adaptive", "evaluation/choice", "evaluation/canary", "evaluation/transfer"),
        "evaluation/second_opinion",
        *("defenses/hedge", "defenses/adaptive", "defenses/theory/game", "defenses/theory/linear"),
        *("defenses/analysis", "defenses/spec", "defenses/smoothing", "defenses/anti_adversary"),
        *("defenses/bit_depth", "defenses/jpeg"),
        *("report/defended_rows", "report/defense_rates", "report/defense_table"),
        *("report/resubmission", "report/resubmission_table", "report/optimality"),
        *("report/convergence", "report/attack_seeds"),
        *("sweeping/samplers/gap", "sweeping/front", "sweeping/early_stopping"),
        *("data/splits", "data/substandard", "data/augment"),
    )
)
TARGETS = (*WHOLE, *SAMPLED)

ELSEWHERE = ("tests/integration/", "tests/clusters/", "tests/test_mutation.py")
PROCESSES = ("subprocess.", 'xdist_group("ray")', "mp.spawn", "ray.init")
"""Words of tests that start another process, which would not import the mutant."""


def kept() -> Path:
    """Folder of cached maps and results, by content."""
    own = os.environ.get("FFTUNE_MUTANTS")
    return Path(own) if own else Path("~/.cache/fftune/mutants").expanduser()


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


@cache
def test_files() -> tuple[str, ...]:
    """Test files with tests that stay in one process, by their paths from the root."""
    paths = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("test_*.py"))
    return tuple(p for p in paths if not p.startswith(ELSEWHERE) and leaving(p) is not None)


@cache
def leaving(test_file: str) -> frozenset[str] | None:
    """Names of functions that start processes or use one that does; None if all may."""
    text = (ROOT / test_file).read_text(encoding="utf-8")
    texts: dict[str, str] = {}
    for node in ast.parse(text).body:
        part = ast.get_source_segment(text, node) or ""
        if isinstance(node, ast.FunctionDef):
            texts[node.name] = "\n".join([*map(ast.unparse, node.decorator_list), part])
        elif not isinstance(node, ast.Import | ast.ImportFrom) and mentions(part, PROCESSES):
            return None
    words, found = set(PROCESSES), set[str]()
    while new := {name for name, part in texts.items() if mentions(part, words)} - found:
        found |= new
        words |= new
    return frozenset(found)


def mentions(text: str, words: Iterable[str]) -> bool:
    return any(re.search(rf"\b{re.escape(word)}", text) for word in words)


@cache
def digest_of(test_file: str) -> str:
    """Digest of a test file and of the files beside and above it that are no test files."""
    path = ROOT / test_file
    near = [p for p in path.parent.glob("*.py") if not p.name.startswith("test_")]
    above = [p / "conftest.py" for p in path.parents if ROOT in p.parents]
    files = sorted({path, *near, *(p for p in above if p.is_file())})
    return digest(*(p.read_text(encoding="utf-8") for p in files))


def module_of(file: str) -> str:
    """Module name of `fftune/a/b.py`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def stem_of(file: str) -> str:
    return Path(file).stem


@cache
def imported(file: str) -> frozenset[tuple[str, str]]:
    """Every (module, name) that a file imports, anywhere; the name is empty for whole modules."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {(node.module, alias.name) for alias in node.names}
    return frozenset(found)


@cache
def importers(file: str, names: frozenset[str]) -> frozenset[str]:
    """Files of fftune and tests that import one of a file's names, or `*`."""
    module = module_of(file)
    package, _, last = module.rpartition(".")
    wanted = {(module, name) for name in names} | {(module, ""), (package, last)}
    paths = [p.relative_to(ROOT).as_posix() for p in (ROOT / "fftune").rglob("*.py")]
    files = [*paths, *test_files()]
    if "*" in names:
        return frozenset(p for p in files if any(name == module for name, _ in imported(p)))
    return frozenset(p for p in files if imported(p) & wanted)


def libraries() -> list[str]:
    """Libraries that fftune and its tests import, loaded once before any fork."""
    names = set()
    for path in [*(ROOT / "fftune").rglob("*.py"), *(ROOT / p for p in test_files())]:
        names |= {module for module, _ in imported(path.relative_to(ROOT).as_posix())}
    own = {"fftune", "tests", "ffcv", "numba", "__future__"}
    own |= {path.stem for path in (ROOT / "tests").rglob("*.py")}  # found beside one another
    return sorted(n for n in names if n.partition(".")[0] not in own | sys.stdlib_module_names)
