"""Tensors of a file of weights that are a net's: their container, their names, what is beside them.

Training scripts wrap a state_dict in dictionaries (`state_dict`, `model`, `ema`, ...), and its
names in prefixes (`module.`, `_orig_mod.`, `model.`). Exact names are looked for before any prefix
is taken off, as the net's own names may begin with one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config.normalisation import Constants
from fftune.errors import ModelError

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights")
"""Keys of a file under which a net's tensors are expected, the usual first."""
AVERAGED = ("ema", "swa", "averag", "shadow", "teacher", "momentum", "target", "attacker")
"""Words in keys and prefixes of a second copy of a net."""
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that wrappers of torch's add, wherever they stand."""
IGNORED = {"n_averaged", "total_ops", "total_params"}
"""Last parts of names of tensors that counters leave in a state_dict."""
CONSTANTS = {"mean", "std", "mu", "sigma"}
"""Last parts of names of a normalisation, which the net has itself where its file does not."""
DEPTH = 4
"""Levels of dictionaries that are looked through."""
FIRST = 3
"""Names that a refusal shows of net and file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Tensors of a file under the names of a net."""

    state: Mapping[str, Tensor]
    place: str
    """Key of their container, as in `model.best`; empty: the file's top."""
    prefix: str
    """Prefix that was taken off their names."""
    left: int
    """Number of tensors beside them in the container."""
    filled: frozenset[str]
    """Tensors that the file lacks, and the net has."""
    constants: Constants | None
    """Mean and deviation of a normalisation that stands before the net, in the container."""

    @property
    def name(self) -> str:
        """Words by which `weights_key` chooses it."""
        return ".".join(filter(None, (self.place, self.prefix.rstrip("."))))

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Order of preference: not averaged, of a usual container, without a prefix."""
        words = self.name.lower()
        key = self.place.rpartition(".")[2]
        usual = -1 if not self.place else len(CONTAINERS)
        usual = CONTAINERS.index(key) if key in CONTAINERS else usual
        return any(word in words for word in AVERAGED), usual, self.prefix.count(".")

    def __str__(self) -> str:
        under = f", its {self.place!r}" if self.place else ""
        without = f", names without {self.prefix!r}" if self.prefix else ""
        left = f", {self.left} other tensors left out" if self.left else ""
        return f"{under}{without}{left}".removeprefix(", ")


@dataclass(frozen=True, slots=True)
class Own:
    """A net's state_dict, and which of its tensors a file may lack."""

    tensors: Mapping[str, Tensor]
    optional: frozenset[str]

    @classmethod
    def of(cls, net: nn.Module) -> "Own":
        """Tensors of a net: counts of batches and constants of a normalisation it has itself."""
        buffers = (name for name, _ in net.named_buffers())
        held = {name for name in buffers if _last(name) in {"num_batches_tracked", *CONSTANTS}}
        return cls(net.state_dict(), frozenset(held))

    def needs(self, name: str) -> bool:
        """True if a file must have this tensor."""
        return name not in self.optional


@dataclass(frozen=True, slots=True)
class Found:
    """A dictionary of tensors inside a file."""

    place: str
    tensors: Mapping[str, Tensor]


def dictionaries(value: object, place: str = "", depth: int = DEPTH) -> Iterator[Found]:
    """Dictionaries with tensors in what a file holds, outer ones first; optimizers' are passed by.

    A list of one counts as what it holds.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Mapping) or depth == 0:
        return
    tensors = {str(key): one for key, one in value.items() if isinstance(one, Tensor)}
    if tensors:
        yield Found(place, tensors)
    for key, inner in value.items():
        if not str(key).startswith("optim"):
            yield from dictionaries(inner, f"{place}.{key}" if place else str(key), depth - 1)


def chosen(fits: Iterable[Fit], key: str = "") -> tuple[Fit, tuple[str, ...]]:
    """The fit that is meant, and the names of others with other values.

    Args:
        key: `Fit.name` of it; empty: the first by `Fit.rank`, if it is the only one of its rank.

    Raises:
        ModelError: several are as likely, or none is of that key.
    """
    ranked = sorted(fits, key=lambda fit: fit.rank)
    named = [fit for fit in ranked if key in ("", fit.name, fit.place, fit.prefix.rstrip("."))]
    if not named:
        raise ModelError(f"weights_key must be one of {_listed(ranked)}, got {key!r}")
    first, *others = named
    others = [] if key else [fit for fit in others if not _equal(first, fit)]
    if any(fit.rank == first.rank for fit in others):
        raise ModelError(f"several fit, {_listed([first, *others])}; name one by weights_key")
    return first, tuple(dict.fromkeys(fit.name or "top" for fit in others))


def _listed(fits: Iterable[Fit]) -> str:
    return ", ".join(repr(name) for name in dict.fromkeys(fit.name for fit in fits))


def _equal(one: Fit, other: Fit) -> bool:
    return all(torch.equal(value, other.state[name]) for name, value in one.state.items())


def fits(found: Found, own: Own) -> Iterator[Fit]:
    """Ways in which a dictionary has all tensors of a net, of equal shapes and no others."""
    for spelled, names in _spellings(found.tensors, own):
        prefixes = _prefixes(spelled, [short for short, name in names.items() if own.needs(name)])
        for prefix in prefixes:
            fit = _fit(found, spelled, names, own, prefix)
            if fit is not None:
                yield fit
        if prefixes:
            return


def _spellings(
    tensors: Mapping[str, Tensor], own: Own
) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Spellings by which names are compared: the file's names and the net's own, by spelling.

    As they are, without the parts that wrappers add, and without the part that the net adds before
    another net's names.
    """
    for change in (str, _unwrapped):
        theirs = {change(key): key for key in tensors}
        ours = {change(name): name for name in own.tensors}
        if len(theirs) < len(tensors) or len(ours) < len(own.tensors):
            continue
        yield theirs, ours
        needed = [short for short, name in ours.items() if own.needs(name)]
        outer = needed[0].partition(".")[0] + "." if needed else "."
        if all(short.startswith(outer) for short in needed):
            yield (
                theirs,
                {
                    short.removeprefix(outer): name
                    for short, name in ours.items()
                    if short.startswith(outer)
                },
            )


