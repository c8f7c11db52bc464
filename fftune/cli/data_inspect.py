"""`python -m fftune.data inspect SET --against ORIGINAL | --net NET`: was this set touched?"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from fftune.cli.help_page import Manual
from fftune.cli.options import announce_imports
from fftune.config import DataSpec, ModelSpec, ResultForm, Split, ThreatModel, require
from fftune.config.validation import require_words
from fftune.errors import ConfigError

if TYPE_CHECKING:
    from fftune.data import Dataset
    from fftune.report.result_page import ResultPage
    from fftune.verdict import Outcome


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Tell if a set was touched by a false friend: exactly against its original, or by a net."""

    name: tyro.conf.Positional[str] = ""
    """The set: one that `fftune data list` shows, folder:PATH or FILE.py:NAME."""
    against: str | None = None
    """The original, likewise, or a manifest of `fftune data sign`; every image and label is
    compared. Default: it is not at hand."""
    net: str | None = None
    """A net under audit: a checkpoint folder, FILE.py:FUNCTION, or a name as `--model` takes it.
    The verdict is then statistical. Default none."""
    weights: str = ""
    """File of its weights, where the net does not bring them."""
    clean: str | None = None
    """A held-out set of the same kind that nobody has touched: a third of it must hold ten
    mistakes of the net. Default none; then nobody knows what a clean set looks like, and the
    verdict is inconclusive."""
    split: Split = "test"
    """Part of the set, and of the original."""
    clean_split: Split = "test"
    """Part of the held-out set."""
    examples: int | None = None
    """Images of the set that `--net` looks at, evenly spread; default all."""
    clean_examples: int | None = None
    """Images of the held-out set, evenly spread; default all."""
    threat: Annotated[ThreatModel, tyro.conf.arg(name="")] = field(default_factory=ThreatModel)
    friends: int = 100
    """Images, mistakes of the net, that each of our own friends touches to fit the detector, and
    again to measure it: more cost more time."""
    matters: float = 0.05
    """Smallest share of touched images that matters, of the whole set. "Nothing found" is only said
    where that many would have been found with power .8; else the verdict is inconclusive."""
    seed: int = 0
    """Seed of the friends, of the parts of the clean set and of resampled sets."""
    threads: int = 1
    """CPU threads."""
    format: ResultForm = "text"
    """Form of the result on stdout; default text."""

    def __post_init__(self) -> None:
        require_words(self)
        require("name", bool(self.name), "a SET", self.name)
        for name in ("examples", "clean_examples"):
            value = getattr(self, name)
            require(name, value is None or value >= 1, ">= 1", value)
        if (self.against is None) == (self.net is None):
            raise ConfigError("against or net must be named, one of them")
        for name in ("clean", "weights"):
            value = getattr(self, name)
            require(name, not value or self.net is not None, "left out without --net", value)
        require("format", self.format != "csv", "one of text, markdown, json", self.format)


MANUAL = Manual(
    usage=(
        "SET --against ORIGINAL",
        "SET --net NET --clean HELD_OUT [--SETTING VALUE ...]",
    ),
    about=Inspect.__doc__ or "",
    usual=(
        *("NAME", "--against", "--net", "--clean", "--split", "--clean-split"),
        *("--examples", "--clean-examples", "--eps", "--matters", "--format"),
    ),
)


def inspect(command: Inspect) -> None:
    """Inspect, print, and end by the verdict: 0 nothing found, 3 touched, 4 inconclusive."""
    announce_imports()
    from fftune.verdict import EXIT_CODES

    page, outcome = _exact(command) if command.net is None else _by_net(command, command.net)
    page.write(command.format)
    raise SystemExit(EXIT_CODES[outcome])


def _exact(command: Inspect) -> "tuple[ResultPage, Outcome]":
    from fftune.config.data import data_name
    from fftune.forensics.exact import compare
    from fftune.forensics.told import exact_page
    from fftune.storage import in_home

    assert command.against is not None  # or a net would be named
    if command.against.endswith(".json"):
        from fftune.forensics.manifest import against_manifest, manifest_page

        manifest = Path(in_home(command.against))
        fault = against_manifest(data_name(command.name), manifest)
        return manifest_page(fault, manifest), "fail" if fault else "pass"
    found = compare(_data(command.name, command.split), _data(command.against, command.split))
    return exact_page(found), found.outcome


def _by_net(command: Inspect, name: str) -> "tuple[ResultPage, Outcome]":
    from fftune.data.model_spec import load_for
    from fftune.forensics.inspection import inspect_set
    from fftune.forensics.record import InspectConfig
    from fftune.forensics.told import inspection_page
    from fftune.forensics.unreferenced import look, look_page

    config = InspectConfig(
        threat=command.threat,
        friends=command.friends,
        matters=command.matters,
        seed=command.seed,
        threads=command.threads,
    )
    spec = _spec(name, command.weights)
    data = _data(command.name, command.split, command.examples)
    net, spec = load_for(spec, lambda: data)
    if command.clean is None:
        seen = look(net, data, config)
        return look_page(seen, spec.label), "inconclusive"
    clean = _data(command.clean, command.clean_split, command.clean_examples)
    found = inspect_set(net, data, clean, config)
    return inspection_page(found, config, spec.label, command.name), found.outcome


def _data(name: str, split: Split, examples: int | None = None) -> "Dataset":
    from fftune.data.subset import sample

    return sample(DataSpec(name=name), split, examples)


def _spec(net: str, weights: str) -> ModelSpec:
    """The net as it is named.

    Raises:
        ConfigError: it has no weights, or its checkpoint would run a file that nobody named.
    """
    from fftune.models.specs import named_spec, read_spec, with_named_code
    from fftune.models.variants import checkpoint_at
    from fftune.registry import MODELS

    if (folder := checkpoint_at(net)) is not None:
        require("weights", not weights, "left out for a checkpoint, which has its own", weights)
        return with_named_code(read_spec(folder), folder)
    if net in MODELS and not weights:
        raise ConfigError(f"net {net!r} has no weights: name them by --weights FILE")
    return named_spec(net, weights)
