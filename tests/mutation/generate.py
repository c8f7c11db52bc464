"""Generate the mutants of a file: every operator at every node that affects a number."""

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from tests.mutation.operators import OPERATORS, name_of

SPOKEN = {"print", "warn", "info", "warning", "debug", "error", "exception", "say", "deprecated"}
"""Calls whose arguments are read by people."""
NOTES = {"print", "info", "debug", "say"}
"""Calls among them that are left unchanged altogether: below the level of warnings."""
SHAPE = {"dataclass", "overload", "TypeVar", "NewType"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """Mutant: one change to one file."""

    file: str
    line: int
    before: str
    after: str
    source: str
    """Text of the whole changed file."""
    lines: tuple[int, int] = (0, 0)
    """Changed lines of the original file, first to last."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  - {self.before}  + {self.after}"


def mutants_of(file: str, source: str) -> list[Mutant]:
    """List mutants in the order of the file, without duplicates and those that compile alike."""
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    module, places = wrapper.module, wrapper.resolve(PositionProvider)
    seen, found, plain = {source}, [], code_of(source)
    texts = [module.code_for_node(statement) for statement in module.body]
    head = source[: len(source) - len("".join(texts)) - len(footer(module))]
    for i, statement in enumerate(module.body):
        before, behind = head + "".join(texts[:i]), "".join(texts[i + 1 :]) + footer(module)
        for node in nodes(statement):
            for new in changes(node):
                changed = new if node is statement else statement.deep_replace(node, new)
                text = before + module.code_for_node(changed) + behind
                if text in seen:
                    continue
                seen.add(text)
                if (code := code_of(text)) is not None and code != plain:
                    found.append(changed_file(file, source, text, places[node].start.line))
    return sorted(found, key=lambda mutant: mutant.line)


def footer(module: cst.Module) -> str:
    return "".join(module.code_for_node(line) for line in module.footer)


def changed_file(file: str, source: str, text: str, line: int | None = None) -> Mutant:
    """Build the mutant from both texts; the difference is shown as one line of each."""
    old, new = source.splitlines(), text.splitlines()
    start = shared(old, new)
    tail = min(shared(old[::-1], new[::-1]), len(old) - start, len(new) - start)
    end = len(old) - tail
    before, after = one_line(old[start:end]), one_line(new[start : len(new) - tail])
    return Mutant(file, line or start + 1, before, after, text, (start + 1, max(end, start + 1)))


def shared(one: list[str], two: list[str]) -> int:
    """Number of equal lines at the beginning."""
    pairs = zip(one, two, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(two)))


def one_line(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def code_of(text: str) -> str | None:
    """Compiled code of a text without line numbers; None if it does not compile."""
    try:
        code = compile(text, "mutant", "exec", dont_inherit=True, optimize=2)
    except (SyntaxError, ValueError):
        return None
    return "\n".join(instructions(code))


def instructions(code: object) -> Iterator[str]:
    yield f"{code.co_code!r} {code.co_names} {code.co_varnames} {code.co_cellvars}"
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from instructions(constant)
        else:
            yield f"{type(constant).__name__} {constant!r}"


def changes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in OPERATORS:
        if isinstance(node, kind):
            yield from operator(node)


def nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield a node and its descendants, without those that no number depends on."""
    if spared(node):
        return
    yield node
    for child in children(node):
        yield from nodes(child)


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """Children of a node that may be changed."""
    if isinstance(node, cst.Raise | cst.ExceptHandler):
        return [node.body] if isinstance(node, cst.ExceptHandler) else []
    if isinstance(node, cst.Comparison):
        ordered = [target for target in node.comparisons if not membership(target)]
        inner = [e.value for t in node.comparisons if membership(t) for e in members(t)]
        return [node.left, *(t for t in node.comparisons if t not in ordered), *ordered, *inner]
    if isinstance(node, cst.ComparisonTarget) and membership(node):
        return [node.operator]
    if isinstance(node, cst.Attribute):
        return [node.value]
    if isinstance(node, cst.Call):
        return [node.func, *node.args]
    if isinstance(node, cst.Arg):
        return [node.value]
    return list(node.children)


def membership(target: cst.ComparisonTarget) -> bool:
    """Is it `in (a, b)`, where the order does not matter?"""
    return isinstance(target.operator, cst.In | cst.NotIn) and isinstance(
        target.comparator, cst.Tuple | cst.List | cst.Set
    )


def members(target: cst.ComparisonTarget) -> list[cst.BaseElement]:
    return list(target.comparator.elements)


def spared(node: cst.CSTNode) -> bool:
    """Is it an annotation, import, docstring, message or the form of a record?"""
    if isinstance(node, cst.Annotation | cst.Import | cst.ImportFrom | cst.FormattedString):
        return True
    if isinstance(node, cst.Expr):
        noted = isinstance(node.value, cst.Call) and name_of(node.value) in NOTES
        return noted or isinstance(node.value, cst.BaseString)
    if isinstance(node, cst.ConcatenatedString):
        return True
    if isinstance(node, cst.FunctionDef) and node.name.value in ("__str__", "__repr__"):
        return True
    if isinstance(node, cst.If) and name_of(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, cst.Assign):
        return name_of(node.targets[0].target) == "__all__"
    if isinstance(node, cst.Decorator | cst.Call):
        inner = node.decorator if isinstance(node, cst.Decorator) else node
        return name_of(inner) in SPOKEN | SHAPE
    if isinstance(node, cst.Arg) and node.keyword is not None:
        return node.keyword.value == "strict"
    return isinstance(node, cst.SimpleString) and " " in node.raw_value
