"""Everything fftune reports by itself. Anything else that escapes is a defect."""


class FftuneError(Exception):
    """The message is one line that says what happened and where."""

    exit_code = 1


class UserError(FftuneError):
    """Something the user can mend; the command ends with exit code 2."""

    exit_code = 2


class ConfigError(UserError, ValueError):
    """A setting is unknown, out of range, or contradicts another.

    The message begins with the setting's name.
    """


class DataError(UserError):
    """A data set is missing, damaged, or not what it is said to be."""


class ModelError(UserError):
    """A net or its weights do not fit the data or the request."""


class StorageError(UserError):
    """A place for results is missing or cannot be written."""


class StudyError(UserError):
    """A study exists with other settings, is unfinished, or is in use."""


class ClusterError(UserError):
    """The cluster cannot be reached or lacks what was asked for."""


class DivergedError(FftuneError):
    """Training produced a loss that is not a number; the trial has failed."""
