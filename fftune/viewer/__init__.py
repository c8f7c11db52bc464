"""Static folders that show a study or rows in a browser, without a server or a network.

Imports nothing by itself, so that `python -m fftune.view --help` answers at once.
"""
