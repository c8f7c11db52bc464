"""The ordinary net that one net for all lambdas is at one of them, as a checkpoint of its own."""

import shutil
from dataclasses import replace
from pathlib import Path

from fftune.config import to_json
from fftune.errors import ModelError
from fftune.models.specs import read_spec
from fftune.storage import make_folder, storing, write_text


def folder_at(checkpoint: Path, text: str) -> Path:
    """The folder of the net at one lambda, inside its checkpoint's; written unless it is there.

    Args:
        text: the number.

    Raises:
        ModelError: the text is no number, or the net is not one for that lambda.
        StorageError: the folder cannot be written.
    """
    try:
        lam = float(text)
    except ValueError:
        raise ModelError(f"@lam= must be followed by a number, got {text!r}") from None
    found = checkpoint / f"lam={spelled(lam)}"
    if not (found / "model.json").is_file():
        _write(checkpoint, lam, found)
    return found


def spelled(lam: float) -> str:
    """A lambda in the fewest digits that tell it from any other, as in "20" or "0.5"."""
    short = f"{lam:g}"
    return short if float(short) == lam else repr(lam)


def _write(checkpoint: Path, lam: float, folder: Path) -> None:
    """Write the net at one lambda; `model.json` is written last and makes it complete."""
    from fftune.models.conditional import net_at
    from fftune.models.loading import load_conditional
    from fftune.models.weights import save_weights, weights_hash

    spec = read_spec(checkpoint)
    net = net_at(load_conditional(spec), lam)
    weights = folder / "weights.pt"
    plain = replace(spec, conditioning=None, lam=lam, weights=str(weights), hash=weights_hash(net))
    with storing(folder):
        make_folder(folder)
        for name in ("config.json", "training.json"):
            shutil.copyfile(checkpoint / name, folder / name)
    save_weights(net, weights)
    write_text(folder / "model.json", to_json(plain))
