"""Bars of an audit: a rate, and what it may be at most or must be at least."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any, Literal, get_args

from fftune.config import Goal, nearest, require
from fftune.config.validation import read_number, require_word
from fftune.errors import ConfigError
from fftune.stored_file import read_toml, reading

Measure = Literal[
    "accuracy",
    "natural_risk",
    "robust_accuracy",
    "adversarial_risk",
    "hypocritical_risk",
    "inflation",
]
"""Rates that can have a bar. `accuracy` is that on clean images, `clean_accuracy` elsewhere."""
MEASURES: tuple[Measure, ...] = get_args(Measure)
MEANING: dict[Measure, str] = {
    "accuracy": "share of all images that the net gets right as they are",
    "natural_risk": "share of all images that the net gets wrong as they are",
    "robust_accuracy": "share of all images that the net gets right, and under every attack too",
    "adversarial_risk": "share of the right answers (D+) that an attack can make wrong",
    "hypocritical_risk": "share of the mistakes (D-) that an attack can conceal, i.e. make right",
    "inflation": "share of all images that are mistakes and can be concealed: how many points of "
    "accuracy a false friend can fake",
}
ATTACKED: dict[Measure, Goal] = {
    "robust_accuracy": "adversarial",
    "adversarial_risk": "adversarial",
    "hypocritical_risk": "hypocritical",
    "inflation": "hypocritical",
}
"""Goal of the attacks that a rate rests on; others are facts of the clean images."""
AT_LEAST: tuple[Measure, ...] = ("accuracy", "robust_accuracy")
"""Rates of which more is better."""
ROUNDING = 1e-6
"""Part of an example by which floating point may have moved a bar."""
ROWS = 100
"""Columns of a line of a bar file that a message repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A rate and its bar."""

    measure: Measure
    value: float
    """In [0, 1]: at least this for an accuracy, at most for a risk."""

    def __post_init__(self) -> None:
        require_word("bar", self.measure, Measure)
        require(f"bar {self.measure}", 0 <= self.value <= 1, "a share in [0, 1]", self.value)

    @property
    def at_most(self) -> bool:
        """The bar is a maximum."""
        return self.measure not in AT_LEAST

    @property
    def goal(self) -> Goal | None:
        """Goal of the attacks that the rate rests on; None: of the clean images alone."""
        return ATTACKED.get(self.measure)

    def denominator(self, total: int, wrong: int) -> int:
        """Number of examples that the rate is a share of.

        Args:
            total: |D|.
            wrong: |D-|.
        """
        parts = {"adversarial_risk": total - wrong, "hypocritical_risk": wrong}
        return parts.get(self.measure, total)

    def limit(self, total: int, wrong: int) -> int:
        """Largest number of counted examples with which the net passes; below 0: with none.

        Counted are mistakes for rates of clean images, else successful attacks. Of the bar as it
        was written: .07 of 100 is 7, not 7.000000000000001, and 1/3 of 300 is 100.
        """
        count = self.value * self.denominator(total, wrong)
        count = round(count) if abs(count - round(count)) < ROUNDING else count
        if self.measure == "accuracy":
            return total - ceil(count)
        if self.measure == "robust_accuracy":
            return total - wrong - ceil(count)
        return floor(count)

    def share(self, count: float, total: int, wrong: int) -> float:
        """The rate, given the number of counted examples; there must be a denominator."""
        below = self.denominator(total, wrong)
        if self.measure == "accuracy":
            return (total - count) / below
        if self.measure == "robust_accuracy":
            return (total - wrong - count) / below
        return count / below


def read_bars(words: Iterable[str] | Mapping[str, Any]) -> tuple[Bar, ...]:
    """Read bars as they are typed, as in "accuracy=.95", or as a table of numbers and fractions.

    Raises:
        ConfigError: one is no bar, a rate is unknown, or it has two bars.
    """
    if isinstance(words, Mapping):
        pairs = [(name, str(value)) for name, value in words.items()]
    else:
        pairs = [_split(word) for word in words]
    bars: dict[str, Bar] = {}
    for name, value in pairs:
        if name not in MEASURES:
            raise ConfigError(f"bar must be of a known rate: {_unknown(name)}")
        require("bar", name not in bars, "named once for each rate", name)
        bars[name] = Bar(measure=name, value=_number(name, value))
    return tuple(bars.values())


def _split(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ConfigError(f"bar must be RATE=SHARE, as in hypocritical_risk=.3, got {word!r}")
    return name.strip(), value.strip()


def _unknown(name: str) -> str:
    return f"unknown rate {name[:ROWS]!r}; {nearest(name, MEASURES)}"


def _number(name: str, value: str) -> float:
    try:
        return read_number(value)
    except ValueError:
        rule = "a number or a fraction, as in .95 or 8/255"
        raise ConfigError(f"bar {name} must be {rule}, got {value[:ROWS]!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFile:
    """File of bars, `audit.toml`, with the settings that it may hold beside them."""

    bars: tuple[Bar, ...]
    settings: Mapping[str, str]
    """Values as they would be typed, by the names of `SETTINGS`."""


SETTINGS = ("data", "split", "eps", "norm", "battery", "tier", "examples", "seed", "alpha")
"""Settings of an audit that a file of bars may hold; each is a flag of the same name."""


def read_bar_file(path: Path) -> BarFile:
    """Read a file of bars.

        data = "cifar10"
        eps = "8/255"

        [bars]
        accuracy = 0.6
        hypocritical_risk = "1/3"

    Raises:
        ConfigError: there is no such file, it is no TOML, a key is unknown (the nearest is named),
            or a bar is none. The message names the file.
    """
    written = read_toml(path, "bars", ConfigError)
    with reading(path, "bars", ConfigError):
        return _bar_file(written, f"bars {str(path)!r}")


def _bar_file(written: dict[str, Any], name: str) -> BarFile:
    bars = written.pop("bars", {})
    if not isinstance(bars, dict):
        raise ConfigError(f"{name} must hold a table [bars], got {bars!r}")
    for key, value in written.items():
        if key not in SETTINGS:
            raise ConfigError(f"{name}: unknown key {key!r}; {nearest(key, ('bars', *SETTINGS))}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(f"{name}: {key} must be a text or a number, got {value!r}")
    try:
        return BarFile(bars=read_bars(bars), settings={k: str(v) for k, v in written.items()})
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
