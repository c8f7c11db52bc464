"""Pictures of perturbed images: clean, perturbed, and the difference between them, magnified."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from fftune.evaluation.saved_images import SavedImage, SavedImages
from fftune.hedge_study.pictures import png
from fftune.storage import make_folder, write_whole

LARGEST = 10 * 2**20
"""Bytes of all pictures of a folder, which has 30 MB for them, the data of its nets and Plotly."""
BLOCK = 4096
"""Bytes that the smallest file takes on a disk."""
FOLDER = "images"


@dataclass(slots=True)
class Album:
    """Pictures of a folder, as far as there is room."""

    folder: Path
    """Folder of the viewer."""
    written: int = 0
    """Bytes so far."""
    left_out: int = 0
    """Points that had no room."""
    _clean: dict[tuple[int, int], str] = field(default_factory=dict)

    def pictures(
        self, saved: SavedImages, rows: Iterable[SavedImage], net: int, wanted: list[int]
    ) -> dict[str, list[dict[str, Any]]]:
        """Write pictures of a net's saved images; return by id what a viewer shows of each.

        Args:
            rows: of the net.
            net: number of the net in the viewer.
            wanted: ids, the more telling first.
        """
        rank = {one: at for at, one in enumerate(wanted)}
        shown = sorted((row for row in rows if row.id in rank), key=lambda row: rank[row.id])
        found: dict[str, list[dict[str, Any]]] = {}
        for row in shown:
            x, x_pert = saved.pair(row)
            if x.shape[0] not in (1, 3) or self.written > LARGEST:
                self.left_out += 1
                continue
            of_image = found.setdefault(str(row.id), [])
            of_image.append(self._of_point(row, net, len(of_image), x, x_pert))
        return found

    def _of_point(
        self, row: SavedImage, net: int, number: int, x: Tensor, x_pert: Tensor
    ) -> dict[str, Any]:
        """Write three pictures of a point; return what a viewer shows."""
        key, change = f"{net}-{row.id}", x_pert - x
        if (net, row.id) not in self._clean:
            self._clean[net, row.id] = self._write(f"{key}.png", x)
        most = float(change.abs().max())
        return {
            "attack": row.attack,
            "goal": row.goal,
            "pred": row.pred,
            "clean": self._clean[net, row.id],
            "perturbed": self._write(f"{key}-{number}.png", x_pert),
            "difference": self._write(f"{key}-{number}-difference.png", magnified(change)),
            "most": most,
            "times": 0.5 / most if most else 0.0,
        }

    def _write(self, name: str, image: Tensor) -> str:
        data = base64.b64decode(png(image))
        make_folder(self.folder / FOLDER)
        write_whole(self.folder / FOLDER / name, lambda part: part.write_bytes(data))
        self.written += max(len(data), BLOCK)
        return f"{FOLDER}/{name}"


def magnified(change: Tensor) -> Tensor:
    """Difference of two images as an image about grey, its largest value black or white.

    Args:
        change: (C, H, W).
    """
    most = change.abs().max()
    return 0.5 + (0.5 * change / most if float(most) else change)
