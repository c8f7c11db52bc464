"""Reports of studies: sentences, tables and plots, written by `publish.publish`.

Imports nothing by itself, so that `python -m fftune.report --help` answers at once.
"""
