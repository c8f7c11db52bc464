"""Search space of a study: fields of its base by their paths, each a range or choices."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from fftune.config.serialization import flat
from fftune.config.validation import UNSAID, read_number, require, require_words
from fftune.errors import ConfigError
from fftune.registry import nearest

T = TypeVar("T")
Value = int | float | str
Axis = Literal["linear", "log", "log1p"]
SCALES: dict[str, Axis] = {"linear": "linear", "log": "log", "log1p": "log1p"}
Settings = Mapping[str, Any]
"""Values by the paths of their fields, as in {"lam": 6.0, "optimizer.lr": 0.1}."""

RADII = ("eps", "eps_d")
"""Names of fields that are radii in the `norm` beside them."""

FIXED = (
    *("seed", "threads", "data", "engine", "device", "workers", "min_workers"),
    *("net", "examples", "aware", "block_size"),
)
"""Fields that no search may change: all trials of a study are evaluated on the same examples and
do not depend on where they ran; seeds are repeated, not searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One field of the search: a range of values, or choices.

    On a command line it is `lam=0:100:log1p`, `optimizer.lr=0.01:0.2:log` or
    `objective=thrm,trades`.
    """

    path: str
    """Path of a field of `base`, as in `optimizer.lr`."""
    low: float = 0.0
    """Least value of a range."""
    high: float = 0.0
    """Greatest value of a range."""
    scale: Axis = "linear"
    """Axis on which the range is searched evenly; `log1p` is log(1 + value)."""
    choices: tuple[Value, ...] = ()
    """Values to choose from, two or more, instead of a range."""

    def __post_init__(self) -> None:
        _check_types(self)
        if self.choices:
            distinct = len(set(self.choices)) == len(self.choices) > 1
            require(self.path, distinct, "two or more distinct choices", self.choices)
            return
        ends = math.isfinite(self.low) and math.isfinite(self.high)
        require(f"space: {self.path}", ends, "a finite range", (self.low, self.high))
        rule = "a range with low < high"
        require(f"space: {self.path}", self.low <= self.high, rule, (self.low, self.high))
        least = {"linear": -math.inf, "log": 0.0, "log1p": -1.0}[self.scale]
        rule = f"a range above {least:g} for {self.scale}"
        require(f"space: {self.path}", self.low > least, rule, (self.low, self.high))

    @property
    def ends(self) -> tuple[Value, ...]:
        """Both ends of the range, or all choices."""
        return self.choices or (self.low, self.high)

    @classmethod
    def parse(cls, text: str) -> "Dimension":
        """Read a dimension from a word, as `str` writes it.

        Raises:
            ConfigError: the word is no dimension.
        """
        path, equals, values = text.partition("=")
        if not (path and equals and values):
            raise ConfigError(f"space must be PATH=LOW:HIGH[:SCALE] or PATH=A,B,..., got {text!r}")
        if ":" not in values:
            return cls(path=path, choices=tuple(_value(v) for v in values.split(",")))
        low, high, *rest = values.split(":")
        scale = rest[0] if rest else "linear"
        if rest[1:] or scale not in SCALES:
            raise ConfigError(
                f"space: {path} must be LOW:HIGH[:{'|'.join(SCALES)}], got {values!r}"
            )
        ends = [_value(low), _value(high)]
        if any(isinstance(end, str) for end in ends):
            raise ConfigError(f"space: {path} must have numbers as ends, got {values!r}")
        return cls(path=path, low=float(ends[0]), high=float(ends[1]), scale=SCALES[scale])

    def __str__(self) -> str:
        if self.choices:
            return f"{self.path}={','.join(map(str, self.choices))}"
        scale = "" if self.scale == "linear" else f":{self.scale}"
        return f"{self.path}={self.low!r}:{self.high!r}{scale}"


def _check_types(dimension: Dimension) -> None:
    try:
        require_words(dimension)
    except ConfigError as error:
        raise ConfigError(f"space: {dimension.path}: {error}") from None


def is_whole(config: Any, path: str) -> bool:
    """Tell if the field at a path holds integers alone."""
    kind = _kind(config, path)
    return int in (kind, *get_args(kind)) and float not in get_args(kind)


def with_settings(config: T, settings: Settings) -> T:
    """Replace the fields at these paths.

    Where a norm is replaced and its radius is not, the radius becomes the new norm's default.

    Raises:
        ConfigError: a path is unknown (the nearest is named), or a value is out of range.
    """
    changed: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for path, value in settings.items():
        name, _, rest = path.partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            changed[name] = value
    for name, values in inner.items():
        changed[name] = with_settings(getattr(config, name), values)
    if "norm" in changed and changed["norm"] != getattr(config, "norm", None):
        changed = _radii_of(config) | changed
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


def with_norms_of(other: T, config: T) -> T:
    """Replace the norms by those of another config; where they differ, radii become defaults."""
    changed: dict[str, Any] = {}
    for f in dataclasses.fields(config):  # type: ignore[arg-type]
        ours, theirs = getattr(config, f.name), getattr(other, f.name)
        if f.name == "norm" and ours != theirs:
            changed |= _radii_of(config) | {"norm": theirs}
        elif dataclasses.is_dataclass(ours) and type(ours) is type(theirs):
            changed[f.name] = with_norms_of(theirs, ours)
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


def _radii_of(config: Any) -> dict[str, float]:
    """Defaults for the radii that the config sets itself; those that follow another are kept."""
    said = (name for name in RADII if isinstance(getattr(config, name, None), float))
    return dict.fromkeys(said, UNSAID)


def check_space(base: Any, space: Sequence[Dimension]) -> None:
    """Refuse a dimension that names no field, or whose ends are no valid values of it.

    Raises:
        ConfigError: the message names the path.
    """
    known = flat(base)
    paths = [dimension.path for dimension in space]
    require("space", len(set(paths)) == len(paths), "of distinct paths", paths)
    for dimension in space:
        path = dimension.path
        ranged = bool(dimension.choices) or dimension.low < dimension.high
        rule = "a range with low < high"
        require(f"space: {path}", ranged, rule, (dimension.low, dimension.high))
        if path not in known:
            raise ConfigError(f"space: unknown setting {path!r}; {nearest(path, known)}")
        free = path.partition(".")[0] not in FIXED
        require("space", free, f"without {', '.join(FIXED)}", path)
        for end in dimension.ends:
            _check_end(base, path, known[path], end, whole=is_whole(base, path))


def _check_end(base: Any, path: str, now: Any, end: Value, *, whole: bool) -> None:
    words = get_args(_kind(base, path))
    if isinstance(now, str) and isinstance(end, str) and words and end not in words:
        raise ConfigError(f"space: {path} has no value {end!r}; {nearest(end, words)}")
    alike = now is None or isinstance(now, str) == isinstance(end, str)
    require(f"space: {path}", alike, f"of values like {now!r}", end)
    integral = not whole or isinstance(end, str) or float(end) == int(end)
    require(f"space: {path}", integral, "of whole numbers", end)
    try:
        with_settings(base, {path: int(end) if whole else end})
    except ConfigError as error:
        raise ConfigError(f"space: {path}: {error}") from None


def _kind(config: Any, path: str) -> Any:
    """Annotation of the field at a path."""
    name, _, rest = path.partition(".")
    if rest:
        return _kind(getattr(config, name), rest)
    return next(f.type for f in dataclasses.fields(config) if f.name == name)


def _value(text: str) -> Value:
    for kind in (int, read_number):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
