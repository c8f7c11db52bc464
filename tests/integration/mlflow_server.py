"""`mlflow server` for tests, and servers in general."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def wait_for(
    answers: Callable[[], object],
    process: subprocess.Popen[bytes],
    log: Path,
    errors: type[Exception] = OSError,
) -> None:
    """Until it answers without an error; where it never does, pytest's clock ends the test."""
    while True:
        try:
            answers()
        except errors:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            return


@contextmanager
def served(url: str, folder: Path, port: int) -> Iterator[str]:
    """The address of `mlflow server` on a database."""
    address, log = f"http://127.0.0.1:{port}", folder / "mlflow.log"
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", url, "--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("ab") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, *stores],
            env={**os.environ, **quiet}, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: urllib.request.urlopen(f"{address}/health").close(), server, log)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # its workers too: the session is its own
        server.wait()
