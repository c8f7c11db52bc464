import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fftune.config import WriteConfig
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import open_parts

SHARED = Path(os.environ.get("FFTUNE_SHARED") or Path(__file__).parents[2] / "../shared")
DATASETS = Path("~/.cache/fftune/datasets").expanduser()


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was verified before is forgotten, and data sets are looked for in an empty place.

    Nothing need survive a loss of power: waiting for the disk is most of what small files take.
    """
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("fftune.data.beton.manifest.VERIFIED", str(tmp_path / "verified"))
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path / "datasets"))


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Writes a PNG of random pixels below `tmp_path`."""

    def image(
        place: str, *, size: tuple[int, int] = (6, 5), mode: str = "RGB", seed: int = 0
    ) -> Path:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        pixels = np.random.default_rng([*place.encode()]).integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels, mode).save(path)
        return path

    return image


@pytest.fixture
def betons(tmp_path: Path) -> Callable[..., Path]:
    """Writes the parts of a set as betons and returns their folder."""

    def written(name: str, config: WriteConfig | None = None) -> Path:
        folder = tmp_path / "betons" / name.partition(":")[0]
        for part, images in open_parts(name, betons=False).items():
            path = folder / f"{part}.beton"
            write_beton(images, path, config or WriteConfig(), origin=name, splits={})
        return folder

    return written


@pytest.fixture(scope="session")
def shared() -> Callable[[str, str], Path]:
    """Unpacks an archive of real images once, and skips where there is none."""

    def unpacked(archive: str, folder: str) -> Path:
        if not (DATASETS / folder).is_dir():
            path = SHARED / "data" / archive
            if not path.is_file():
                pytest.skip(f"no {path}")
            DATASETS.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path) as tar:
                tar.extractall(DATASETS, filter="data")
        return DATASETS / folder

    return unpacked
