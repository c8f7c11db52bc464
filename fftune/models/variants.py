"""Nets of one training by name: NAME@last, NAME@average, NAME@best, NAME@lam=20.

NAME is a checkpoint's folder or that of a run; `cli.checkpoints` takes runs and studies by their
names as well. The last form is of one net for all lambdas: the ordinary net that it is at one of
them, which is written beside it, as a checkpoint like any other, when it is first asked for.
"""

from pathlib import Path

from fftune.config.model import VARIANTS
from fftune.errors import ModelError
from fftune.models.at_lambda import folder_at
from fftune.registry import nearest, source_prefix

LAST = "last"
LAM = "lam="
FOLDERS = {LAST: "checkpoint", **{name: name for name in VARIANTS}}
"""Folder of a run in which each of its nets lies."""


def split_variant(name: str) -> tuple[str, str]:
    """A name and the variant behind its last "@", which is empty where there is none.

    A path with that sign is its own name, and so is a net of code or of a source, as in
    `hf:OWNER/NET@REVISION`.
    """
    base, _, variant = name.rpartition("@")
    other = ".py:" in name or source_prefix(name) or "/" in variant or Path(name).exists()
    return (name, "") if other or not base else (base, variant)


def variant_of(folder: Path, variant: str) -> Path:
    """The folder of a variant of the training that left a checkpoint or a run's folder.

    Raises:
        ModelError: there is no such variant, or this training has none.
    """
    if not variant:
        return folder
    if not folder.is_dir():
        raise ModelError(f"no complete checkpoint in {str(folder)!r}")
    if variant.startswith(LAM):
        whole = folder if (folder / "model.json").is_file() else folder / "checkpoint"
        return folder_at(whole, variant.removeprefix(LAM))
    if variant not in FOLDERS:
        raise ModelError(f"{str(folder)!r} has no net {variant!r}; {nearest(variant, FOLDERS)}")
    run = folder.parent if folder.name in FOLDERS.values() else folder
    found = run / FOLDERS[variant]
    if not (found / "model.json").is_file():
        raise ModelError(f"no complete {variant} net in {str(run)!r}{_WHY.get(variant, '')}")
    return found


_WHY = {
    "average": ": it was trained with average_decay 0, or by an fftune that kept none",
    "best": ": it was trained without validation",
}


def checkpoint_at(place: str) -> Path | None:
    """The folder of the checkpoint that a place names, perhaps with a variant; None: it names none.

    Raises:
        ModelError: the training there has no such variant.
    """
    base, variant = split_variant(place)
    if variant and (variant in FOLDERS or Path(base).is_dir()):
        return variant_of(Path(base), variant)
    return Path(place) if (Path(place) / "model.json").is_file() else None
