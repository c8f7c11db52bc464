"""Defences at test time: a perturbation of the input before the net predicts it."""

from fftune.defenses.adaptive import AdaptiveAccess, Defended
from fftune.defenses.hedge import hedge, refuse_without_gradients

__all__ = ["AdaptiveAccess", "Defended", "hedge", "refuse_without_gradients"]
