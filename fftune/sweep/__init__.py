"""Sweeps: search lambda, train and judge each trial, keep the front."""

from fftune.sweep.front import Front, Point
from fftune.sweep.gap import GapSampler
from fftune.sweep.run import sweep

__all__ = ["Front", "GapSampler", "Point", "sweep"]
