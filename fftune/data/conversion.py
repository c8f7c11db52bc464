"""Conversion of a data set to beton files, and the check of such files."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fftune.config import (
    Constants,
    DataSpec,
    Device,
    Selection,
    ThreatModel,
    WriteConfig,
    substandard_name,
)
from fftune.data.beton.manifest import Made, Manifest, SplitRecord, verified
from fftune.data.beton.reader import CLEAN, stored_part
from fftune.data.beton.writer import frame_for, split_records, write_beton
from fftune.data.catalog import data_root, open_parts
from fftune.data.data_form import file_name_of
from fftune.data.dataset import content_hash
from fftune.data.official_split import OfficialSplit, PartName
from fftune.data.substandard import SubstandardRecipe, made_of
from fftune.errors import ConfigError, DataError
from fftune.models import device_of
from fftune.models.named_net import read_net
from fftune.names import require_name
from fftune.progress import Progress
from fftune.storage import in_home

log = logging.getLogger(__name__)

PHASES: dict[int, WriteConfig] = {
    1: WriteConfig(shorter_side=160, image_size=128),
    2: WriteConfig(shorter_side=352, image_size=224),
    3: WriteConfig(sizes="mixed", image_size=288, image_resize=False),
}
"""Image sizes of FastAT's phases on ImageNet: 128, 224 and 288 pixels, cut from images of 160, 352
and their own (Wong et al. 2020)."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A data set, and the beton files that it becomes."""

    name: str
    """A known set, `folder:PATH` or `synthetic:SETTINGS`."""
    source: Path | None = None
    """The folder that holds the set; None looks for it in `FFTUNE_DATA`."""
    out: Path | None = None
    """The folder in which the set's own folder is made; None: `FFTUNE_DATA`."""
    part: Literal["train", "test", "whole"] | None = None
    """One part; None converts all of them."""
    kind: Literal["quality", "noise", "mislabeling", "poisoning", "helped"] = "quality"
    """The training data of Tao et al. 2022, A.3, or helped ones; all but `quality` are a changed
    copy of the part that trains."""
    net: str | None = None
    """A naturally trained net, for `poisoning` and `helped`: a checkpoint folder or
    FILE.py:FACTORY."""
    model: str = ""
    """FILE.py:FACTORY of that checkpoint, where it is of the user's code; see `with_named_code`."""
    threat: ThreatModel = field(default_factory=ThreatModel)
    """The ball of the perturbations."""
    constants: Constants = "paper"
    """The published settings of perturbations, or those of the authors' code."""
    seed: int = 0
    """The seed of noise, labels and poisons."""
    device: Device = "cpu"
    """The device that poisons are crafted on."""
    phase: Literal[1, 2, 3] | None = None
    """A row of `PHASES`, whose sizes replace those of `write`."""
    spec: DataSpec
    """The splits whose sizes and ids are recorded."""
    selection: Selection = "validation"
    """The split that selects models, as it is recorded."""
    write: WriteConfig = field(default_factory=WriteConfig)

    @property
    def sized(self) -> WriteConfig:
        """`write` with the phase's image sizes."""
        if self.phase is None:
            return self.write
        sizes = PHASES[self.phase]
        return replace(
            self.write,
            sizes=sizes.sizes,
            shorter_side=sizes.shorter_side,
            image_size=sizes.image_size,
            image_resize=sizes.image_resize,
        )

    @property
    def stored_name(self) -> str:
        """Name of the set's folder, as in `cifar10-poisoning-l2`.

        Raises:
            ConfigError: no folder can have that name.
        """
        kind, _, rest = self.name.partition(":")
        name = file_name_of(self.name)
        if kind == "synthetic" and rest:
            name += "-" + rest.replace("=", "").replace(",", "-")
        if self.kind != "quality":
            name = substandard_name(name, self.kind, self.threat.norm)
        name += "" if self.phase is None else f"-phase{self.phase}"
        return require_name("name", name)


