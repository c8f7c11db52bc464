"""Evaluation: batteries of attacks on the blocks of a data set, as rows."""

from fftune.evaluate.battery import Probe, probes
from fftune.evaluate.run import evaluate, judge

__all__ = ["Probe", "evaluate", "judge", "probes"]
