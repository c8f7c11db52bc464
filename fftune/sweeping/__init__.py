"""Sweeps: search lambda, train and judge each trial, keep the front.

Imports nothing by itself, so that `python -m fftune.sweep --help` answers at once:
`run.sweep` runs a study, `front.Front` is its result, `gap.GapSampler` its search rule.
"""
