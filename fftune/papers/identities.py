"""Content of tasks, from which their names are made: all that decides a result, and no place.

A file of the user's counts by its text, and not by where it lies.
"""

from dataclasses import asdict, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fftune.config import TrainConfig
from fftune.papers.declarations import Analysis, Exam
from fftune.papers.zoo import ZooNet
from fftune.registry import label, written_code_of
from fftune.storage import sha256


def of_training(config: TrainConfig) -> dict[str, Any]:
    """A training: its settings, and the code of an objective or a net of the user's."""
    told: dict[str, Any] = {"config": config}
    if code := _code_of(config.objective, config.model):
        names = {"objective": label(config.objective), "model": label(config.model)}
        told |= {"config": asdict(config) | names, "code": code}
    return told


def of_need(need: Exam | Analysis) -> dict[str, Any]:
    """An evaluation or an analysis without its nets, which others tell."""
    told = {name: value for name, value in asdict(need).items() if name not in ("net", "nets")}
    if isinstance(need, Exam):
        code = _code_of(need.battery, *need.defenses)
        if code:
            told |= {"battery": label(need.battery), "defenses": [*map(label, need.defenses)]}
    else:
        code = _code_of(_with_file(need.run))
    return {"need": told} | ({"code": code} if code else {})


def of_published(net: ZooNet) -> dict[str, Any]:
    """A published net: how it is built, its weights, and what it is judged on."""
    return {
        "factory": label(net.factory),
        "code": written_code_of(net.factory),
        "weights": sha256(Path(net.weights)) if net.weights else "",
        "data": net.data,
        "eps": net.eps,
    }


def plain(value: Any) -> Any:
    """Settings as JSON takes them."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _code_of(*names: str) -> dict[str, str]:
    """Digests of the files among these names."""
    return {label(name): code for name in names if (code := written_code_of(name))}


def _with_file(run: str) -> str:
    """`package.module:FUNCTION` as `FILE.py:FUNCTION`, unless it is of this package.

    Raises:
        ImportError: there is no such package.
    """
    module, _, function = run.partition(":")
    if module.partition(".")[0] == __name__.partition(".")[0]:
        return run
    try:
        spec = find_spec(module)
    except ValueError:  # of `__main__`, whose code nobody else could import
        return run
    return f"{spec.origin}:{function}" if spec is not None and spec.origin else run
