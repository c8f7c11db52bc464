"""The source of a package as the tests of its layout read it: files, imports, docstrings, names."""

import ast
import re
from collections.abc import Collection, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fftune"


@cache
def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every file of a package by its module's name below it; a package by its `__init__`."""
    paths = sorted(package.rglob("*.py"))
    names = (".".join(p.relative_to(package).with_suffix("").parts) for p in paths)
    return {
        n.removesuffix(".__init__").removesuffix("__init__"): p
        for n, p in zip(names, paths, strict=True)
    }


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Every module, or name of a module, that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path, package: Path = PACKAGE) -> set[str]:
    """The files of the package that a file imports, by their names below it."""
    known = modules(package)
    found = set()
    for target in imports(path):
        first, _, rest = target.partition(".")
        if first != package.name:
            continue
        while rest and rest not in known:  # from fftune.x.y import Name
            rest = rest.rpartition(".")[0]
        found.add(rest)
    return found


def circle(package: Path = PACKAGE) -> set[str]:
    """Files that import each other in a circle, and those between two circles; else none."""
    arrows = {n: own_imports(p, package) - {"", n} for n, p in modules(package).items()}
    while True:
        imported = {target for targets in arrows.values() for target in targets}
        ends = {n for n, targets in arrows.items() if not targets & arrows.keys()}
        ends |= arrows.keys() - imported
        if not ends:
            return set(arrows)
        arrows = {n: targets for n, targets in arrows.items() if n not in ends}


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def docstrings(path: Path, *, private: bool = False) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring: module, classes, functions, fields and constants.

    Args:
        private: also of names with a leading underscore, and of what lies inside a function.
    """
    yield from _docstrings(tree(path), private)


def _docstrings(node: ast.AST, private: bool) -> Iterator[tuple[int, str]]:
    body = getattr(node, "body", [])
    if isinstance(node, ast.Module | Definition) and (text := ast.get_docstring(node)):
        yield body[0].lineno, text
    inside = isinstance(node, ast.Module | ast.ClassDef)
    for before, after in pairwise(body):
        named = [n for n in _assigned(before) if private or not n.startswith("_")]
        if inside and named and isinstance(after, ast.Expr) and _text(after.value):
            yield after.lineno, _text(after.value)
    for child in body if inside or private else []:
        if isinstance(child, Definition) and (private or not child.name.startswith("_")):
            yield from _docstrings(child, private)


def _assigned(node: ast.AST) -> list[str]:
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)]


def _text(node: ast.expr) -> str:
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value.strip() if constant else ""


def public_names(path: Path) -> dict[str, ast.stmt]:
    """The functions, classes and constants at the top of a file, without leading underscore."""
    found: dict[str, ast.stmt] = {}
    for node in tree(path).body:
        names = [node.name] if isinstance(node, Definition) else _assigned(node)
        found |= {name: node for name in names if not name.startswith("_")}
    return found


def read_names(path: Path, besides: ast.stmt | None = None) -> set[str]:
    """Names that a file reads by themselves, in annotations in quotes too.

    Args:
        besides: a statement at the file's top in which nothing counts.
    """
    nodes = [n for top in tree(path).body if top is not besides for n in ast.walk(top)]
    read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    annotations = [getattr(n, field, None) for n in nodes for field in ("annotation", "returns")]
    texts = (_text(n) for a in annotations if a for n in ast.walk(a) if isinstance(n, ast.expr))
    return read | {word for text in texts for word in re.findall(r"\w+", text)}


def imported_names(path: Path) -> set[str]:
    """Names of other files that a file both imports and reads, alone or as in `losses.margin`."""
    nodes, read = list(ast.walk(tree(path))), read_names(path)
    aliases = [a for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]
    here = {a.asname or a.name.partition(".")[0] for a in aliases}
    after = {n.attr for n in nodes if isinstance(n, ast.Attribute) and _root(n) in here}
    return after | {a.name for a in aliases if (a.asname or a.name) in read}


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def words_of(path: Path) -> set[str]:
    """All words of a file's texts: a table of names uses what it names, as in `a.b:NAME`."""
    texts = (_text(n) for n in ast.walk(tree(path)) if isinstance(n, ast.Constant))
    return {word for text in texts for word in re.findall(r"\w+", text)}


def unused(package: Path, tables: Collection[str]) -> list[str]:
    """Public names of a package that nothing in it uses, as `module.name`.

    Texts that end like `package.module:NAME` use what they name.

    Args:
        tables: files, by their names below the package, whose texts use every word of theirs.
    """
    files = modules(package)
    used = {name for path in files.values() for name in imported_names(path)}
    used |= {word for table in tables for word in words_of(files[table])}
    used |= {name for path in files.values() for name in _targets(path)}
    return [
        f"{module}.{name}".lstrip(".")
        for module, path in files.items()
        for name, node in public_names(path).items()
        if name not in used and name not in read_names(path, besides=node)
    ]


def _targets(path: Path) -> set[str]:
    texts = (_text(n) for n in ast.walk(tree(path)) if isinstance(n, ast.Constant))
    return {found[1] for text in texts if (found := re.search(r":(\w+)$", text))}


def unread_methods(package: Path) -> list[str]:
    """Public methods that no file of a package reads, as `module.Class.method`.

    A class that inherits from another package's may override what that package calls.
    """
    files = modules(package)
    nodes = [(module, n) for module, path in files.items() for n in ast.walk(tree(path))]
    read = {n.attr for _, n in nodes if isinstance(n, ast.Attribute)}
    read |= {_text(n.args[1]) for _, n in nodes if isinstance(n, ast.Call) and _is_getattr(n)}
    own = {n.name for _, n in nodes if isinstance(n, ast.ClassDef)}
    return [
        f"{module}.{node.name}.{method.name}"
        for module, node in nodes
        if isinstance(node, ast.ClassDef) and all(_name(base) in own for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
        if method.name not in read
    ]


def _is_getattr(call: ast.Call) -> bool:
    return _name(call.func) == "getattr" and len(call.args) > 1


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
