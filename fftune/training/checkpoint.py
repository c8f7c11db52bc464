"""Checkpoints: a trained net, the settings that made it, and its history."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fftune.config import InputSpec, ModelSpec, TrainConfig, of_plain, read_settings, to_json
from fftune.errors import ModelError
from fftune.models.specs import read_spec
from fftune.storage import write_text
from fftune.stored_file import damaged, read_object, reading
from fftune.training.history import EpochRecord, read_history

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained net in eval mode."""

    config: TrainConfig
    inputs: InputSpec
    model: "nn.Module"
    history: Sequence[EpochRecord]
    data_hash: str
    """Hash of the examples that it was trained on."""
    stopped: str = ""
    """Reason why training ended before its last epoch, or empty."""

    def save(self, folder: Path) -> ModelSpec:
        """Write weights and settings to `folder`.

        `model.json` is written last and names the weights' hash: where it stands, the
        checkpoint is complete.
        """
        from fftune.models import factory_of, save_weights, weights_hash
        from fftune.models.conditional import ConditionalNet

        net = self.model
        spec = ModelSpec(
            factory=factory_of(self.config.model),
            width=self.config.width,
            constants=self.config.constants,
            inputs=self.inputs,
            weights=str(folder / "weights.pt"),
            hash=weights_hash(self.model),
            conditioning=net.conditioning if isinstance(net, ConditionalNet) else None,
        )
        save_weights(self.model, folder / "weights.pt")
        write_text(folder / "config.json", to_json(self.config))
        made = {"data_hash": self.data_hash, "epochs": len(self.history), "stopped": self.stopped}
        write_text(folder / "training.json", json.dumps(made, indent=2) + "\n")
        write_text(folder / "model.json", to_json(spec))
        return spec


def at_lambda(checkpoint: Checkpoint, lam: float) -> Checkpoint:
    """The net at one lambda of a checkpoint that is one net for all: a net like any other.

    Raises:
        ModelError: it is none, or was not trained for that lambda.
    """
    from fftune.models.conditional import ConditionalNet, net_at

    net = checkpoint.model
    if not isinstance(net, ConditionalNet):
        objective = checkpoint.config.objective
        raise ModelError(f"a net of objective {objective!r} is of one lambda; thrm_all is of all")
    return replace(checkpoint, model=net_at(net, lam))


def read_checkpoint(folder: Path, history: Path) -> Checkpoint:
    """Read the checkpoint that `Checkpoint.save` wrote to `folder`, and a history file.

    Raises:
        ModelError: there is no complete checkpoint, or a file of it is damaged.
    """
    from fftune.models import factory_of, load_model
    from fftune.models.loading import load_conditional

    spec = read_spec(folder)
    if spec.inputs is None:  # `save` has written it
        raise ModelError(damaged("checkpoint", folder, "its net has no inputs"))
    config = read_settings(TrainConfig, folder / "config.json", error=ModelError)
    if spec.factory != factory_of(config.model):
        other = f"its net {spec.factory!r} is not that of its settings, {config.model!r}"
        raise ModelError(damaged("checkpoint", folder, other))
    made = _read_made(folder / "training.json")
    return Checkpoint(
        config=config,
        inputs=spec.inputs,
        model=load_conditional(spec) if spec.conditioning else load_model(spec),
        history=read_history(history, ModelError),
        data_hash=made.data_hash,
        stopped=made.stopped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """Contents of `training.json`."""

    data_hash: str
    epochs: int
    stopped: str


def _read_made(path: Path) -> _Made:
    data = read_object(path, "checkpoint", ModelError)
    with reading(path, "checkpoint", ModelError):
        return of_plain(_Made, data)
