"""What a device must offer so that functions can be recorded on it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor


class UnrecordableError(Exception):
    """A function does what no recording can hold: it asks the host, or reads a foreign tensor."""


class Recording(Protocol):
    """What was recorded, at fixed addresses."""

    def replay(self) -> None:
        """Run it again: what lies at the addresses of inputs is read, outputs are overwritten."""


class Recorder(Protocol):
    """A way to record: CUDA graphs, or a tape in tests."""

    def warm(self, call: Callable[[], Any]) -> Any:
        """Run a function as it will be recorded, which lets libraries choose their algorithms."""

    def record(
        self, call: Callable[[], Any], persistent: Sequence[Tensor]
    ) -> tuple[Recording, Any]:
        """Record a function without arguments.

        Args:
            persistent: tensors that it may read and change in place: inputs, weights, states.

        Returns:
            The recording, and what the function returned, whose tensors each replay overwrites.
            The function has not been run until `replay` is called the first time.

        Raises:
            Exception: whatever recording raises, where the function cannot be recorded.
        """
