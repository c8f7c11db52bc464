"""The spec of a net as a checkpoint folder holds it; it can be read without torch."""

from dataclasses import replace
from pathlib import Path

from fftune.config import ModelSpec, from_json
from fftune.errors import ModelError


def read_spec(folder: Path) -> ModelSpec:
    """The net of a checkpoint folder, wherever the folder is now.

    Raises:
        ModelError: there is no complete checkpoint.
    """
    try:
        text = (folder / "model.json").read_text(encoding="utf-8")
    except OSError:
        raise ModelError(f"no complete checkpoint in {str(folder)!r}") from None
    return replace(from_json(ModelSpec, text), weights=str(folder / "weights.pt"))
