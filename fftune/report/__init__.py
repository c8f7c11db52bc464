"""Reports: what a study found, in sentences, tables and curves. `publish.publish` writes them.

Imports nothing by itself, so that `python -m fftune.report --help` answers at once.
"""
