"""Effect of a hedge on single images, as a report shows it: counts, slopes, pictures."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fftune.config import of_plain
from fftune.errors import DataError
from fftune.storage import write_text
from fftune.stored_file import reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Changes of predictions on attacked images by a defense (Wu et al. 2021, fig. 2a)."""

    attack: str
    defense: str
    n: int
    right_before: int
    right_after: int
    false_to_true: int
    true_to_false: int
    false_to_false: int
    """Predictions that changed to another false class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """Slope of the false class minus that of the true one, one value an example (fig. 2b)."""

    estimator: str
    false_to_true: tuple[float, ...]
    true_to_false: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """SSIM (Wang et al. 2004) between two versions of the same images (fig. 2c)."""

    pair: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStrip:
    """One image and the bare model's prediction."""

    caption: str
    png: str
    """PNG file in base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One example as natural, attacked and hedged image, with the differences."""

    kind: str
    id: int
    pictures: tuple[ImageStrip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Loss of two classes around an attacked image (fig. 1), on the same plane."""

    id: int
    false: str
    true: str
    at: tuple[float, ...]
    """Positions along either axis, in units of eps_d."""
    false_loss: tuple[tuple[float, ...], ...]
    true_loss: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Accuracies of the linear model that explains the hedge (section 5), in closed form."""

    case: str
    natural: float
    attacked: float
    hedged: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Showcase:
    """Effect of one hedge of one model on single images."""

    settings: str
    """Hash of the trial's config, by which a later choice of another hedge is noticed."""
    hedge: str
    n: int
    flips: tuple[Flips, ...]
    gaps: tuple[Gaps, ...]
    similarities: tuple[Similarity, ...]
    second_attack: str
    linear: tuple[Linear, ...]
    strips: tuple[Strip, ...]
    surfaces: tuple[Surface, ...]

    def write(self, path: Path) -> None:
        """Write one JSON file."""
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Showcase":
        """Read what `write` wrote.

        Raises:
            DataError: the file is damaged.
        """
        with reading(path, "showcase", DataError):
            return of_plain(cls, json.loads(path.read_text(encoding="utf-8")))
