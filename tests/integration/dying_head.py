"""`python -m tests.integration.dying_head K WHAT LOG VERB ...`: Ray dies at a verb's K-th call.

Calls are the driver's to Ray. WHAT is `gcs`, `raylet` or `both`, of the command's private head. LOG
gets a line for each call.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import psutil

from fftune import ray_cluster  # before Ray, whose start it sets

# isort: split
import ray
from ray.actor import ActorClass, ActorMethod
from ray.remote_function import RemoteFunction

from fftune.cli import main

NAMES = {
    "gcs": ("gcs_server",),
    "raylet": ("raylet",),
    "both": ("raylet", "gcs_server"),
}
PLACES = (
    *((ray, name) for name in ("get", "wait", "put", "kill", "nodes", "remote", "shutdown")),
    (ActorClass, "_remote"),
    (ActorMethod, "_remote"),
    (RemoteFunction, "_remote"),
    (ray_cluster, "capacity"),
)


def kill(what: str, pid: int) -> None:
    """Kill parts of the head below a process, at once."""
    above = psutil.Process(pid)
    parts = [p for p in above.children(recursive=True) if p.name() in NAMES[what]]
    for part in parts:
        part.kill()
    psutil.wait_procs(parts)


def counted(call: Callable[..., Any], name: str, calls: list[str], at: int, what: str) -> Any:
    @functools.wraps(call)
    def one(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        print(len(calls), name, file=LOG, flush=True)
        if len(calls) == at:
            kill(what, os.getpid())
        return call(*arguments, **named)

    return one


if __name__ == "__main__":
    at, what, log, *sys.argv[1:] = sys.argv[1:]
    LOG = open(log, "a")  # noqa: SIM115 - until the process ends
    calls: list[str] = []
    for place, name in PLACES:
        setattr(place, name, counted(getattr(place, name), name, calls, int(at), what))
    main()
