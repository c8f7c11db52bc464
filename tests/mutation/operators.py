"""Mutation operators: those of mutmut that fit numeric code, and our own.

An operator takes a node and yields replacements. Operators of mutmut that replace a value by None
or drop a positional argument are left out, since any test of the line kills them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import libcst as cst
from mutmut.mutation import mutators

Operator = tuple[type, Callable[[Any], Iterable[cst.CSTNode]]]

PAIRS = (
    ("min", "max"),
    ("any", "all"),
    ("argmin", "argmax"),
    ("amin", "amax"),
    ("minimum", "maximum"),
    ("clamp_min", "clamp_max"),
    ("sum", "mean"),
    ("floor", "ceil"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("first", "last"),
)
SWAPS = dict(PAIRS) | {b: a for a, b in PAIRS}
FLIPS = {
    cst.LessThan: cst.GreaterThan,
    cst.LessThanEqual: cst.GreaterThanEqual,
    cst.GreaterThan: cst.LessThan,
    cst.GreaterThanEqual: cst.LessThanEqual,
}
COMMUTE = {"min", "max", "minimum", "maximum", "equal", "allclose", "isinstance", "gcd", "zip"}
"""Calls whose result does not depend on the order of arguments (zip's is undone by names)."""
KEPT = {"isinstance", "len", "range", "zip", "enumerate", "super", "getattr", "cast", "field"}
CASTS = {"int", "float", "str", "bool", "tuple", "list", "dict", "item", "tolist"}
PLACES = {"to", "cpu", "contiguous"}
"""Calls that change where a tensor lies, not what it is."""
NAMESPACES = {"torch", "F", "np", "numpy", "nn", "math", "self", "cls", "pd", "pa"}
STRUCTURE = {"property", "classmethod", "staticmethod", "dataclass", "cache", "lru_cache"}
HASHES = ("hash", "fold", "update", "sha", "blake", "key", "digest")
DRAWS = {"integers": "numpy", "choice": "numpy", "randint": "torch", "randperm": "torch"}


def name_of(node: cst.CSTNode) -> str:
    """Last part of a dotted name or of a called one; empty for anything else."""
    if isinstance(node, cst.Call):
        return name_of(node.func)
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def closed(node: cst.BaseExpression) -> cst.BaseExpression:
    """Put the expression in parentheses if its surroundings could bind more tightly."""
    loose = (
        cst.BinaryOperation,
        cst.BooleanOperation,
        cst.Comparison,
        cst.IfExp,
        cst.Lambda,
        cst.UnaryOperation,
        cst.GeneratorExp,
    )
    if not isinstance(node, loose) or node.lpar:
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def negated(test: cst.BaseExpression) -> cst.BaseExpression:
    inner = closed(test).with_changes()
    return cst.UnaryOperation(operator=cst.Not(), expression=inner)


def same(a: cst.CSTNode, b: cst.CSTNode) -> bool:
    return a.deep_equals(b)


def ended(items: list[Any]) -> list[Any]:
    """Drop the comma after the last element."""
    return [*items[:-1], *(i.with_changes(comma=cst.MaybeSentinel.DEFAULT) for i in items[-1:])]


# Statements


def delete_statement(node: cst.BaseSmallStatement) -> Iterator[cst.CSTNode]:
    """Delete a call, a raise, an augmented assignment, or an assignment to an attribute."""
    call = isinstance(node, cst.Expr) and isinstance(node.value, cst.Call)
    written = isinstance(node, cst.Assign) and not isinstance(
        node.targets[0].target, cst.Name | cst.Tuple
    )
    if call or written or isinstance(node, cst.Raise | cst.AugAssign):
        yield cst.Pass()


def drop_context(node: cst.With) -> Iterator[cst.CSTNode]:
    """Delete one context manager that binds no name."""
    for i, item in enumerate(node.items):
        if item.asname:
            continue
        rest = [*node.items[:i], *node.items[i + 1 :]]
        if rest:
            yield node.with_changes(items=ended(rest))
        else:
            yield cst.If(test=cst.Name("True"), body=node.body, leading_lines=node.leading_lines)


def drop_decorator(node: cst.FunctionDef) -> Iterator[cst.CSTNode]:
    for i, each in enumerate(node.decorators):
        if name_of(each.decorator) not in STRUCTURE:
            yield node.with_changes(decorators=[*node.decorators[:i], *node.decorators[i + 1 :]])


def negate(node: Any) -> Iterator[cst.CSTNode]:
    """Negate a condition where mutmut's `not` and `!=` do not."""
    test = node.test
    single = isinstance(test, cst.Comparison) and len(test.comparisons) == 1
    if single and not isinstance(test.comparisons[0].operator, tuple(FLIPS)):
        return
    if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
        return
    yield node.with_changes(test=negated(test))


# Expressions


def call_to_argument(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Replace `f(x, ...)` and `x.f(...)` by x."""
    name = name_of(node.func)
    if not name or name[0].isupper() or name in KEPT | CASTS | PLACES:
        return
    if isinstance(node.func, cst.Attribute) and name_of(node.func.value) not in NAMESPACES:
        yield closed(node.func.value)
    elif node.args and not node.args[0].star and not node.args[0].keyword:
        yield closed(node.args[0].value)


def swap_arguments(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Swap the values of two neighbouring arguments, both positional or both by keyword."""
    if name_of(node.func) in COMMUTE:
        return
    for i, (a, b) in enumerate(zip(node.args, node.args[1:], strict=False)):
        if a.star or b.star or bool(a.keyword) != bool(b.keyword) or same(a.value, b.value):
            continue
        args = list(node.args)
        args[i], args[i + 1] = a.with_changes(value=b.value), b.with_changes(value=a.value)
        yield node.with_changes(args=args)


def drop_argument(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Drop a keyword argument, or a positional one of a call that makes a hash or a key."""
    hashed = any(word in name_of(node.func) for word in HASHES) and len(node.args) > 1
    for i, arg in enumerate(node.args):
        if not (hashed or arg.keyword) or (arg.keyword and arg.keyword.value == "strict"):
            continue
        rest = [*node.args[:i], *node.args[i + 1 :]]
        yield node.with_changes(args=ended(rest))


def swap_elements(node: cst.List | cst.Tuple) -> Iterator[cst.CSTNode]:
    for i, (a, b) in enumerate(zip(node.elements, node.elements[1:], strict=False)):
        starred = isinstance(a, cst.StarredElement) or isinstance(b, cst.StarredElement)
        if starred or same(a.value, b.value):
            continue
        elements = list(node.elements)
        elements[i], elements[i + 1] = a.with_changes(value=b.value), b.with_changes(value=a.value)
        yield node.with_changes(elements=elements)


def drop_element(node: cst.List | cst.Tuple | cst.Set | cst.Dict) -> Iterator[cst.CSTNode]:
    for i in range(len(node.elements)):
        rest = [*node.elements[:i], *node.elements[i + 1 :]]
        if not rest and not isinstance(node, cst.List | cst.Dict):
            continue
        yield node.with_changes(elements=ended(rest))


def drop_operand(node: cst.BooleanOperation) -> Iterator[cst.CSTNode]:
    """Replace `a and b` by a, or by b."""
    yield node.left
    yield node.right


def flip(node: cst.ComparisonTarget) -> Iterator[cst.CSTNode]:
    """Replace `<` by `>`, and so on."""
    if other := FLIPS.get(type(node.operator)):
        yield node.with_changes(operator=other())


def swap_name(node: cst.Attribute | cst.Name) -> Iterator[cst.CSTNode]:
    """Replace `min` by `max`, and other pairs."""
    if isinstance(node, cst.Attribute) and (other := SWAPS.get(node.attr.value)):
        yield node.with_changes(attr=cst.Name(other))
    elif isinstance(node, cst.Name) and node.value in ("min", "max", "any", "all"):
        yield node.with_changes(value=SWAPS[node.value])


def number(node: cst.Integer | cst.Float) -> Iterator[cst.CSTNode]:
    """Replace a number by its double, 0, or 0.1 more (mutmut adds 1)."""
    value = node.evaluated_value
    if value:
        others = [value * 2, 0.0 if isinstance(value, float) else 0]
        others += [round(value + 0.1, 9)] if isinstance(value, float) else []
        for other in others:
            yield node.with_changes(value=repr(other))


def word(node: cst.SimpleString) -> Iterator[cst.CSTNode]:
    """Misspell a key or a word that decides."""
    if node.quote in ('"', "'") and not node.prefix:
        yield node.with_changes(value=f"{node.quote}XX{node.raw_value}{node.quote}")


def drop_index(node: cst.Subscript) -> Iterator[cst.CSTNode]:
    """Replace `a[drawn]` by a: nothing is drawn."""
    one = node.slice[0].slice if len(node.slice) == 1 else None
    if isinstance(one, cst.Index) and isinstance(one.value, cst.Name | cst.Attribute | cst.Call):
        yield closed(node.value)


def drawn_in_order(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Replace drawn indices by 0, 1, 2...: skip one level of a resampling."""
    library = DRAWS.get(name_of(node.func))
    if library:
        order = f"lambda drawn: drawn * 0 + __import__('{library}').arange(drawn.shape[-1])"
        function = cst.parse_expression(f"({order})")
        yield cst.Call(func=function, args=[cst.Arg(node)])


OWN: list[Operator] = [
    (cst.BaseSmallStatement, delete_statement),
    (cst.With, drop_context),
    (cst.FunctionDef, drop_decorator),
    *((kind, negate) for kind in (cst.If, cst.While, cst.IfExp, cst.CompIf, cst.Assert)),
    (cst.Call, call_to_argument),
    (cst.Call, swap_arguments),
    (cst.Call, drop_argument),
    (cst.Call, drawn_in_order),
    *((kind, swap_elements) for kind in (cst.List, cst.Tuple)),
    *((kind, drop_element) for kind in (cst.List, cst.Tuple, cst.Set, cst.Dict)),
    (cst.BooleanOperation, drop_operand),
    (cst.ComparisonTarget, flip),
    *((kind, swap_name) for kind in (cst.Attribute, cst.Name)),
    *((kind, number) for kind in (cst.Integer, cst.Float)),
    (cst.SimpleString, word),
    (cst.Subscript, drop_index),
]
LEFT_OUT = {
    mutators.operator_string,
    mutators.operator_assignment,
    mutators.operator_dict_arguments,
    mutators.operator_arg_removal,
    mutators.operator_lambda,
}
OPERATORS: list[Operator] = [
    *(each for each in mutators.mutation_operators if each[1] not in LEFT_OUT),
    *OWN,
]
