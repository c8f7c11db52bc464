"""Defences at test time: a perturbation of the input before the net predicts it."""

from fftune.defenses.hedge import hedge, refuse_without_gradients
from fftune.defenses.wrapped import Defended, Through

__all__ = ["Defended", "Through", "hedge", "refuse_without_gradients"]
