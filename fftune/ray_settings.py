"""Settings of Ray in the environment, which its C++ reads when Ray is imported."""

import os
import re
import subprocess
import sys
from collections.abc import Collection

from fftune.errors import ConfigError

WAITS = ("RAY_raylet_start_wait_time_s", "RAY_gcs_server_request_timeout_seconds")
"""Seconds for which Ray waits; their defaults, 30 and 60, are exceeded by a busy machine."""
CPP = re.compile(r"RAY_[a-z]\w*", re.ASCII)
"""Names of settings of its C++."""
WHOLE = re.compile(r"-?[0-9]+")
"""A value that each of them can be read from."""


def rays_settings() -> dict[str, str]:
    """Seconds for each of `WAITS`: the user's, or 180; all that the user sets beside them is tried.

    Raises:
        ConfigError: one is no whole number, or Ray cannot read another setting.
    """
    waits = {name: os.environ.get(name, "180") for name in WAITS}
    for name, seconds in waits.items():
        if not (seconds.isascii() and seconds.isdecimal()):
            raise ConfigError(f"environment variable {name} is {seconds!r}, no number of seconds")
    _require_readable()
    return waits


def _require_readable() -> None:
    """Try the settings of Ray's C++ that are no whole numbers, in a process of their own.

    Ray ends the process that imports it by a signal, without a word, where it cannot read one; of
    which type each is, it does not tell.

    Raises:
        ConfigError: it cannot read one.
    """
    if "ray" in sys.modules:  # it has read them, as in a worker of its own
        return
    doubtful = {name for name in os.environ if CPP.fullmatch(name) and not _is_whole(name)}
    if not doubtful or _imports_with(doubtful, of=doubtful) or not _imports_with((), of=doubtful):
        return  # what else keeps Ray from being imported is told where it is
    for name in sorted(doubtful):
        if not _imports_with((name,), of=doubtful):
            value = os.environ[name]
            raise ConfigError(f"environment variable {name} is {value!r}, which Ray cannot read")


def _is_whole(name: str) -> bool:
    return bool(WHOLE.fullmatch(os.environ[name]))


def _imports_with(names: Collection[str], *, of: Collection[str]) -> bool:
    """Can Ray be imported where, of some variables, these alone are set?"""
    kept = {name: value for name, value in os.environ.items() if name in names or name not in of}
    done = subprocess.run([sys.executable, "-c", "import ray"], env=kept, capture_output=True)
    return done.returncode == 0
