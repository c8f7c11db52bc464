"""A user's own net, from a function in a file of theirs."""

from pathlib import Path

from torch import nn

from fftune.errors import ModelError
from fftune.user_code import UserCodeError, attribute, called


def user_model(factory: str) -> nn.Module:
    """What `path/to/file.py:FUNCTION` returns, called without arguments.

    `path/to/file.py:FUNCTION:NAME` calls it with the text NAME. The file is run, as importing
    it would; its neighbours can be imported, as from a script.

    Raises:
        ModelError: there is no such file or function, it fails, or returns something else.
    """
    file = source_of(factory)
    name, *argument = factory.rpartition(".py:")[2].split(":", 1)
    if file is None or not file.is_file():
        named = f"{str(file)!r}" if file else "in it; it is FILE.py:FUNCTION"
        raise ModelError(f"model {factory!r}: there is no file {named}")
    try:
        function = attribute(file, name)
        if not callable(function):
            raise ModelError(f"model {factory!r}: {file.name} defines no function {name!r}")
        model = called(file, function, *argument)
    except UserCodeError as error:
        raise ModelError(f"model {factory!r}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {factory!r} returned {type(model).__name__}, not a module")
    return model


def source_of(factory: str) -> Path | None:
    """The file that a user's net comes from; None where the factory names no file."""
    path, found, _ = factory.rpartition(".py:")
    return Path(f"{path}.py") if found and path else None
