"""Seconds for which Ray waits, in its own settings in the environment."""

import os

from fftune.errors import ConfigError

WAITS = ("RAY_raylet_start_wait_time_s", "RAY_gcs_server_request_timeout_seconds")
"""Their defaults, 30 and 60, are exceeded by a busy machine."""


def rays_waits() -> dict[str, str]:
    """Seconds for each of `WAITS`: the user's, or 180.

    Raises:
        ConfigError: one is no whole number; Ray's C++ would end the process.
    """
    waits = {name: os.environ.get(name, "180") for name in WAITS}
    for name, seconds in waits.items():
        if not (seconds.isascii() and seconds.isdecimal()):
            raise ConfigError(f"environment variable {name} is {seconds!r}, no number of seconds")
    return waits
