"""Pictures of perturbed images: clean, perturbed, and the difference between them, magnified."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from fftune.evaluation.saved_points import SavedPoints
from fftune.hedge_study.pictures import png
from fftune.storage import make_folder, write_whole

LARGEST = 20 * 2**20
"""Bytes of all pictures of a folder; its other files take the rest of 30 MB."""
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
        self, saved: SavedPoints, rows: Any, net: int, wanted: list[int]
    ) -> dict[str, list[dict[str, Any]]]:
        """Write the pictures of a net's saved points; return by id what a viewer shows of each.

        Args:
            rows: rows of `saved.index` that are the net's.
            net: number of the net in the viewer.
            wanted: ids, the more telling first.
        """
        rank = {one: at for at, one in enumerate(wanted)}
        order = sorted(
            (at for at, one in enumerate(rows["id"].to_pylist()) if one in rank),
            key=lambda at: (rank[rows["id"][at].as_py()], at),
        )
        found: dict[str, list[dict[str, Any]]] = {}
        shown = rows.take(order)
        for said, x, x_pert in zip(shown.to_pylist(), *saved.images(shown), strict=True):
            if x.shape[0] not in (1, 3) or self.written > LARGEST:
                self.left_out += 1
                continue
            key = f"{net}-{said['id']}"
            if (net, said["id"]) not in self._clean:
                self._clean[net, said["id"]] = self._write(f"{key}.png", x)
            change = x_pert - x
            most = float(change.abs().max())
            number = len(found.get(str(said["id"]), []))
            found.setdefault(str(said["id"]), []).append(
                {
                    "attack": said["attack"],
                    "goal": said["goal"],
                    "pred": said["pred_pert"],
                    "clean": self._clean[net, said["id"]],
                    "perturbed": self._write(f"{key}-{number}.png", x_pert),
                    "difference": self._write(f"{key}-{number}-difference.png", magnified(change)),
                    "most": most,
                    "times": 0.5 / most if most else 0.0,
                }
            )
        return found

    def _write(self, name: str, image: Tensor) -> str:
        data = base64.b64decode(png(image))
        make_folder(self.folder / FOLDER)
        write_whole(self.folder / FOLDER / name, lambda part: part.write_bytes(data))
        self.written += len(data)
        return f"{FOLDER}/{name}"


def magnified(change: Tensor) -> Tensor:
    """Difference of two images as an image about grey, its largest value black or white.

    Args:
        change: (C, H, W).
    """
    most = change.abs().max()
    return 0.5 + (0.5 * change / most if float(most) else change)
