"""Published nets of which users have the weights: rows of Wu et al. 2021, tables 1, 2, 5 to 8.

A zoo is a TOML file with a table `[[net]]` for each net:

    [[net]]
    name = "Carmon2019Unlabeled"
    factory = "robustbench:Carmon2019Unlabeled"
    weights = "weights/Carmon2019Unlabeled.pt"
    eps = "8/255"
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from os.path import abspath
from pathlib import Path
from typing import Any

from fftune.config import Norm, ThreatModel, default_eps, from_json, nearest
from fftune.config.validation import read_number, require
from fftune.data.catalog import data_root
from fftune.errors import ConfigError
from fftune.models.specs import OURS, ROBUSTBENCH, named_spec
from fftune.recipes import Scale
from fftune.registry import DATASETS, PAPERS
from fftune.stored_file import read_toml, reading

PACKAGED = Path(__file__).with_name("zoo.toml")
"""The nets of Wu et al. 2021, with weights in `<FFTUNE_DATA>/weights`, as RobustBench lays them."""
NORMS: dict[Norm, str] = {"linf": "Linf", "l2": "L2"}
"""RobustBench's names of norms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooNet:
    """A published net: how to build it, where its weights are, and what it was judged on."""

    name: str
    """Its identifier, RobustBench's where it has one."""
    factory: str
    """`fftune:NAME`, `path/to/FILE.py:FUNCTION`, or `robustbench:DATA/NORM/ID`."""
    weights: str = ""
    """Path of its state_dict; empty where the factory loads them."""
    data: str = "cifar10"
    norm: Norm = "linf"
    eps: float | None = None
    """Radius; None: the norm's own."""
    tables: tuple[str, ...] = ()
    """Keys of the tables that it is a row of, as in `registry.PAPERS`."""
    published: tuple[tuple[str, str, float], ...] = ()
    """Printed cells of the user's: row, column, percent; those of Wu et al. 2021 are known.

    Names are those of rows, as `hedge` and `autoattack`; files may have the printed ones."""

    def __str__(self) -> str:
        data = "" if self.data == "cifar10" else f" {self.data}"
        return f"{self.name}{data}{'' if self.norm == 'linf' else f' {self.norm}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A table `[[net]]` as it is written; see `ZooNet`."""

    name: str
    factory: str
    weights: str = ""
    data: str = "cifar10"
    norm: Norm = "linf"
    eps: float | None = None
    tables: tuple[str, ...] = ()
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def read_zoo(path: Path) -> tuple[ZooNet, ...]:
    """The nets of a zoo file of the user's; its paths are relative to the file.

    Raises:
        ConfigError: there is no such file, a field is unknown or wrong, weights are not there, or
            a net is there twice. The message names the file, the net and the field.
    """
    nets = _read(path, path.absolute().parent)
    if gone := missing(nets):
        raise ConfigError(f"zoo {str(path)!r}: weights are missing: {gone[0]}")
    return nets


def packaged_zoo() -> tuple[ZooNet, ...]:
    """The nets of Wu et al. 2021, whether or not their weights are there."""
    return _read(PACKAGED, data_root() / "weights")


def zoo_of(scale: Scale, given: tuple[ZooNet, ...]) -> tuple[ZooNet, ...]:
    """The nets that the user gave; without any the published ones at full scale, else none."""
    return given or (packaged_zoo() if scale == "full" else ())


def taken_as_here(scale: Scale, given: tuple[ZooNet, ...]) -> tuple[ZooNet, ...]:
    """The same nets for a plan: those without their weights as if their factory loaded them."""
    return tuple(net if is_here(net) else replace(net, weights="") for net in zoo_of(scale, given))


def missing(nets: Iterable[ZooNet]) -> list[str]:
    """Nets without their weights, each as one line with the file that is expected."""
    return [f"{net} ({net.weights})" for net in nets if not is_here(net)]


def is_here(net: ZooNet) -> bool:
    """Tell if a net's weights are there, or loaded by its factory."""
    return not net.weights or Path(net.weights).is_file()


def _read(path: Path, folder: Path) -> tuple[ZooNet, ...]:
    written = read_toml(path, "zoo", ConfigError)
    with reading(path, "zoo", ConfigError):
        return _nets(written, path, folder)


