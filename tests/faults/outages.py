"""What Python meets at its k-th call: no memory, and servers that have gone away."""

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

STAYS = ("database", "mlflow")
"""Outages that last: nobody answers any more."""

CPU = "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"
"""Beginning of what torch says, which has no class of its own for that."""


class Outage:
    """Counts calls, and fails at one of them, or from there on."""

    def __init__(self, kind: str, at: int, log: int) -> None:
        self._kind, self._at, self._log = kind, at, log
        self.seen = 0

    def meet(self, what: str) -> bool:
        """Whether this call fails; `what` names it."""
        self.seen += 1
        if self.seen == self._at:
            self._tell(what, "struck")
        return self.seen == self._at or (self._kind in STAYS and 0 < self._at < self.seen)

    def count(self) -> None:
        """Record how many calls there were."""
        self._tell("all", "counted")

    def _tell(self, what: str, outcome: str) -> None:
        os.write(self._log, f"{self.seen}\t{self._kind}\t{what}\tpython\t{outcome}\n\n".encode())


def memory(outage: Outage, run: Callable[[], object]) -> object:
    """Run, where an operation of torch finds no memory."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Scarce(TorchDispatchMode):
        """Sees what autograd does as well."""

        def __torch_dispatch__(
            self, op: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if outage.meet(str(op)):
                raise MemoryError if outage.seen % 2 else RuntimeError(CPU)
            return op(*args, **(kwargs or {}))

    with Scarce():
        return run()


def database(outage: Outage, run: Callable[[], object]) -> object:
    """Run, where a database closes its connections."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.exc import OperationalError

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if outage.meet(statement.split(maxsplit=1)[0]):
            gone = RuntimeError("server closed the connection unexpectedly\n\tThis probably means")
            raise OperationalError(statement, None, gone)

    event.listen(Engine, "before_cursor_execute", before)
    return run()


def mlflow(outage: Outage, run: Callable[[], object]) -> object:
    """Run, where MLflow's server does not answer."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def wrapped(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            if outage.meet(name):
                raise MlflowException("API request to http://x/api failed with exception: refused")
            return method(*arguments, **named)

        return call

    for name, method in inspect.getmembers(MlflowClient, inspect.isfunction):
        if not name.startswith("_"):
            setattr(MlflowClient, name, wrapped(name, method))
    return run()


OUTAGES: dict[str, Callable[[Outage, Callable[[], object]], object]] = {
    "memory": memory,
    "database": database,
    "mlflow": mlflow,
}