def convert(conversion: Conversion) -> Iterator[tuple[Path, Manifest]]:
    """Write the beton files of every part; yield each with its manifest when it is whole.

    Raises:
        DataError, ConfigError, ModelError: nothing of the part at fault is left behind.
    """
    config = conversion.sized
    parts = open_parts(conversion.name, conversion.source, betons=False)
    folder = (conversion.out or data_root()) / conversion.stored_name
    for name in [conversion.part] if conversion.part else list(parts):
        if name not in parts:
            raise DataError(f"{conversion.name!r} has no {name} part, only {', '.join(parts)}")
        part = parts[name]
        splits = split_records(part, conversion.spec, selection=conversion.selection)
        for at, one, made in _copies(name, part, conversion, config):
            path = folder / f"{at}.beton"
            manifest = write_beton(
                one,
                path,
                replace(config, mode="raw") if at == CLEAN else config,
                origin=f"{conversion.name} from {conversion.source or data_root()}",
                splits=_roles(at, made, splits),
                made=made,
            )
            yield path, manifest
    if conversion.kind != "quality":
        _remove_whole(folder)
    if conversion.selection == "test":
        log.warning("models will be selected by the test set: their test results are optimistic")


Copies = Iterator[tuple[PartName, OfficialSplit, Made | None]]


def _copies(name: PartName, part: OfficialSplit, job: Conversion, config: WriteConfig) -> Copies:
    """The files that a part becomes, by name: two for a substandard part that trains."""
    if job.kind == "quality" and job.net is not None:
        raise ConfigError("net is used by poisoning and helped alone (see kind)")
    if job.kind == "quality" or name == "test":
        yield name, part, None
        return
    if config.mixed_sizes:
        raise ConfigError(
            f"kind: images of {job.kind} data have one size; --image-size gives it, "
            "without sizes, shorter_side or phase"
        )
    recipe = SubstandardRecipe(
        kind=job.kind, seed=job.seed, threat=job.threat, constants=job.constants
    )
    net = read_net(job.net, job.model).to(device_of(job.device)) if job.net else None
    substandard, made = made_of(part, recipe, net, frame=frame_for(part, config))
    yield CLEAN, part, None
    yield "train", substandard, made


def _roles(
    at: PartName, made: Made | None, splits: dict[str, SplitRecord]
) -> dict[str, SplitRecord]:
    """The splits that one file of a part serves: a substandard copy trains, the clean one not."""
    if at == CLEAN:
        return {role: record for role, record in splits.items() if role != "train"}
    if made is not None:
        return {role: record for role, record in splits.items() if role == "train"}
    return splits


def _remove_whole(folder: Path) -> None:
    """Remove the `whole.beton` that early releases made substandard, test images included."""
    for suffix in ("beton", "json"):
        (folder / f"whole.{suffix}").unlink(missing_ok=True)


def check_beton(path: Path) -> Manifest:
    """Read a beton file whole; return its manifest.

    Raises:
        DataError: its checksum, or the hash of its pixels where they are raw, is another one.
    """
    manifest = verified(path, again=True)
    part = stored_part(path)
    if manifest.write.mode == "raw" and (found := stored_hash(part)) != manifest.content:
        raise DataError(f"beton {str(path)!r} has content {found}, not {manifest.content}")
    return manifest


def stored_hash(part: OfficialSplit) -> str:
    """Hash of the pixels, labels and ids that a part holds now; see `content_hash`."""
    digest, shapes = hashlib.sha256(), []
    with Progress(f"{part.source.name} {part.name}", unit="images", total=len(part)) as progress:
        for i in range(len(part)):
            pixels = part.images.read(i).pixels.transpose(2, 0, 1)
            shapes.append(pixels.shape)
            digest.update(np.ascontiguousarray(pixels).data)
            progress.update(i + 1)
    ids = part.ids_of(torch.arange(len(part))).numpy()
    return content_hash(part.source.levels, np.array(shapes), ids, part.y.numpy(), digest.digest())


def beton_files(name: str) -> list[Path]:
    """Beton files of a name: one file, a folder of them, or a stored data set.

    Raises:
        DataError: there is none.
    """
    path = in_home(name)
    if path.suffix == ".beton":
        return [path]
    folder = path if any(path.glob("*.beton")) else data_root() / name
    found = sorted(folder.glob("*.beton"))
    if not found:
        raise DataError(
            f"{name!r} is no beton, nor a folder or data set with betons: there are none in "
            f"{str(folder)!r}; what `fftune data write NAME --out DIR` wrote is DIR/NAME"
        )
    return found