def _prefixes(spelled: Mapping[str, str], needed: Sequence[str]) -> list[str]:
    """Prefixes under which the file has every name that the net needs, the shortest first."""
    if not needed:
        return [""]
    last = needed[0]
    found = [key.removesuffix(last) for key in spelled if key == last or key.endswith(f".{last}")]
    return [
        prefix
        for prefix in sorted(found, key=lambda text: (text.count("."), text))
        if all(prefix + short in spelled for short in needed)
    ]


def _fit(
    found: Found, spelled: Mapping[str, str], names: Mapping[str, str], own: Own, prefix: str
) -> Fit | None:
    state: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for short, key in spelled.items():
        value, name = found.tensors[key], names.get(short.removeprefix(prefix), "")
        if not short.startswith(prefix) or _last(key) in IGNORED:
            rest[key] = value
            continue
        expected = own.tensors.get(name)
        if expected is None:
            return None
        if value.shape != expected.shape:
            if name not in own.optional or value.numel() != expected.numel():
                return None
            value = value.view_as(expected)
        state[name] = value
    filled = own.optional - state.keys()
    return Fit(
        state={name: own.tensors[name] for name in filled} | state,
        filled=filled,
        place=found.place,
        prefix=prefix,
        left=sum(_last(key) not in IGNORED for key in rest),
        constants=_constants(rest) if prefix else None,
    )


def _constants(tensors: Mapping[str, Tensor]) -> Constants | None:
    """Mean and deviation of a module of normalisation, as MadryLab's `normalizer.new_mean`."""
    for key in sorted(tensors, key=len):
        module, _, last = key.rpartition(".")
        if last in ("mean", "new_mean") and "norm" in module.rpartition(".")[2].lower():
            std = tensors.get(f"{module}.{last.replace('mean', 'std')}")
            if std is not None and std.numel() == tensors[key].numel() <= 4:
                mean = tensors[key].flatten().tolist()
                return tuple(mean), tuple(std.flatten().tolist())
    return None


def misfit(found: Iterable[Found], own: Own) -> str:
    """One line on tensors that do not fit a net, beside what it expects."""
    closest = max(found, key=lambda one: _alike(one, own), default=None)
    if closest is None:
        return f"it holds no tensors by name; the net has {_some(own.tensors)}"
    under = f"its {closest.place!r}" if closest.place else "it"
    theirs = {_unwrapped(key): value for key, value in closest.tensors.items()}
    ours = {_unwrapped(name): value for name, value in own.tensors.items()}
    if not theirs.keys() & ours.keys():
        return f"{under} has {_some(closest.tensors)}; the net has {_some(own.tensors)}"
    shapes = [
        f"{name} is {tuple(theirs[name].shape)}, expected {tuple(value.shape)}"
        for name, value in ours.items()
        if name in theirs and theirs[name].shape != value.shape
    ]
    needed = {_unwrapped(name) for name in own.tensors if own.needs(name)}
    lacking = {name: ours[name] for name in ours if name in needed - theirs.keys()}
    foreign = {name: one for name, one in theirs.items() if name not in ours}
    more = [f"{len(shapes) - FIRST} more shapes differ"] if len(shapes) > FIRST else []
    parts = [*shapes[:FIRST], *more]
    parts += [f"{under} lacks {_some(lacking)}"] if lacking else []
    parts += [f"the net has no {_some(foreign)}"] if foreign else []
    return "; ".join(parts)


def _alike(found: Found, own: Own) -> tuple[int, bool, int]:
    names = {_unwrapped(name) for name in own.tensors}
    shared = sum(_unwrapped(key) in names for key in found.tensors)
    return shared, found.place.rpartition(".")[2] in CONTAINERS, len(found.tensors)


def _some(tensors: Mapping[str, Tensor]) -> str:
    shown = [f"{name} {tuple(value.shape)}" for name, value in islice(tensors.items(), FIRST)]
    more = len(tensors) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def under_hooks(found: Found) -> Iterator[dict[str, Any]]:
    """States of a dictionary for nets that rename them as they load: as it is, and unwrapped."""
    yield dict(found.tensors)
    yield {key.removeprefix("module."): value for key, value in found.tensors.items()}
