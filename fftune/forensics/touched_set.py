"""A touched set on disk, made of saved images: what `fftune data inspect` is tried on."""

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from fftune.config import Norm, ThreatModel
from fftune.config.validation import require
from fftune.errors import DataError, StorageError
from fftune.evaluation.saved_images import SavedImage, SavedImages, png
from fftune.evaluation.stored_forms import on_levels
from fftune.names import plain_name
from fftune.registry import nearest
from fftune.storage import write_whole

PARTS = "test"
"""Folder of the class folders, which makes them the test part."""


def write_touched(
    saved: SavedImages, out: Path, *, attack: str, share: float, seed: int = 0
) -> tuple[int, int]:
    """Write class folders of PNG files: D- touched for a share of it, all else clean.

    Of the mistakes that are drawn, those are touched that a false friend conceals as a PNG; the
    others, and those that are right, stay clean.

    Args:
        out: a new folder, or an empty one.
        attack: the friend by its name in the index.
        share: of D-, in (0, 1].

    Returns:
        Images, and those of them that are touched.

    Raises:
        ConfigError: the share is out of range.
        DataError: there is no such friend, or a saved file is damaged.
        StorageError: the folder holds something already, or cannot be written.
    """
    require("share", 0 < share <= 1, "in (0, 1]", share)
    if out.is_dir() and any(out.iterdir()):
        raise StorageError(f"out: {str(out)!r} is not empty")
    rows = [row for row in saved.rows if (row.attack, row.goal) == (attack, "hypocritical")]
    if not rows:
        known = Counter(row.attack for row in saved.rows if row.goal == "hypocritical")
        raise DataError(
            f"attack: {str(saved.folder)!r} has no false friend {attack!r}; "
            f"{nearest(attack, tuple(known))}"
        )
    wrong = [row for row in rows if row.pred_clean != row.y]
    order = torch.randperm(len(wrong), generator=torch.Generator().manual_seed(seed))
    drawn = {wrong[i].id for i in order[: round(share * len(wrong))].tolist()}
    count = 0
    for row in rows:
        touched = row.id in drawn and row.pred == row.y and row.file.endswith(".png")
        count += touched
        name = f"{PARTS}/{plain_name(row.label)}/{row.id:08d}.png"
        write_whole(out / name, png(_image(saved, row, touched=touched)))
    return len(rows), count


def _image(saved: SavedImages, row: SavedImage, *, touched: bool) -> Tensor:
    """(C, H, W) image on 256 levels."""
    clean, found = saved.pair(row)
    if touched:
        return found
    linf: Norm = "linf"
    nowhere = ThreatModel(norm=linf, eps=0.0)
    return on_levels(clean[None], clean[None], nowhere)[0]
