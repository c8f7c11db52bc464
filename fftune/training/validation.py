"""A look at the validation split, which tells the best net from the last."""

import torch
from torch import nn

from fftune.attacks import attack_spec
from fftune.config import LoaderConfig, TrainConfig
from fftune.data import open_loader
from fftune.keyed_noise import Noise
from fftune.models import eval_mode

BATCH = 256
ROBUST = ("pgd_at", "trades", "fast_at")
"""Objectives whose nets are told apart under attack, as the authors' code does."""


class Validation:
    """The validation split, held ready."""

    def __init__(self, config: TrainConfig, device: str) -> None:
        settings = LoaderConfig(batch_size=BATCH, engine=config.engine)
        self._loader = open_loader(config.data, "validation", settings, device=device)
        self._config = config

    def accuracy(self, model: nn.Module) -> float:
        """In eval mode, on clean images, or on those that the training's search perturbs."""
        config, right = self._config, 0
        noise = Noise(config.seed).fold("validation", config.data.name)
        with eval_mode(model), torch.no_grad():
            for ids, x, y in self._loader.epoch(0):
                if config.objective in ROBUST:
                    x = attack_spec(config.attack.search).run(
                        model,
                        x,
                        y,
                        config=config.attack,
                        goal="adversarial",
                        loss="ce",
                        noise=noise,
                        ids=ids,
                    )
                right += int((model(x).argmax(1) == y).sum())
        return right / len(self._loader.rows)
