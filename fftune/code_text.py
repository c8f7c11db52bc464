"""Texts of Python files: what they define and import, without running them."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def functions_of(file: Path) -> list[str]:
    """Names of the functions that a file defines, without running it; none of a damaged file."""
    nodes = _parsed(_content(file)).body
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef)]


def written_code(file: Path) -> str:
    """A digest of a file's text, and of the modules beside it that it imports, and these import.

    Nothing is run, so that it is the same before and after the file is; `local_code` knows modules
    that are imported by other means than a statement.
    """
    folder, texts, ahead = file.absolute().parent, {}, [file.absolute()]
    while ahead:
        path = ahead.pop()
        name = path.relative_to(folder).as_posix() if path != file.absolute() else ""
        if name in texts:
            continue
        texts[name] = _content(path)
        ahead += _imported(texts[name], folder)
    told = repr([(name, hashlib.sha256(text).hexdigest()) for name, text in sorted(texts.items())])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _imported(text: bytes, folder: Path) -> Iterator[Path]:
    """Files of a folder that a text imports; of a package there all."""
    nodes = list(ast.walk(_parsed(text)))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    for name in {name.partition(".")[0] for name in named}:
        if (module := folder / f"{name}.py").is_file():
            yield module
        if (folder / name).is_dir():
            yield from (folder / name).rglob("*.py")


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _parsed(text: bytes) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):  # told when it is run
        return ast.Module([], [])
