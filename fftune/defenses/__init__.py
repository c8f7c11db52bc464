"""Defences at test time: a perturbation of the input before the net predicts it."""

from fftune.defenses.adaptive import Defended, Through
from fftune.defenses.hedge import hedge, refuse_without_gradients

__all__ = ["Defended", "Through", "hedge", "refuse_without_gradients"]