def _nets(written: Mapping[str, Any], path: Path, folder: Path) -> tuple[ZooNet, ...]:
    tables: Any = written.get("net")
    for table in written.keys() - {"net"}:
        raise ConfigError(f"zoo {str(path)!r}: unknown table {table!r}; {nearest(table, ['net'])}")
    if not _are_tables(tables):
        raise ConfigError(f"zoo {str(path)!r} must hold tables [[net]], got {tables!r}")
    found: dict[tuple[str, str, str], ZooNet] = {}
    for number, table in enumerate(tables, start=1):
        name = table.get("name", f"number {number}")
        try:
            net = _net(table, folder)
            key = (net.name, net.data, net.norm)
            require("name", key not in found, f"once for {net.data} and {net.norm}", net.name)
        except ConfigError as error:
            raise ConfigError(f"zoo {str(path)!r}: net {name!r}: {error}") from None
        found[key] = net
    return tuple(found.values())


def _are_tables(tables: Any) -> bool:
    return isinstance(tables, list) and all(isinstance(table, dict) for table in tables)


def _net(table: Mapping[str, Any], folder: Path) -> ZooNet:
    entry = _entry(table)
    DATASETS.check("data", entry.data)
    for key in entry.tables:
        PAPERS.check("tables", key)
    ThreatModel(norm=entry.norm, eps=default_eps(entry.norm) if entry.eps is None else entry.eps)
    return ZooNet(
        name=entry.name,
        factory=_factory(entry, folder),
        weights=_path(entry.weights, folder) if entry.weights else "",
        data=entry.data,
        norm=entry.norm,
        eps=entry.eps,
        tables=entry.tables,
        published=tuple(_cells(entry.published)),
    )


def _cells(published: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, str, float]]:
    """Printed cells by the names that rows have.

    Raises:
        ConfigError: a row or a column is unknown, or a number is no share in percent.
    """
    from fftune.papers.tables.attack_tables import COLUMNS, METHODS  # needs torch

    for row, cells in sorted(published.items()):
        for column, percent in sorted(cells.items()):
            require("published", 0 <= percent <= 100, "percents, from 0 to 100", percent)
            yield _known("row", row, METHODS), _known("column", column, COLUMNS), percent


def _known(what: str, name: str, names: Mapping[str, str]) -> str:
    """The name in rows of what is given by that, or as the paper prints it."""
    if name in names:
        return name
    for known, printed in names.items():
        if name == printed:
            return known
    told = nearest(name, [*names, *names.values()])
    raise ConfigError(f"published: unknown {what} {name!r}; {told}")


def _entry(table: Mapping[str, Any]) -> _Entry:
    given = dict(table)
    if isinstance(given.get("eps"), str):
        try:
            given["eps"] = read_number(given["eps"])
        except ValueError:
            raise ConfigError(f"eps must be a number or a fraction, got {given['eps']!r}") from None
    return from_json(_Entry, json.dumps(_defaults() | given, default=str))


def _defaults() -> dict[str, Any]:
    """Values of the fields that may be left out."""
    return {f.name: f.default for f in fields(_Entry) if f.default is not MISSING} | {
        f.name: f.default_factory() for f in fields(_Entry) if f.default_factory is not MISSING
    }


def _factory(entry: _Entry, folder: Path) -> str:
    """The factory as any process understands it.

    Raises:
        ConfigError: it is none, or it would leave the net without weights.
    """
    file, own, function = entry.factory.rpartition(".py:")
    if own:
        place = _path(f"{file}.py", folder)
        require("factory", Path(place).is_file(), "a function of a file that exists", place)
        return f"{place}:{function}"
    ours = entry.factory.startswith(OURS)
    if not ours and not entry.factory.startswith(ROBUSTBENCH):
        kinds = "fftune:NAME, robustbench:ID or path/to/FILE.py:FUNCTION"
        raise ConfigError(f"factory must be {kinds}, got {entry.factory!r}")
    require("weights", bool(entry.weights), f"given for factory {entry.factory!r}", entry.weights)
    if ours:
        return named_spec(entry.factory.removeprefix(OURS)).factory
    name = entry.factory.removeprefix(ROBUSTBENCH)
    return f"{ROBUSTBENCH}{entry.data}/{NORMS[entry.norm]}/{name}"


def _path(written: str, folder: Path) -> str:
    return abspath(folder / Path(written).expanduser())
