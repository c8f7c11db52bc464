"""Checks of settings, which raise one clear line that names the setting."""

import re

from fftune.errors import ConfigError


def require(setting: str, holds: bool, rule: str, value: object) -> None:
    """Raise `ConfigError` unless `holds`. NaN fails every comparison, so it fails here."""
    if not holds:
        raise ConfigError(f"{setting} must be {rule}, got {value!r}")


def is_plain(name: str) -> bool:
    """Is `name` safe as the name of a folder: no separators, not hidden, not empty?"""
    return name != "" and name[0] != "." and all(c.isalnum() or c in "._-" for c in name)


def plain_name(text: str) -> str:
    """Turn a text into a similar name that `is_plain`, of at most 80 bytes."""
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in text)
    short = re.sub(r"\.\.+", ".", kept).strip(".-").encode()[:80].decode(errors="ignore")
    return short or "net"


def read_number(word: str) -> float:
    """Read a number or a fraction, as in "0.1", "8/255" or "0.5/1".

    Raises:
        ValueError: it is neither, or a division by zero.
    """
    above, slash, below = word.partition("/")
    if not slash:
        return float(word)
    if not float(below):
        raise ValueError(f"{word!r} divides by zero")
    return float(above) / float(below)
