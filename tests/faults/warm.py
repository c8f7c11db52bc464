"""A warmed process that forks one command a request: `python -m tests.faults.warm`.

A request is a line of JSON on stdin: arguments, environment, folder, fault or none, files for
stdout, stderr and the log. The answer is the exit code, negative for a signal.
"""

import ctypes
import functools
import inspect
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from importlib import import_module
from typing import Any

from tests.faults.outages import OUTAGES, Outage
from tests.faults.shim import ACTIONS

SHIM = "FFTUNE_FAULTS_SHIM"
CPU_SECONDS = 120
"""A command that takes more turns in a circle; it is ended by SIGXCPU."""
ASLEEP_SECONDS = 300
"""A command that takes longer sleeps for ever; it is ended by SIGALRM."""


def main() -> None:
    """Warm, then serve until stdin ends."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    shim = ctypes.CDLL(os.environ[SHIM])
    inspect.findsource = functools.cache(inspect.findsource)  # a quarter of a small command
    for line in requests:
        request = json.loads(line)
        if request.get("warm"):
            _call(request)
            answer = 0
        else:
            answer = _forked(shim, request)
        print(answer, file=answers, flush=True)


def _forked(shim: ctypes.CDLL, request: dict[str, Any]) -> int:
    child = os.fork()
    if not child:
        _be(shim, request)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be(shim: ctypes.CDLL, request: dict[str, Any]) -> None:
    """Be the command; never return."""
    code: object = 70
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(ASLEEP_SECONDS)
        for name, fd in (("out", 1), ("err", 2)):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), fd)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        fault = request["fault"] or {"action": "EIO", "at": 0, "call": "", "kind": "", "stays": 0}
        if fault["action"] in OUTAGES:
            outage = Outage(fault["action"], fault["at"], log)
            code = OUTAGES[fault["action"]](outage, functools.partial(_run, request))
            if request["record"]:
                outage.count()
        else:
            _arm(shim, log, request, fault)
            code = _run(request)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _arm(shim: ctypes.CDLL, log: int, request: dict[str, Any], fault: dict[str, Any]) -> None:
    shim.faults_arm(
        log,
        os.fsencode(request["folder"]),
        fault["call"].encode(),
        fault["kind"].encode(),
        ctypes.c_long(fault["at"]),
        ACTIONS[fault["action"]],
        int(fault["stays"]),
        int(request["record"]),
    )


def _run(request: dict[str, Any]) -> object:
    from fftune.cli.options import run

    verb, *arguments = _surroundings(request)
    try:
        run(import_module(f"fftune.cli.{verb}").main, arguments)
    except SystemExit as end:
        return end.code


def _call(request: dict[str, Any]) -> None:
    """Run the command here, so that what it imports is imported for all that follow."""
    verb, *arguments = _surroundings(request)
    import_module(f"fftune.cli.{verb}").main(arguments)


def _surroundings(request: dict[str, Any]) -> list[str]:
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    os.chdir(request["folder"])
    words: list[str] = request["arguments"]
    return words


if __name__ == "__main__":
    main()
