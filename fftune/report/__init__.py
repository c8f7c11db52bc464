"""Reports: what a study found, in sentences, tables and curves."""

from fftune.report.publish import publish

__all__ = ["publish"]
