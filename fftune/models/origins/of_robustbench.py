"""`robustbench:DATA/NORM/ID`: published robust nets, from files that RobustBench has fetched.

Architectures of `published_nets` are ours, others are built by the package. Both take pixels in
[0, 1].
"""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from torch import nn

from fftune.errors import ModelError
from fftune.models.extras import extra
from fftune.models.origins.found_weights import first_file, told_file
from fftune.models.origins.spec import Asked, Built, ModelSource
from fftune.models.published_nets import CLASSES, LAYOUTS
from fftune.models.weights import read_weights
from fftune.registry import nearest

FOLDER = Path("models")
"""Folder of RobustBench's files unless it is told otherwise, below the current one."""
LAST = re.compile("Kireev2021Effectiveness.*|Andriushchenko2020Understanding")
"""Nets whose file holds two states, of which RobustBench takes `last`."""


def build(asked: Asked) -> Built:
    """The net `DATA/NORM/ID`, as in `cifar10/Linf/Standard`, or `ID` where that says it all.

    Raises:
        ModelError: nothing builds it, or its file is not there.
    """
    place = _place(asked.name)
    data, norm, name = place.split("/")
    ours = place in LAYOUTS
    net = LAYOUTS[place](CLASSES[data]) if ours else _of_package(data, norm, name)
    version = "" if ours else f"robustbench {_version()}".strip()
    builder = "an architecture of fftune" if ours else version
    told, said_by = f"{place} of RobustBench, {builder}", "the convention of RobustBench"
    if not asked.fresh:
        load = f"load_model({name!r}, dataset={data!r}, threat_model={norm!r})"
        path = first_file(
            [FOLDER / f"{place}.pt"],
            f"weights of robustbench:{place}",
            f'fetch them by: python -c "from robustbench.utils import load_model; {load}"; or name '
            "a file by --weights",
        )
        read_weights(net, str(path), "last" if LAST.fullmatch(name) else "")
        told = f"{told}, {told_file(path)}"
    return Built(net=net, version=version, told=told, said_by=said_by)


def _place(name: str) -> str:
    """DATA/NORM/ID of a name, which may be the last part alone.

    Raises:
        ModelError: there is none, or several.
    """
    if name.count("/") == 2:
        return name
    known = {*LAYOUTS, *_known()}
    found = sorted(one for one in known if one.rpartition("/")[2] == name)
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(f"robustbench:{name} is one of {', '.join(found)}: name it in full")
    _tables(f"net {name!r}")  # says if the package is missing, which may know it
    near = nearest(name, known if "/" in name else {one.rpartition("/")[2] for one in known})
    raise ModelError(f"robustbench has no net {name!r}, as in 'cifar10/Linf/Standard'; {near}")


def _known() -> list[str]:
    """Nets of the package by DATA/NORM/ID; none where it is not installed."""
    try:
        tables = _tables(_PLAIN)
    except ModelError:
        return []
    return [
        f"{data.value}/{norm.value}/{name}"
        for data, norms in tables.items()
        for norm, nets in norms.items()
        for name in nets
    ]


def _tables(what: str) -> Mapping[Any, Any]:
    zoo: Mapping[Any, Any] = extra("robustbench.model_zoo", "robustbench", what).model_dicts
    return zoo


def _of_package(data: str, norm: str, name: str) -> nn.Module:
    tables = _tables(f"net {name!r} ({data}, {norm})")
    enums = extra("robustbench.model_zoo.enums", "robustbench", _PLAIN)
    try:
        known = tables[enums.BenchmarkDataset(data)][enums.ThreatModel(norm)]
    except (KeyError, ValueError):
        raise ModelError(f"robustbench has no nets for {data!r} and {norm!r}") from None
    if name not in known:
        raise ModelError(
            f"robustbench has no net {name!r} ({data}, {norm}); {nearest(name, known)}"
        )
    if isinstance(known[name].get("gdrive_id"), list):
        raise ModelError(f"robustbench:{name} is several files: load it in a FILE.py:FUNCTION")
    if data == "imagenet" and name.startswith("Standard"):  # which would be downloaded
        raise ModelError(
            f"robustbench:{name} is torchvision's own: name it as torchvision:resnet50"
        )
    net: nn.Module = known[name]["model"]()
    return net


def _version() -> str:
    try:
        return version_of("robustbench")
    except PackageNotFoundError:
        return ""


_PLAIN = "model robustbench:ID"

SOURCE = ModelSource(build=build, sized=False)
