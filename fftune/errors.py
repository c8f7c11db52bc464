"""Exceptions that fftune raises on purpose; any other that escapes is a defect.

FftuneError            exit code 1
    UserError          exit code 2: the user can mend it
        ConfigError, DataError, ModelError, StorageError, StudyError, ClusterError,
        OutOfMemoryError
    DivergedError
"""

from fftune.secrets import redacted


class FftuneError(Exception):
    """Base of all; its message is one line that says what happened and where, without secrets."""

    exit_code = 1

    def __str__(self) -> str:
        return redacted(super().__str__())


class UserError(FftuneError):
    """Mistake that the user can mend; the command ends with exit code 2."""

    exit_code = 2


class ConfigError(UserError, ValueError):
    """Setting that is unknown, out of range, or contradicts another.

    The message begins with the setting's name.
    """


class DataError(UserError):
    """Data set that is missing, damaged, or not as described."""


class ModelError(UserError):
    """Model or weights that do not fit the data or the request."""


class StorageError(UserError):
    """Storage that is missing, damaged or cannot be written."""


class StudyError(UserError):
    """Study that exists with other settings, is unfinished, or is in use."""


class ClusterError(UserError):
    """Cluster that cannot be reached or lacks the resources that were asked for."""


class OutOfMemoryError(UserError):
    """Device or process whose memory is too small for what was asked; the message says of what."""


class DivergedError(FftuneError):
    """Training whose loss became nan or infinite; the trial has failed."""
