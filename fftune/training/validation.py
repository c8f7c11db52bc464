"""Accuracy on the validation split, which tells the best net of a run from the last."""

import torch
from torch import nn

from fftune.attacks import attack_spec
from fftune.config import LoaderConfig, TrainConfig
from fftune.data.loader import loader_of
from fftune.data.official_split import ListedSplit
from fftune.keyed_noise import Noise
from fftune.models import eval_mode
from fftune.objectives import find_objective

BATCH = 256


class Validation:
    """The validation split, ready to be evaluated on."""

    def __init__(self, config: TrainConfig, split: ListedSplit, device: str) -> None:
        settings = LoaderConfig(batch_size=BATCH, engine=config.engine)
        self._loader = loader_of(split, "validation", settings, device=device)
        self._config = config
        self._under_attack = find_objective(config.objective).validate_under_attack

    def accuracy(self, model: nn.Module) -> float:
        """Accuracy in eval mode, on clean images or, if the objective says so, under attack."""
        config, right = self._config, 0
        noise = Noise(config.seed).fold("validation", config.data.name)
        with eval_mode(model), torch.no_grad():
            for ids, x, y in self._loader.epoch(0):
                if self._under_attack:
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
