"""Nets as a user would bring them: for 8 x 8 digits, and none with BatchNorm."""

from torch import nn


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(), nn.Linear(32, 10))


def five() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


def colour() -> nn.Module:
    return nn.Conv2d(3, 1, 3)
