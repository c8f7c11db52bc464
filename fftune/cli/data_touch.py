"""`python -m fftune.data touch SAVED --out DIR`: a touched set, to try `inspect` on."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from fftune.cli.help_page import Manual
from fftune.config import require
from fftune.config.validation import require_words


@dataclass(frozen=True, kw_only=True)
class Touch:
    """Make a touched set of what `fftune evaluate --save-images` has kept, as class folders of PNG.

    It is what a false friend would hand in: `fftune data inspect folder:DIR` is tried on it.
    """

    name: tyro.conf.Positional[str] = ""
    """Folder of one net's saved images, with their `index.csv`."""
    out: str = ""
    """Folder to write, which is new or empty."""
    attack: str = "pgd-20"
    """The false friend by its name in the index."""
    share: float = 1.0
    """Share of the net's mistakes that it tries, in (0, 1]; those that it conceals as PNG files
    are touched."""
    seed: int = 0
    """Seed of the mistakes that are drawn."""

    def __post_init__(self) -> None:
        require_words(self)
        require("name", bool(self.name), "a folder of saved images", self.name)
        require("out", bool(self.out), "a folder", self.out)
        require("share", 0 < self.share <= 1, "in (0, 1]", self.share)


MANUAL = Manual(
    usage=("SAVED --out DIR [--attack NAME] [--share SHARE]",), about=Touch.__doc__ or ""
)


def touch(command: Touch) -> None:
    """Write the set, and print how many images are touched."""
    from fftune.evaluation.saved_images import SavedImages
    from fftune.forensics.touched_set import write_touched
    from fftune.storage import in_home

    saved, out = SavedImages.read(in_home(command.name)), Path(in_home(command.out))
    total, count = write_touched(
        saved, out, attack=command.attack, share=command.share, seed=command.seed
    )
    print(f"{total:,} images are in {str(out)!r}, {count:,} of them touched")
