"""Optional libraries: imported where they are named, and missed in one line."""

from importlib import import_module
from typing import Any

from fftune.errors import ModelError


def extra(module: str, name: str, what: str) -> Any:
    """Import a module of an optional library.

    Args:
        name: of the extra that installs it, as in `fftune[timm]`.
        what: needs it, at the beginning of the message.

    Raises:
        ModelError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == library
        said = "which is not installed" if missing else f"which cannot be imported ({error})"
        raise ModelError(f"{what}: needs {library}, {said}: pip install 'fftune[{name}]'") from None
