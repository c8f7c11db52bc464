"""Checkpoints by the names that a user has for them: folders, runs, studies and patterns.

Each may be followed by a variant, as in `thrm-tiny@average`: see `fftune.models.variants`.
"""

import logging
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path

from fftune.config.model import VARIANTS
from fftune.errors import ModelError
from fftune.registry import nearest

log = logging.getLogger("fftune.evaluation")


def checkpoints_of(names: Sequence[str], storage: str | None = None) -> dict[str, Path]:
    """Folders of complete checkpoints by the names of their nets, as in `thrm-tiny-3`.

    Args:
        names: folders of checkpoints; runs, studies and trials by name or folder; or patterns of
            any of these, as in `runs/*`; each perhaps with a variant.
        storage: folder of results; None is that of every command.

    Raises:
        ModelError: a name stands for no complete checkpoint; the nearest known one is named. Or a
            training has no such variant.
    """
    found: dict[str, Path] = {}
    for name in names:
        for label, path in _of_name(name, storage).items():
            free = label if found.get(label, path) == path else f"{path.parents[1].name}-{label}"
            found[free] = path
    return found


def with_variants(checkpoints: Mapping[str, Path]) -> dict[str, Path]:
    """Each net followed by the others of its training, which are not as published.

    What a training has not, as it was not validated or is of an older fftune, is left out.
    """
    found: dict[str, Path] = {}
    for label, path in checkpoints.items():
        found[label] = path
        beside = {v: path.parent / v for v in VARIANTS if path.name == "checkpoint"}
        some = {v: folder for v, folder in beside.items() if (folder / "model.json").is_file()}
        found |= {f"{label}-{variant}": folder for variant, folder in some.items()}
        if missing := VARIANTS.keys() - some.keys():
            log.info("%s has no %s net", label, " or ".join(sorted(missing)))
    return found


def _of_name(name: str, storage: str | None) -> dict[str, Path]:
    """Checkpoints of a name, its variant applied to each."""
    from fftune.models.variants import LAM, split_variant, variant_of

    name, variant = split_variant(name)
    found = _of_base(name, storage)
    if not variant:
        return found
    ending = f"-{variant}" if variant in VARIANTS or variant.startswith(LAM) else ""
    return {
        label.removesuffix(f"-{path.name}") + ending: variant_of(path, variant)
        for label, path in found.items()
    }


def _of_base(name: str, storage: str | None) -> dict[str, Path]:
    if (Path(name) / "model.json").exists():
        return _labelled(Path(name))
    places = [Path(name), *(folder / name for folder in _folders(storage))]
    if has_magic(name):
        places = [match for place in places for match in _matches(place)]
        found = {label: path for place in places for label, path in inside(place).items()}
    else:
        found = next(filter(None, map(inside, places)), {}) or _trial(name, storage)
    if not found:
        raise ModelError(_refusal(name, places, storage))
    return found


def _trial(name: str, storage: str | None) -> dict[str, Path]:
    """The checkpoint of a trial by the name of its net, as in `thrm-tiny-3`; empty: there is none.

    Where trials have several seeds, that of one seed, as in `thrm-tiny-3-seeds-0`.
    """
    studies, *_ = _folders(storage)
    for study in studies.glob("*"):
        if name.startswith(f"{study.name}-") and name in (nets := inside(study)):
            return {name: nets[name]}
    return {}


def inside(folder: Path) -> dict[str, Path]:
    """Complete checkpoints of the folder of a run or a study; empty if it is neither."""
    if (folder / "checkpoint/model.json").exists():
        return {folder.name: folder / "checkpoint"}
    if (folder / "model.json").exists():
        return _labelled(folder)
    found = sorted(folder.glob("trials/**/checkpoint/model.json"), key=_numbers)
    trials = folder / "trials"
    return {
        "-".join((folder.name, *path.parents[1].relative_to(trials).parts)): path.parent
        for path in found
    }


def _labelled(checkpoint: Path) -> dict[str, Path]:
    """A checkpoint by the name that its net has in output."""
    from fftune.models.specs import read_spec

    return {read_spec(checkpoint).label: checkpoint}


def _folders(storage: str | None) -> list[Path]:
    """Folders in which names are looked for: studies first, then runs, then all results."""
    from fftune.storage import storage_root

    root = storage_root(storage, written=False)
    return [root / "studies", root / "runs", root]


def _matches(pattern: Path) -> list[Path]:
    """Folders that a pattern names, in the order of their names."""
    anchor = Path(pattern.anchor or ".")
    rest = pattern.relative_to(anchor) if pattern.anchor else pattern
    return sorted(path for path in anchor.glob(str(rest)) if path.is_dir())


def _refusal(name: str, places: Sequence[Path], storage: str | None) -> str:
    """One line on a name without a complete checkpoint."""
    if begun := next((place for place in places if place.is_dir()), None):
        return f"no complete checkpoint in {str(begun)!r}"
    from fftune.models.specs import instead_of

    if other := instead_of(name):
        return f"no checkpoint, run or study {name!r}{other}"
    if "/" in name or has_magic(name):
        return f"no complete checkpoint in {name!r}"
    known = [
        path.name
        for folder in _folders(storage)[:2]
        for path in sorted(folder.glob("*"))
        if path.is_dir() and not path.name.startswith(".")
    ]
    return f"no checkpoint, run or study {name!r}; {nearest(name, known)}"


def _numbers(path: Path) -> list[int]:
    """Numbers of trial and seed, so that trial 10 follows trial 9."""
    return [int(part) for part in path.parts if part.isdigit()]
