"""Perturbed images kept as files: PNG where its 256 levels keep the verdict, else exact points.

An attack's point is a float image. Rounded to the 8 bits of a PNG, inside the ball, it may fool
nobody any more; such a point is kept as it is, in a `.npz` of numpy with the array `x`, float32 in
[0, 1], (C, H, W). The clean image of each lies in `clean/`, in the same way.

    DIR/index.csv                  a row a perturbed image; see `COLUMNS`
    DIR/<attack>-<goal>/<id>.png   or .npz
    DIR/clean/<id>.png             or .npz
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fftune.config import Norm
from fftune.errors import DataError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.stored_forms import TOLERANCE, on_levels
from fftune.names import is_plain, plain_name
from fftune.storage import require_replaceable, write_text, write_whole
from fftune.stored_file import read_text, reading

LEVELS = 255
INDEX = "index.csv"
CLEAN = "clean"
COLUMNS = (
    *("file", "id", "attack", "goal", "target", "y", "label", "pred_clean", "label_clean"),
    *("pred", "label_perturbed", "success", "kept", "norm", "distance"),
)
"""Columns of the index: classes by number and by name; `distance` is that of the file's image from
the clean one, in pixels of [0, 1], and `kept` is `8 bits` or `float32`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Perturbed:
    """Examples of a block that an attack has perturbed, with the untouched net's verdicts."""

    ids: Tensor
    x: Tensor
    """(B, C, H, W) clean images."""
    x_pert: Tensor
    y: Tensor
    pred_clean: Tensor
    pred: Tensor
    """(B,) int64, verdicts on `x_pert`."""
    success: Tensor
    """(B,) bool."""


Verdict = Callable[[Tensor], Tensor]
"""(B,) int64 predictions of (B, C, H, W) images."""
Rows = Mapping[tuple[str, int], list[object]]
"""Rows of the index by the attack's folder and the image's id."""


@dataclass(slots=True, kw_only=True)
class ImageFolder:
    """Folder that the perturbed images of one net are kept in, with an index of them."""

    folder: Path
    rows: dict[tuple[str, int], list[object]] = field(default_factory=dict)
    _clean: set[int] = field(default_factory=set)
    """Ids of images whose clean version is written."""

    def check(self) -> None:
        """Check that no other index is in the folder.

        Raises:
            StorageError: one is, and would be lost.
        """
        known = "index of saved images"
        require_replaceable(self.folder / INDEX, known, lambda _: SavedImages.read(self.folder))

    def keep(
        self, classes: tuple[str, ...], attack: Attack, found: Perturbed, verdict: Verdict
    ) -> None:
        """Write the images of a block, and the index of all so far; raises what `write` does."""
        self.add(self.write(classes, attack, found, verdict))

    def add(self, rows: Rows) -> None:
        """Write the index with these rows, too, whose images any process has written.

        Raises:
            StorageError: it cannot be written.
        """
        self.rows.update(rows)
        write_text(self.folder / INDEX, self._index())

    def write(
        self, classes: tuple[str, ...], attack: Attack, found: Perturbed, verdict: Verdict
    ) -> Rows:
        """Write the images of a block; return their rows of the index.

        Raises:
            StorageError: a file cannot be written.
        """
        rows = {}
        aimed = "" if attack.target is None else f"-to-{attack.target}"
        place = plain_name(f"{attack.name}-{attack.goal}{aimed}")
        rounded = on_levels(found.x_pert, found.x, attack.config.threat)
        drawable = found.x.shape[1] in (1, 3)
        survives = (verdict(rounded) == found.pred) & drawable
        for at, (i, whole) in enumerate(zip(found.ids.tolist(), survives.tolist(), strict=True)):
            image = rounded[at] if whole else found.x_pert[at]
            file = f"{place}/{i}.{'png' if whole else 'npz'}"
            write_whole(self.folder / file, png(image) if whole else _exact(image))
            self._keep_clean(i, found.x[at], drawable)
            kept = "8 bits" if whole else "float32"
            target = "" if attack.target is None else attack.target
            named = [file, i, attack.name, attack.goal, target, *_labels(classes, found, at)]
            rows[place, i] = [*named, kept, *_apart(attack, found.x[at], image)]
        return rows

    def _keep_clean(self, i: int, x: Tensor, drawable: bool) -> None:
        """Write a clean image, once; as PNG where that has all its values."""
        if i in self._clean:
            return
        self._clean.add(i)
        levels = x * LEVELS
        whole = drawable and bool(((levels - levels.round()).abs() < LEVELS * TOLERANCE).all())
        path = self.folder / CLEAN / f"{i}.{'png' if whole else 'npz'}"
        write_whole(path, png(x) if whole else _exact(x))

    def __str__(self) -> str:
        exact = sum("float32" in row for row in self.rows.values())
        return (
            f"{len(self.rows):,} perturbed images are in {self.folder}: {len(self.rows) - exact:,} "
            f"as PNG, as 8 bits keep their verdict, {exact:,} as exact float32; see {INDEX}"
        )

    def _index(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row for _, row in sorted(self.rows.items()))
        return out.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """Row of the index of a folder of perturbed images."""

    file: str
    id: int
    attack: str
    goal: str
    label: str
    """Name of class y."""
    y: int
    pred_clean: int
    pred: int


