"""Exceptions that fftune raises on purpose; any other that escapes is a defect.

FftuneError            exit code 1
    UserError          exit code 2: the user can mend it
        ConfigError (and its DeviceError), DataError, ModelError (and its UnscorableError),
        StorageError, StudyError, ClusterError, OutOfMemoryError
    DivergedError, CrossedBoundsError
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


class DeviceError(ConfigError):
    """Device that was asked for and that torch cannot use here, or that broke."""


class DataError(UserError):
    """Data set that is missing, damaged, or not as described."""


class ModelError(UserError):
    """Model or weights that do not fit the data or the request."""


class UnscorableError(ModelError):
    """Net whose logits are not finite, or whose gradients say nothing on any example.

    Weights of a failed training are like that.
    """


class StorageError(UserError):
    """Storage that is missing, damaged or cannot be written."""


class StudyError(UserError):
    """Study that exists with other settings, is unfinished, or is in use."""


class ClusterError(UserError):
    """Cluster that cannot be reached or lacks the resources that were asked for."""


class UserCodeError(UserError):
    """File of the user's that failed, or may not run; the caller adds the file to the message."""


class OutOfMemoryError(UserError):
    """Device or process whose memory is too small for what was asked; the message says of what."""


class DivergedError(FftuneError):
    """Training whose loss became nan or infinite, or whose net nothing can score; it failed."""


class CrossedBoundsError(FftuneError):
    """Example that is certified and broken: a bound, an attack or a verdict is wrong."""


def packed(error: BaseException) -> dict[str, str]:
    """An error in plain words, as one process tells it to another; see `unpacked`."""
    if isinstance(error, FftuneError):
        return {"error": nearest_class(error).__name__, "message": str(error)}
    words = f"{type(error).__name__}: {first_words(error)}"
    return {"error": FftuneError.__name__, "message": words}


def unpacked(error: str, message: str) -> FftuneError:
    """The error that another process has packed; of a name that is no error's, a plain one."""
    kind = globals().get(error)
    if isinstance(kind, type) and issubclass(kind, FftuneError):
        return kind(message)
    return FftuneError(message)


def nearest_class(error: FftuneError) -> type[FftuneError]:
    """The class of an error, or the nearest above it that is defined here."""
    above = (kind for kind in type(error).__mro__ if issubclass(kind, FftuneError))
    nearest: type[FftuneError] = next(c for c in above if globals().get(c.__name__) is c)
    return nearest


def first_words(error: BaseException) -> str:
    """First line of an error's message; its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
