"""The house of DESIGN section 3: who may import whom, and where each framework has its door."""

import subprocess
import sys
from pathlib import Path

import pytest

from fftune import registry
from tests.source_tree import (
    PACKAGE,
    ROOT,
    circle,
    imports,
    modules,
    own_imports,
    unread_methods,
    unused,
)

RANKS = {
    "secrets": -1,
    "": 0,
    "invocation": 0,
    "errors": 0,
    "remedies": 0,
    "progress": 0,
    "devices": 0,
    "hardware": 0,
    "capture": 1,
    "threefry": 0,
    "stored_file": 1,
    "config": 3,
    "keyed_noise": 4,
    "allocator": 4,
    "storage": 4,
    "code_text": 0,
    "user_code": 1,
    "names": 1,
    "named_code": 0,
    "registry": 2,
    "private_ray": 5,
    "ray_answer": 5,
    "ray_head": 5,
    "ray_lines": 5,
    "ray_signals": 5,
    "ray_settings": 5,
    "ray_cluster": 6,
    "threat": 5,
    "models": 5,
    "attacks": 6,
    "outcomes": 6,
    "defenses": 7,
    "objectives": 7,
    "risk": 7,
    "certified": 8,
    "bracket": 8,
    "pareto": 7,
    "data": 7,
    "tracking": 7,
    "metrics": 6,
    "comparison": 8,
    "expectation": 8,
    "verdict": 8,
    "sequential": 7,
    "schedules": 7,
    "recipes": 8,
    "training": 9,
    "lint": 9,
    "evaluation": 10,
    "sweeping": 11,
    "doctor": 11,
    "testing": 12,
    "report": 12,
    "hedge_study": 13,
    "lambda_study": 13,
    "forensics": 13,
    "inputs": 13,
    "result": 13,
    "auditing": 14,
    "papers": 14,
    "viewer": 14,
    "cli": 15,
    "api": 15,
    "__main__": 16,
    "train": 16,
    "evaluate": 16,
    "gate": 16,
    "sweep": 16,
    "view": 16,
    "audit": 16,
    "reproduce": 16,
}
"""A room may import rooms of lower rank, and files of its own."""
DOORS = {
    "mlflow": {"tracking"},
    "optuna": {"sweeping", "testing.samplers"},
    "sqlalchemy": {"sweeping.optuna_storage", "tracking.store"},
    "ray": {
        *(
            "ray_answer",
            "ray_cluster",
            "ray_lines",
            "ray_signals",
            "metrics",
            "evaluation.ray_actor",
            "evaluation.ray_pool",
            "papers.graph.on_ray",
        ),
        *(
            "sweeping.ray_scheduler",
            "sweeping.ray_tune",
            "sweeping.ray_memory",
            "training.ray_train",
        ),
    },
    "grpc": {"ray_answer"},
    "plotly": {"report", "hedge_study.plots", "papers"},
    "tyro": {"cli"},
    "rich": {"progress", "report.terminal"},
    "pandas": {
        *("outcomes", "report", "training.history", "evaluation.escalation"),
        *("hedge_study.summary", "result", "papers", "viewer"),
    },
    "pyarrow": {
        "auditing",
        "outcomes",
        "evaluation",
        "data.sources.shards",
        "data.row_groups",
        "hedge_study",
    },
    "ffcv": {"data.engines.ffcv_decoder"},
    "numba": {"data.engines.ffcv_decoder"},
    "PIL": {"data", "hedge_study.pictures", "defenses.jpeg", "evaluation.saved_images"},
    "safetensors": {"models.weights"},
    "skimage": {"hedge_study.pictures"},
    "torchvision": {"data", "models.imagenet_resnet", "models.origins.of_torchvision"},
    "scipy": {
        *("comparison", "evaluation.canary", "papers.tables.measures", "certified.smoothing"),
    },
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "filelock": {"storage"},
    "junitparser": {"auditing.formats.junit"},
    "numpy": {
        *("keyed_noise", "threefry", "pareto", "comparison", "sweeping.samplers.gap", "data"),
        *("evaluation.ray_actor", "evaluation.saved_images", "report.gaps"),
        *("capture.python_state", "papers", "models.weights", "sequential", "auditing"),
        *("forensics.share", "forensics.inspection"),
    },
    "torch": {
        *("threat", "keyed_noise", "threefry", "models", "attacks", "objectives", "certified"),
        *("data", "training", "defenses", "evaluation", "lint", "doctor", "hedge_study"),
        *("testing", "inputs", "api", "capture", "papers", "viewer", "auditing", "forensics"),
    },
}
"""Which modules, or packages of modules, may import each framework."""


