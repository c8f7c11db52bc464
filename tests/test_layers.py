"""The house of DESIGN section 3: who may import whom, and where each framework has its door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fftune"

RANKS = {
    "": 0,
    "errors": 0,
    "threefry": 0,
    "config": 3,
    "keyed_noise": 4,
    "allocator": 4,
    "storage": 4,
    "user_code": 1,
    "registry": 2,
    "ray_cluster": 5,
    "threat": 5,
    "models": 5,
    "attacks": 6,
    "outcomes": 6,
    "defenses": 7,
    "objectives": 7,
    "risk": 7,
    "certified": 7,
    "pareto": 7,
    "data": 7,
    "tracking": 7,
    "metrics": 6,
    "comparison": 8,
    "recipes": 8,
    "training": 9,
    "lint": 9,
    "evaluation": 10,
    "sweeping": 11,
    "doctor": 11,
    "testing": 12,
    "report": 12,
    "hedge_study": 13,
    "cli": 14,
    "train": 15,
    "evaluate": 15,
    "sweep": 15,
}
"""A room may import rooms of lower rank, and files of its own."""
DOORS = {
    "mlflow": {"tracking"},
    "optuna": {"sweeping"},
    "sqlalchemy": {"sweeping.optuna_storage"},
    "ray": {
        *("ray_cluster", "metrics", "evaluation.ray_pool"),
        *("sweeping.ray_scheduler", "sweeping.ray_tune", "training.ray_train"),
    },
    "grpc": {"ray_cluster"},
    "plotly": {"report", "hedge_study.plots"},
    "tyro": {"cli"},
    "pandas": {
        *("outcomes", "report", "training.history", "evaluation.escalation"),
        "hedge_study.summary",
    },
    "pyarrow": {"outcomes", "evaluation", "data.sources.folders", "hedge_study"},
    "ffcv": {"data.engines.ffcv_decoder"},
    "numba": {"data.engines.ffcv_decoder"},
    "PIL": {"data", "hedge_study.showcase"},
    "skimage": {"hedge_study.showcase"},
    "torchvision": {"data", "models.imagenet_resnet"},
    "sklearn": {"data.sources.digits", "data.splits"},
    "scipy": {"risk", "comparison"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "filelock": {"storage"},
    "numpy": {
        *("keyed_noise", "threefry", "pareto", "comparison", "sweeping.samplers.gap", "data"),
        *("evaluation.ray_pool", "report.gaps"),
    },
    "torch": {
        *("threat", "keyed_noise", "threefry", "models", "attacks", "objectives", "certified"),
        *("data", "training", "defenses", "evaluation", "lint", "doctor", "hedge_study"),
        "testing",
    },
}
"""Which modules, or packages of modules, may import each framework."""


def modules() -> dict[str, Path]:
    """Every module by its name below `fftune`, packages without their `__init__`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    names = (".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in paths)
    return {
        n.removesuffix(".__init__").removesuffix("__init__"): p
        for n, p in zip(names, paths, strict=True)
    }


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """The files of fftune that a file imports, by their names below `fftune`."""
    known = modules()
    found = set()
    for target in imports(path):
        first, _, rest = target.partition(".")
        if first != "fftune":
            continue
        while rest and rest not in known:  # from fftune.x.y import Name
            rest = rest.rpartition(".")[0]
        found.add(rest)
    return found


@pytest.mark.parametrize("name", list(modules()))
def test_imports_go_down(name: str) -> None:
    room = name.partition(".")[0]
    for target in own_imports(modules()[name]):
        other = target.partition(".")[0]
        lower = RANKS[other] < RANKS[room]
        assert lower or other == room or name.endswith("__main__"), f"{name} imports {target}"


def test_no_two_files_import_each_other() -> None:
    arrows = {name: own_imports(path) - {"", name} for name, path in modules().items()}
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        for name in leaves:
            del arrows[name]
    assert not arrows, f"a circle among {sorted(arrows)}"


@pytest.mark.parametrize("name", list(modules()))
def test_frameworks_have_doors(name: str) -> None:
    for target in imports(modules()[name]):
        framework = target.partition(".")[0]
        if framework in ("fftune", *sys.stdlib_module_names):
            continue
        doors = DOORS.get(framework, set())
        assert any(name == d or name.startswith(f"{d}.") for d in doors), f"{name}: {framework}"


def test_no_room_without_a_subject() -> None:
    banned = {"utils", "common", "helpers", "base", "misc"}
    assert not banned & {path.stem for path in PACKAGE.rglob("*.py")}


def test_the_core_needs_torch_and_numpy_alone() -> None:
    code = (
        "import sys, fftune.attacks, fftune.defenses, fftune.objectives, fftune.models;"
        "import fftune.keyed_noise, fftune.pareto, fftune.certified;"
        "heavy = {'ray', 'mlflow', 'optuna', 'pandas', 'pyarrow', 'ffcv', 'tyro', 'sklearn'};"
        "heavy.add('torchvision');"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
