"""PostgreSQL for tests: a server that comes and goes, and keeps its data."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from mlflow_server import free_port, wait_for

PASSWORD = "friend"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's, not on PATH
PATH = os.pathsep.join([*map(str, BINARIES), os.environ["PATH"]])
INITDB = shutil.which("initdb", path=PATH)


class Postgres:
    """A server of databases in a folder; `address` lacks a name of one."""

    def __init__(self, folder: Path) -> None:
        # It refuses to run as root, and pytest's own folders are closed to other users.
        root = os.getuid() == 0
        self._owner: dict[str, Any] = (
            {"user": "nobody", "group": "nogroup", "extra_groups": []} if root else {}
        )
        self._folder, self._port = folder, free_port()
        (folder / "password").write_text(PASSWORD)
        if root:
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody", "nogroup")
        secret = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-U", "me"]
        form = ["-E", "UTF8", "--no-locale", "--no-sync"]
        make = [str(INITDB), "-D", str(folder / "data"), *form, *secret]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **self._owner)
        self.address = f"postgresql://me:{PASSWORD}@127.0.0.1:{self._port}/"
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        log, folder = self._folder / "log", self._folder
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        flags = [word for option in options for word in ("-c", option)]
        binary = str(Path(str(INITDB)).with_name("postgres"))
        with log.open("ab") as file:
            self._server = subprocess.Popen(
                [binary, "-D", str(folder / "data"), "-p", str(self._port), *flags],
                cwd=folder, stdout=file, stderr=file, **self._owner,
            )  # fmt: skip
        answers = self.address + "postgres"
        wait_for(
            lambda: psycopg.connect(answers).close(), self._server, log, psycopg.OperationalError
        )

    def go_away(self) -> None:
        """Stop at once, whoever is connected: "immediate shutdown"; `start` recovers."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(60)

    def end(self) -> None:
        """Stop: "fast shutdown", which ends its children first."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait(60)

    def database(self, name: str) -> str:
        """The URL of a new database."""
        with psycopg.connect(self.address + "postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.address + name


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A fresh server in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fftune-postgres-"))
    try:
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(folder)
