"""The time that bounds may take."""

import time
from dataclasses import dataclass


class OutOfTimeError(Exception):
    """The time is over; what is not decided stays open."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point of time."""

    at: float
    """Seconds of `time.monotonic`."""

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The point of time so many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def is_over(self) -> bool:
        """Has it passed?"""
        return time.monotonic() > self.at

    def check(self) -> None:
        """Raise `OutOfTimeError` once it has passed."""
        if self.is_over:
            raise OutOfTimeError