@dataclass(frozen=True, slots=True)
class SavedImages:
    """Folder of perturbed images, as `ImageFolder` left it."""

    folder: Path
    rows: tuple[SavedImage, ...]

    @classmethod
    def read(cls, folder: Path) -> "SavedImages":
        """Read the index of a folder.

        Raises:
            DataError: it is missing, damaged, or no such index.
        """
        path = folder / INDEX
        text = read_text(path, "index of saved images", DataError)
        with reading(path, "index of saved images", DataError):
            reader = csv.DictReader(io.StringIO(text), strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError("it has other columns")
            return cls(folder, tuple(map(_saved, reader)))

    def pair(self, row: SavedImage) -> tuple[Tensor, Tensor]:
        """(C, H, W) clean and perturbed image, float32 in [0, 1].

        Raises:
            DataError: a file is missing or damaged, or the two are of different shapes.
        """
        clean = self.folder / CLEAN / f"{row.id}.png"
        clean = clean if clean.is_file() else clean.with_suffix(".npz")
        x, x_pert = _image(clean), _image(self.folder / row.file)
        if x.shape != x_pert.shape:
            shapes = f"{tuple(x.shape)} and {tuple(x_pert.shape)}"
            raise DataError(f"saved images {str(clean)!r} and {row.file!r} are of {shapes}")
        return x, x_pert


def _saved(row: Mapping[str, str | None]) -> SavedImage:
    if None in row.values() or None in row:
        raise DataError("a row has too few or too many values")
    words = {name: str(row[name]) for name in ("file", "attack", "goal", "label")}
    place, _, name = words["file"].partition("/")
    if not (is_plain(place) and is_plain(name) and name.endswith((".png", ".npz"))):
        raise DataError(f"{words['file']!r} is no file of its folder")
    i, y, clean, pred = (int(str(row[name])) for name in ("id", "y", "pred_clean", "pred"))
    return SavedImage(**words, id=i, y=y, pred_clean=clean, pred=pred)


def _image(path: Path) -> Tensor:
    """(C, H, W) image of a file."""
    with reading(path, "saved image", DataError):
        if path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as image:
                if image.mode not in ("L", "RGB"):
                    raise DataError(f"its mode is {image.mode!r}, not grey or RGB")
                pixels = torch.from_numpy(np.array(image, np.float32)) / LEVELS
            return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        with np.load(path, allow_pickle=False) as file:
            points = file["x"]
        if points.ndim != 3 or points.dtype != np.float32 or not np.isfinite(points).all():
            raise DataError("it is no (C, H, W) image of finite float32")
        return torch.from_numpy(points)


def _labels(classes: tuple[str, ...], found: Perturbed, at: int) -> list[object]:
    """Label and both predictions, each with its name, and whether the attack succeeded."""
    labels = [int(which[at]) for which in (found.y, found.pred_clean, found.pred)]
    named = [word for label in labels for word in (label, classes[label])]
    return [*named, bool(found.success[at])]


def _apart(attack: Attack, x: Tensor, image: Tensor) -> list[object]:
    norm: Norm = attack.config.threat.norm
    moved = (image - x).flatten()
    distance = moved.abs().max() if norm == "linf" else moved.norm()
    return [norm, f"{float(distance):.6g}"]


def png(image: Tensor) -> Callable[[Path], object]:
    """Function that writes a (C, H, W) image on 256 levels to a path."""
    from PIL import Image

    pixels = (image * LEVELS).round().byte().cpu().permute(1, 2, 0).numpy()
    drawn = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return lambda path: drawn.save(path, format="PNG")


def _exact(image: Tensor) -> Callable[[Path], object]:
    points = image.detach().float().cpu().numpy()

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, x=points)

    return write
