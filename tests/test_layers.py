"""The house of DESIGN section 3: who may import whom, and where each framework has its door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fftune"

RANKS = {
    "errors": 0,
    "config": 1,
    "noise": 1,
    "threefry": 0,
    "memory": 1,
    "storage": 1,
    "user_code": 1,
    "cluster": 2,
    "recipes": 2,
    "threat": 2,
    "models": 2,
    "attacks": 3,
    "defenses": 4,
    "doctor": 7,
    "outcomes": 3,
    "objectives": 4,
    "risk": 4,
    "certified": 4,
    "pareto": 4,
    "comparison": 5,
    "data": 4,
    "tracking": 4,
    "unsent": 3,
    "metrics": 3,
    "train": 5,
    "evaluate": 6,
    "sweep": 7,
    "report": 8,
    "cli": 9,
}
DOORS = {
    "mlflow": {"tracking"},
    "optuna": {"sweep"},
    "sqlalchemy": {"sweep.database"},
    "ray": {
        *("cluster", "metrics", "evaluate.pool"),
        *("sweep.scheduler", "sweep.on_ray", "train.on_ray"),
    },
    "grpc": {"cluster"},
    "plotly": {"report"},
    "tyro": {
        "cli",
        "data.cli",
        "train.cli",
        "evaluate.cli",
        "doctor.cli",
        "sweep.cli",
        "report.cli",
    },
    "pandas": {
        "outcomes",
        "report",
        "train.epoch",
        "evaluate.plan",
        "evaluate.table",
        "evaluate.defense_table",
    },
    "pyarrow": {"outcomes", "evaluate", "data.folders"},
    "ffcv": {"data.ffcv_engine"},
    "numba": {"data.ffcv_engine"},
    "PIL": {"data", "evaluate.exhibited"},
    "skimage": {"evaluate.exhibited"},
    "torchvision": {"data", "models.imagenet_resnet"},
    "sklearn": {"data"},
    "scipy": {"risk", "comparison"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "filelock": {"storage"},
    "numpy": {
        *("noise", "pareto", "comparison", "sweep.gap", "data", "evaluate.pool", "report.gaps"),
    },
    "torch": {
        *("threat", "noise", "models", "attacks", "objectives", "certified", "data", "train"),
        *("defenses", "evaluate", "doctor"),
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


def rank(module: str) -> int:
    package, _, rest = module.partition(".")
    return RANKS["cli"] if rest in ("cli", "__main__") else RANKS[package]


@pytest.mark.parametrize("name", [name for name in modules() if name])
def test_imports_go_down(name: str) -> None:
    own = name.partition(".")[0]
    for target in imports(modules()[name]):
        first, _, rest = target.partition(".")
        if first != "fftune" or rest in ("", "__version__"):
            continue
        other = ".".join(part for part in rest.split(".")[:2])
        lower = rank(other if other in modules() else other.partition(".")[0]) < rank(name)
        assert lower or other.partition(".")[0] == own or rank(name) == 9, (
            f"{name} imports {target}"
        )


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
        "import fftune.noise, fftune.pareto, fftune.certified;"
        "heavy = {'ray', 'mlflow', 'optuna', 'pandas', 'pyarrow', 'ffcv', 'tyro', 'sklearn'};"
        "heavy.add('torchvision');"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
