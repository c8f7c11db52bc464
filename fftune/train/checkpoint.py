"""What training leaves behind: a net, the settings that made it, and its history."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from fftune.config import InputSpec, ModelSpec, TrainConfig, from_json, to_json
from fftune.errors import ModelError
from fftune.models import save_weights, weights_hash
from fftune.storage import write_text

if TYPE_CHECKING:
    from fftune.train.loop import Epoch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained net in eval mode."""

    config: TrainConfig
    inputs: InputSpec
    model: nn.Module
    history: "Sequence[Epoch]"

    def save(self, folder: Path) -> ModelSpec:
        """Write weights and settings to `folder`.

        `model.json` is written last and names the weights' hash: where it stands, the
        checkpoint is complete.
        """
        spec = ModelSpec(
            factory=f"fftune:{self.config.model}",
            inputs=self.inputs,
            weights=str(folder / "weights.pt"),
            hash=weights_hash(self.model),
        )
        save_weights(self.model, folder / "weights.pt")
        write_text(folder / "config.json", to_json(self.config))
        write_text(folder / "model.json", to_json(spec))
        return spec


def read_spec(folder: Path) -> ModelSpec:
    """The net that `Checkpoint.save` left in `folder`, wherever the folder is now.

    Raises:
        ModelError: there is no complete checkpoint.
    """
    try:
        text = (folder / "model.json").read_text(encoding="utf-8")
    except OSError:
        raise ModelError(f"no complete checkpoint in {str(folder)!r}") from None
    return replace(from_json(ModelSpec, text), weights=str(folder / "weights.pt"))
