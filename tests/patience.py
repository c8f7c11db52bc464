"""How long Ray may take to start in tests: the machine may be busy with others.

A test that hangs is ended by pytest's own clock alone (`--timeout`).
"""

import socket
from contextlib import suppress
from random import SystemRandom

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


def free_ports(count: int) -> list[int]:
    """Of those which no system gives to a connection, as it does from 32768 on."""
    return [first_of_free(1) for _ in range(count)]


def first_of_free(count: int) -> int:
    """First of so many free ports in a row."""
    while True:
        first = SystemRandom().randrange(25_000, 32_768 - count)
        with suppress(OSError):
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
            return first
