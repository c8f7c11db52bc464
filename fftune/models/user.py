"""A user's own net, from a function in a file of theirs."""

import importlib.util
import sys
from pathlib import Path

from torch import nn

from fftune.errors import ModelError


def user_model(factory: str) -> nn.Module:
    """What `path/to/file.py:FUNCTION` returns, called without arguments.

    `path/to/file.py:FUNCTION:NAME` calls it with the text NAME. The file is run, as importing
    it would.

    Raises:
        ModelError: there is no such file or function, it fails, or returns something else.
    """
    file = source_of(factory)
    name, *argument = factory.rpartition(".py:")[2].split(":", 1)
    if file is None or not file.is_file():
        named = f"{str(file)!r}" if file else "in it; it is FILE.py:FUNCTION"
        raise ModelError(f"model {factory!r}: there is no file {named}")
    try:
        function = getattr(_module(file), name, None)
        if not callable(function):
            raise ModelError(f"model {factory!r}: {file.name} defines no function {name!r}")
        model = function(*argument)
    except ModelError:
        raise
    except Exception as error:  # whatever the user's code raises
        reason = (str(error) or "no message").splitlines()[0]
        raise ModelError(f"model {factory!r}: {type(error).__name__}: {reason}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {factory!r} returned {type(model).__name__}, not a module")
    return model


def source_of(factory: str) -> Path | None:
    """The file that a user's net comes from; None where the factory names no file."""
    path, found, _ = factory.rpartition(".py:")
    return Path(f"{path}.py") if found and path else None


def _module(file: Path) -> object:
    """The file as a module; its neighbours can be imported, as from a script."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None  # a .py file has a loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent.absolute()))
    sys.modules[file.stem] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module