MADE_FOR_USERS = {
    "capture.captured.first_use": "called from Python: benchmarks print it apart",
    "capture.captured.use": "called from Python: with a tape, in tests of captured functions",
    "attacks.search_state.ActiveBatch.gradient": "attacks of users' own: docs/extending.md",
    "defenses.theory.game.play": "called from Python: the closed form of Wu et al. 2021, D.4",
    "result.Evaluation.expectations": "called from Python: docs/python-api.md",
    "result.Evaluation.seed_spreads": "called from Python: docs/python-api.md",
    "papers.tasks.tasks_of": "called from Python: tasks of declarations without an item",
    "risk.RiskCounts.hypocritical_risk_all": "one of RATES, which are read by name",
}
"""Public names that nothing in fftune uses, and why each is there."""
TABLES = ("", "data", "testing", "registry", "lambda_study", "hedge_study.study")
"""Files whose texts name what others define: public API, registries, kinds of study."""
NO_SUBJECT = {"utils", "util", "common", "helpers", "helper", "base", "misc", "core", "tools"}
LIBRARIES = {framework.lower() for framework in DOORS} | {"pil", "skimage", "lightning", "rich"}


def goes_up(name: str, target: str) -> bool:
    room, other = name.partition(".")[0], target.partition(".")[0]
    return other != room and RANKS[other] >= RANKS[room] and not name.endswith("__main__")


def test_imports_go_down() -> None:
    """The public API apart: its names are imported when they are asked for."""
    pairs = ((name, t) for name, path in modules().items() if name for t in own_imports(path))
    assert [f"{name} imports {target}" for name, target in pairs if goes_up(name, target)] == []


def test_an_import_upwards_is_seen() -> None:
    assert goes_up("config.fields", "data.loader") and goes_up("data", "tracking.store")
    assert not goes_up("data.loader", "config.fields") and not goes_up("data.loader", "data.sets")


def test_no_two_files_import_each_other() -> None:
    assert circle() == set()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": "b", "b": "c", "c": ""}, set()),
        ({"a": "b", "b": "a"}, {"a", "b"}),
        (
            {"room.a": "room.b", "room.b": "room.c", "room.c": "room.a"},
            {"room.a", "room.b", "room.c"},
        ),
        (
            {"room.a": "b", "b": "room.deep.c", "room.deep.c": "room.a"},
            {"room.a", "b", "room.deep.c"},
        ),
        ({"above": "a", "a": "b", "b": "a below", "below": ""}, {"a", "b"}),
    ],
)
def test_a_circle_is_seen_inside_a_package_too(tmp_path: Path, files, expected) -> None:
    package = tmp_path / "planted"
    for name, targets in files.items():
        path = package / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"    from planted.{target} import thing\n" for target in targets.split())
        path.write_text("def late():\n    pass\n" + "".join(lines))
    assert circle(package) == expected


def without_door(name: str, target: str) -> bool:
    framework = target.partition(".")[0]
    if framework in ("fftune", *sys.stdlib_module_names):
        return False
    return not any(name == d or name.startswith(f"{d}.") for d in DOORS.get(framework, ()))


def test_frameworks_have_doors() -> None:
    pairs = ((name, target) for name, path in modules().items() for target in imports(path))
    assert [
        f"{name} imports {target}" for name, target in pairs if without_door(name, target)
    ] == []


def test_an_import_beside_the_doors_is_seen() -> None:
    assert without_door("attacks.pgd", "ray.data") and without_door("attacks.pgd", "unheard_of")
    assert without_door("trackings", "mlflow") and not without_door("tracking.store", "mlflow")


def test_a_file_has_a_subject_that_its_name_says() -> None:
    stems = {path.stem.lower() for path in modules().values()}
    assert stems & NO_SUBJECT == set() and stems & LIBRARIES == set()


def test_a_file_can_be_read_at_once() -> None:
    lines = {name: len(p.read_text(encoding="utf-8").splitlines()) for name, p in modules().items()}
    assert {name: count for name, count in lines.items() if count > 350} == {}


def test_every_public_name_is_used() -> None:
    tables = [t for t in vars(registry).values() if isinstance(t, registry.Registry)]
    entries = {place.replace(":", ".") for t in tables for place in t._entries.values()}
    unnamed = {name for name in unused(PACKAGE, TABLES) if f"fftune.{name}" not in entries}
    found = {*unnamed, *unread_methods(PACKAGE)}
    assert sorted(found - MADE_FOR_USERS.keys()) == []
    assert sorted(MADE_FOR_USERS.keys() - found) == [], "used now: no exception any more"


def test_what_nobody_uses_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "planted"
    package.mkdir()
    (package / "__init__.py").write_text("API = {'shown': 'planted.a'}\n")
    (package / "a.py").write_text(
        "LIMIT, OLD = 1, 2\n\n"
        "def shown(): pass\n\n"
        "def again(n): return again(n - 1)\n\n"  # by itself alone
        "def quoted() -> 'Kind': return LIMIT\n\n"
        "class Kind:\n    def read(self): pass\n    def unread(self): pass\n\n"
        "def renamed(): pass\n\n"
        "def masked(): pass\n\n"
        "def later(): return 'planted.a:late'\n\n"
        "def late(): return later()\n"
    )
    (package / "b.py").write_text(
        "from planted import a\nfrom planted.a import again, renamed as other\n\n"
        "a.quoted().read(), other\n"
        "masked = 1\nprint(masked)\n"
    )
    expected = ["a.OLD", "a.again", "a.masked"]
    assert sorted(unused(package, [""])) == ["API", *expected]
    assert unread_methods(package) == ["a.Kind.unread"]


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
