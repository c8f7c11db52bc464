"""What `fftune.data list`, `write` and `verify` do. Results go to stdout."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fftune.cli.data import PHASES, List, Verify, Write
from fftune.config import WriteConfig, is_plain, substandard_name
from fftune.data.beton.manifest import Made, Manifest, SplitRecord, verified
from fftune.data.beton.reader import CLEAN, stored_part
from fftune.data.beton.writer import frame_for, split_records, write_beton
from fftune.data.catalog import data_root, open_parts
from fftune.data.dataset import Source, content_hash
from fftune.data.engines.ffcv_decoder import why_missing
from fftune.data.official_split import OfficialSplit, PartName
from fftune.data.substandard import SubstandardRecipe, made_of
from fftune.errors import ConfigError, DataError
from fftune.models.loading import read_net
from fftune.registry import DATASETS, is_of_file

log = logging.getLogger(__name__)


def show(_: List) -> None:
    """A line for every set that is known or found."""
    root = data_root()
    here = (path.name for path in sorted(root.glob("*")) if any(path.glob("*.beton")))
    print(f"data sets in {root} (FFTUNE_DATA names another folder)")
    print(f"FFCV: {why_missing() or 'usable'}")
    print(f"{'set':24s} {'classes':>7s} {'train':>19s} {'test':>17s}  stored as")
    for name in dict.fromkeys([*DATASETS, *here]):
        print(f"{name:24s} {_found(name)}")


def write(command: Write) -> None:
    """Betons of every part, and a line for each.

    Raises:
        DataError, ConfigError, ModelError: nothing of the part at fault is left behind.
    """
    config = _sized(command)
    parts = open_parts(command.name, command.source, betons=False)
    folder = (command.out or data_root()) / _set_name(command)
    told = False
    for name in [command.part] if command.part else list(parts):
        if name not in parts:
            raise DataError(f"{command.name!r} has no {name} part, only {', '.join(parts)}")
        part = parts[name]
        splits = split_records(part, command.spec, selection=command.selection)
        for at, one, made in _as_written(name, part, command, config):
            sidecar = write_beton(
                one,
                folder / f"{at}.beton",
                replace(config, mode="raw") if at == CLEAN else config,
                origin=f"{command.name} from {command.source or data_root()}",
                splits=_roles(at, made, splits),
                made=made,
            )
            if not told:
                print(classes_told(sidecar.source))
                told = True
            print(f"{folder / at}.beton: {_summary(sidecar)}")
    if command.kind != "quality":
        _forget_whole(folder)
    if command.selection == "test":
        log.warning("models will be selected by the test set: their test results are optimistic")


Written = Iterator[tuple[PartName, OfficialSplit, Made | None]]


def _as_written(
    name: PartName, part: OfficialSplit, command: Write, config: WriteConfig
) -> Written:
    """The betons that a part becomes, by name; one that trains becomes two if substandard."""
    if command.kind == "quality" and command.net is not None:
        raise ConfigError("net is used by poisoning alone (see kind)")
    if command.kind == "quality" or name == "test":
        yield name, part, None
        return
    if config.mixed_sizes:
        raise ConfigError(
            f"kind: images of {command.kind} data have one size; --image-size gives it, "
            "without sizes, shorter_side or phase"
        )
    recipe = SubstandardRecipe(
        kind=command.kind,
        seed=command.seed,
        threat=command.threat.ball(),
        constants=command.constants,
    )
    net = read_net(command.net) if command.net else None
    substandard, made = made_of(part, recipe, net, frame=frame_for(part, config))
    yield CLEAN, part, None
    yield "train", substandard, made


def _roles(
    at: PartName, made: Made | None, splits: dict[str, SplitRecord]
) -> dict[str, SplitRecord]:
    """The roles of a part that one of its betons has: what is substandard trains, no more."""
    if at == CLEAN:
        return {role: record for role, record in splits.items() if role != "train"}
    if made is not None:
        return {role: record for role, record in splits.items() if role == "train"}
    return splits


def _forget_whole(folder: Path) -> None:
    """Remove the `whole.beton` that earlier releases made substandard, test images included."""
    for suffix in ("beton", "json"):
        (folder / f"whole.{suffix}").unlink(missing_ok=True)


def verify(command: Verify) -> None:
    """A line for every beton that is as it was written.

    Raises:
        DataError: one is not.
    """
    if not command.names:
        raise ConfigError("names must hold a beton, a folder or a data set")
    told = ""
    for path in (path for name in command.names for path in _betons(name)):
        sidecar = verified(path, again=True)
        part = stored_part(path)
        if (classes := classes_told(part.source)) != told:
            print(classes)
            told = classes
        if sidecar.write.mode == "raw" and (found := stored_hash(part)) != sidecar.content:
            raise DataError(f"beton {str(path)!r} has content {found}, not {sidecar.content}")
        print(f"{path}: {_summary(sidecar)}")


def stored_hash(part: OfficialSplit) -> str:
    """`content_hash` of what a part holds now."""
    digest, shapes = hashlib.sha256(), []
    for i in range(len(part)):
        pixels = part.images.read(i).pixels.transpose(2, 0, 1)
        shapes.append(pixels.shape)
        digest.update(np.ascontiguousarray(pixels).data)
    ids = part.ids_of(torch.arange(len(part))).numpy()
    return content_hash(part.source.levels, np.array(shapes), ids, part.y.numpy(), digest.digest())


def _sized(command: Write) -> WriteConfig:
    if command.phase is None:
        return command.write
    sizes = PHASES[command.phase]
    return replace(
        command.write,
        sizes=sizes.sizes,
        shorter_side=sizes.shorter_side,
        image_size=sizes.image_size,
        image_resize=sizes.image_resize,
    )


def _set_name(command: Write) -> str:
    kind, _, rest = command.name.partition(":")
    name = Path(rest).stem if kind == "folder" else kind
    if is_of_file(command.name):
        name = command.name.rpartition(":")[2]
    if kind == "synthetic" and rest:
        name += "-" + rest.replace("=", "").replace(",", "-")
    if command.kind != "quality":
        name = substandard_name(name, command.kind, command.threat.norm)
    name += "" if command.phase is None else f"-phase{command.phase}"
    if not is_plain(name):
        raise ConfigError(f"name must be one that a folder can have, got {name!r}")
    return name


def _betons(name: str) -> Iterator[Path]:
    path = Path(name).expanduser()
    if path.suffix == ".beton":
        yield path
        return
    folder = path if path.is_dir() else data_root() / name
    found = sorted(folder.glob("*.beton"))
    if not found:
        raise DataError(f"{name!r} is no beton, nor a folder or data set with betons")
    yield from found


def _found(name: str) -> str:
    try:
        parts = open_parts(name)
        opened = {part: parts[part] for part in parts}
    except DataError as error:
        missing = name in DATASETS and "is not in" in str(error)
        return f"{'-':>7s} {'-':>19s} {'-':>17s}  -" if missing else f"damaged: {error}"
    first = next(iter(opened.values()))
    counts = {part: f"{len(opened[part]):,}" for part in opened}
    official = DATASETS[name].official if name in DATASETS else {}
    for part in official.keys() & counts.keys():
        counts[part] += f" of {official[part]:,}"
    train, test = counts.get("train", counts.get("whole", "-")), counts.get("test", "-")
    kind = type(first.images).__name__.lower()
    return f"{len(first.source.classes):7d} {train:>19s} {test:>17s}  {kind}"


def classes_told(source: Source, most: int = 12) -> str:
    """How many classes there are, and the first of them in the order of their numbers."""
    names = ", ".join(source.classes[:most])
    more = ", ..." if len(source.classes) > most else ""
    return f"{len(source.classes)} classes in order: {names}{more}"


def _summary(sidecar: Manifest) -> str:
    shape = "x".join(map(str, sidecar.shape)) if sidecar.shape else "mixed sizes"
    words = [
        f"{sidecar.count:,} examples of {len(sidecar.source.classes)} classes, {shape}",
        f"{sidecar.bytes / 1e6:.1f} MB",
        f"content {sidecar.content}",
    ]
    if sidecar.made:
        words.append(_made_told(sidecar.made))
    if sidecar.converted:
        words.append(f"{sidecar.converted:,} grey images made colour")
    if sidecar.skipped:
        words.append(f"{len(sidecar.skipped):,} bad images skipped: {'; '.join(sidecar.skipped)}")
    return ", ".join(words)


def _made_told(made: Made) -> str:
    """What a substandard part is, and all that it depends on."""
    settings = json.loads(made.settings)
    words = [f"{made.kind} of {made.parent}", f"seed {made.seed}"]
    if made.kind == "poisoning":
        threat = settings["threat"]
        words[1:1] = [f"{threat['norm']} eps {threat['eps']:.4g}", f"constants {made.constants}"]
    return ", ".join(words)
