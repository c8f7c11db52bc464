"""Contract between functions that can be recorded and a device that records them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor


class UnrecordableError(Exception):
    """A function does what no recording can hold: it asks the host, or reads a foreign tensor."""


class DrawnError(UnrecordableError):
    """Numbers were drawn from a global generator of the host, by the function or another thread."""


class Recording(Protocol):
    """A recorded function, at fixed addresses."""

    bytes: int
    """Memory that it took for itself, beside its inputs and outputs."""

    def replay(self) -> None:
        """Run it again: what lies at the addresses of inputs is read, outputs are overwritten."""


class Recorder(Protocol):
    """A way to record: CUDA graphs, or a tape in tests."""

    room: float
    """Bytes that recordings may take together."""

    def warm(self, call: Callable[[], Any]) -> tuple[Any, str]:
        """Run a function as it will be recorded, which lets libraries choose their algorithms.

        Returns:
            What the function returned, and why it cannot be recorded, as far as that was seen;
            else "".
        """

    def record(
        self, call: Callable[[], Any], persistent: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> tuple[Recording, Any]:
        """Record a function without arguments.

        Args:
            persistent: tensors that it may read and change in place: weights, states, gradients.
            inputs: tensors that it may read.

        Returns:
            The recording, and what the function returned, whose tensors each replay overwrites.
            The function has not been run until `replay` is called the first time.

        Raises:
            Exception: whatever recording raises, where the function cannot be recorded. All
                tensors are as they were, and the device can be used.
        """
