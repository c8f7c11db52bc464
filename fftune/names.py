"""Names that become folders, files, runs and classes: which are taken, and in which spelling.

Everything that a user or a data set names is checked here, so that a name stays inside the folder
that it is meant for, and does nothing to a terminal, a filter or a shell that it is shown to.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from fftune.errors import ConfigError

LONGEST = 120
"""Most bytes of a name in UTF-8: with suffixes and numbers it fits the 255 of a file's name."""
LONGEST_LABEL = 300
"""Most characters of a label, which is shown and never a file's name."""


def is_plain(name: str) -> bool:
    """Tell if `name` is safe as that of a folder, and in commands: no separators, not hidden.

    It consists of letters, digits, `.`, `_` and `-`, begins with neither `.` nor `-`, and is of at
    most `LONGEST` bytes.
    """
    known = all(c.isalnum() or c in "._-" for c in name)
    return known and name[:1] not in ("", ".", "-") and len(name.encode()) <= LONGEST


def require_name(setting: str, name: str) -> str:
    """The name in Unicode's composed form (NFC), if it `is_plain` there.

    Raises:
        ConfigError: it is not; the message begins with `setting`.
    """
    name = composed(name)
    if not is_plain(name):
        shown = name if len(name) <= LONGEST else name[:40] + "..."
        raise ConfigError(
            f"{setting} must be letters, digits, '.', '_' or '-', begin with neither '.' nor '-', "
            f"and have at most {LONGEST} bytes, got {shown!r}"
        )
    return name


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): macOS takes names apart, and others do not."""
    return unicodedata.normalize("NFC", text)


def is_label(text: str) -> bool:
    """Tell if `text` can be shown as the name of a class or an experiment: one printable line."""
    return 0 < len(text) <= LONGEST_LABEL and text.isprintable() and text == text.strip()


def plain_name(text: str) -> str:
    """Turn a text into a similar name that `is_plain`, of at most 80 bytes."""
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in composed(text))
    short = re.sub(r"\.\.+", ".", kept).strip(".-").encode()[:80].decode(errors="ignore")
    return short or "net"


def joined_name(names: Sequence[str]) -> str:
    """Name of a file about several things, as in `a+b`; many names end in a hash of them all."""
    name = "+".join(names)
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name.encode()[:80].decode(errors='ignore')}-{digest}"
