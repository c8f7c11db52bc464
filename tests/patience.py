"""How long Ray may take to start in tests: the machine may be busy with others.

A test that hangs is ended by pytest's own clock alone (`--timeout`).
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

RAY = {
    "RAY_raylet_start_wait_time_s": "1200",
    "RAY_gcs_server_request_timeout_seconds": "1200",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "1200",
    "RAY_worker_register_timeout_seconds": "1200",
    "RAY_agent_register_timeout_ms": "1200000",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "1200",
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "1200",
    "RAY_worker_niceness": "0",  # it would starve beside the tests of another process
}
"""Environment of Ray, set before it is imported."""

AGENTS = ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def first_of_free(count: int) -> int:
    """First of so many free ports in a row."""
    while True:
        (first,) = free_ports(1)
        with suppress(OSError, OverflowError):
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
            return first


def agent_ports() -> dict[str, int]:
    """Ports for the agents of a node, which its raylet is told before they have started.

    It waits 15 seconds for the agents to tell theirs in files, and then ends: on a busy machine
    they begin later.
    """
    from ray._private import services

    if services.start_raylet.__module__ == services.__name__:
        services.start_raylet = _telling(services.start_raylet)
    return {f"{n}_port": port for n, port in zip(AGENTS, free_ports(len(AGENTS)), strict=True)}


def _telling(start_raylet: Callable[..., Any]) -> Callable[..., Any]:
    names = list(signature(start_raylet).parameters)

    def start(*values: Any, **settings: Any) -> Any:
        given = dict(zip(names, values, strict=False)) | settings
        for agent in AGENTS:
            if port := given[f"{agent}_port"]:
                place = Path(given["session_dir"], f"{agent}_port_{given['node_id']}")
                place.write_text(str(port))
        return start_raylet(*values, **settings)

    return start
