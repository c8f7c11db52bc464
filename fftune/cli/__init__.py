"""The command line: one file a verb; `options` holds what all verbs share."""

from fftune.cli.options import main

__all__ = ["main"]
