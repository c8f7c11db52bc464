"""Files have doors: whoever reads one names it, and the fuzz test knows of its kind."""

import ast
from collections.abc import Iterator
from pathlib import Path

from fftune.remedies import REMEDIES
from tests.fuzz.kinds import KINDS, NOT_TRIED
from tests.source_tree import modules, tree

DOORS = {
    "reading": 1,
    "read_text": 1,
    "read_json": 1,
    "read_object": 1,
    "read_toml": 1,
    "read_settings": 2,
}
"""Functions that read a file in one line's terms, and the place of the kind among arguments."""
READS = {
    *("read_text", "read_bytes", "read_table", "read_schema", "read_parquet", "ParquetFile"),
    *("loadtxt", "loadmat", "memmap", "fromfile", "safe_open"),
}
LOADS = {("torch", "load"), ("pickle", "load"), ("np", "load"), ("json", "load"), ("Image", "open")}
ELSEWHERE = {
    "data.beton.format": "read_beton: a file whose checksum was compared",
    "data.images": "images are decoded by `decode`, which names each",
    "data.memory_check": "files of the kernel",
    "data.sources.digits": "a file of scikit-learn's",
    "defenses.jpeg": "an image in memory",
    "evaluation.ray_actor": "weights in memory",
    "evaluation.transfer": "weights in memory",
    "hardware": "a file of this package",
    "models.weights": "read_plain: refuses by the file's name whatever it is",
    "papers.tables.published": "a file of this package",
    "private_ray": "a file that it makes",
    "registry": "code of the user's, whose digest is taken",
    "sweeping.optuna_journal": "the file that it writes",
    "storage": "files that are written, or whose digest is taken",
    "tracking.outbox": "what is damaged is set aside: see tests/test_tracking.py",
    "tracking.store": "a file that it makes",
    "training.ray_train": "the log of a worker",
    "viewer.folder": "files of this package",
    "user_code": "code of the user's, whose digest is taken",
    "code_text": "code of the user's, which is not run",
    "cli.kept_traceback": "the file that it writes",
    "cli.streams": "nowhere",
}
"""Modules that read in other ways, and why."""


def _calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> tuple[str, str]:
    """Names of a function and of what it belongs to, as in ("torch", "load")."""
    match call.func:
        case ast.Name(id=name):
            return "", name
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return owner, name
        case ast.Attribute(attr=name):
            return "?", name
    return "", ""


def _inside_doors(path: Path) -> set[ast.AST]:
    """Nodes in `with reading(...)` blocks."""
    blocks = (node for node in ast.walk(tree(path)) if isinstance(node, ast.With))
    return {
        inner
        for block in blocks
        for item in block.items
        if isinstance(item.context_expr, ast.Call) and _name(item.context_expr)[1] == "reading"
        for inner in ast.walk(block)
    }


def bare_reads(path: Path) -> list[str]:
    """Calls that read a file outside of `stored_file.reading`."""
    inside, bare = _inside_doors(path), []
    for call in _calls(path):
        owner, function = _name(call)
        own = owner == "" and function in DOORS
        reads = (function in READS and not own) or (owner, function) in LOADS
        reads |= (owner, function) == ("", "open")
        if reads and call not in inside:
            bare.append(f"line {call.lineno}: {ast.unparse(call.func)}")
    return bare


def test_files_are_read_through_the_door() -> None:
    bare = {name: found for name, path in modules().items() if (found := bare_reads(path))}
    assert {name: found for name, found in bare.items() if name not in ELSEWHERE} == {}
    assert [name for name in ELSEWHERE if name not in bare] == [], "no exceptions any more"


def test_every_kind_of_file_is_tried() -> None:
    found: dict[str, str] = {}
    for name, path in modules().items():
        for call in _calls(path):
            owner, function = _name(call)
            if owner in ("", "stored_file") and function in DOORS and name != "stored_file":
                given = dict(enumerate(call.args)) | {k.arg: k.value for k in call.keywords}
                kind = given.get(DOORS[function], given.get("what"))
                usual = ast.Constant("settings") if function == "read_settings" else None
                word = kind or usual
                if isinstance(word, ast.Constant):
                    found[str(word.value)] = name
    known = {*KINDS, *NOT_TRIED}
    assert found.keys() <= known, "a whole file of it belongs into KINDS"
    assert NOT_TRIED.keys() <= found.keys(), "these are read no longer"
    assert found.keys() <= REMEDIES.keys(), "what does a user do about a damaged one?"


def test_a_reader_beside_the_door_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(
        "with reading(p, 'x'):\n    a = p.read_text()\nb = p.read_text()\nc = json.loads(b)\n"
    )
    assert bare_reads(path) == ["line 3: p.read_text"]
