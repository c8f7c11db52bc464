"""Evaluation: batteries of attacks on the blocks of a data set, as rows."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fftune.evaluate.battery import Probe, probes
    from fftune.evaluate.run import attacked, evaluate, judge

__all__ = ["Probe", "attacked", "evaluate", "judge", "probes"]

_HOMES = {
    "Probe": "battery",
    "attacked": "run",
    "evaluate": "run",
    "judge": "run",
    "probes": "battery",
}


def __getattr__(name: str) -> Any:
    """Import torch when it is needed: `python -m fftune.evaluate --help` has to answer at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
