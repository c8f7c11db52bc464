"""The connection to Ray: a cluster that exists, or a private one on this machine."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import floor, inf
from typing import Any

# Ray reads these when it is imported.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listeners on loopback only
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its boxes turn to noise in a job's log
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: see fftune.cli

import ray

from fftune.config import Resources
from fftune.errors import ClusterError

log = logging.getLogger(__name__)


@contextmanager
def cluster(resources: Resources, *, echo: bool = False) -> Iterator[None]:
    """A connection to Ray while the block runs. One that is open already is used.

    Args:
        echo: repeat what workers log.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    address = resources.address or os.environ.get("RAY_ADDRESS") or "local"
    log.info("Ray: %s", "starting on this machine" if address == "local" else f"joining {address}")
    _require_answer(address)
    options: dict[str, Any] = {"log_to_driver": echo, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": _usable_cpus()}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"cluster {address!r} cannot be reached: {reason}") from None
    try:
        yield
    finally:
        ray.shutdown()


def fits(what: str, needs: Mapping[str, float]) -> int:
    """How many of something the connected cluster holds at once, by what one of it needs.

    Raises:
        ClusterError: not even one. Ray would wait for ever.
    """
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    count = inf
    for name, wanted in needs.items():
        has = total.get(name, 0)
        if wanted > has:
            raise ClusterError(f"{what} needs {wanted:g} {name}s, the cluster has {has:g}")
        count = min(count, has // wanted) if wanted else count
    return floor(count)


def _require_answer(address: str) -> None:
    """Knock first: Ray would wait for minutes at a door that nobody opens.

    Raises:
        ClusterError: nothing listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return  # "local" and "auto" name no door
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"cluster {address!r} cannot be reached: {error}") from None


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0))
