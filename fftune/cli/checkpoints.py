"""Checkpoints by the names that a user has for them: folders, runs, studies and patterns."""

from collections.abc import Sequence
from glob import has_magic
from pathlib import Path

from fftune.errors import ModelError
from fftune.registry import nearest


def checkpoints_of(names: Sequence[str], storage: str | None = None) -> dict[str, Path]:
    """Folders of complete checkpoints by the names of their nets, as in `thrm-tiny-3`.

    Args:
        names: folders of checkpoints; runs and studies by name or folder; or patterns of any of
            these, as in `runs/*`.
        storage: folder of results; None is that of every command.

    Raises:
        ModelError: a name stands for no complete checkpoint; the nearest known one is named.
    """
    found: dict[str, Path] = {}
    for name in names:
        for label, path in _of_name(name, storage).items():
            free = label if found.get(label, path) == path else f"{path.parents[1].name}-{label}"
            found[free] = path
    return found


def _of_name(name: str, storage: str | None) -> dict[str, Path]:
    if (Path(name) / "model.json").exists():
        return _labelled(Path(name))
    places = [Path(name), *(folder / name for folder in _folders(storage))]
    if has_magic(name):
        places = [match for place in places for match in _matches(place)]
        found = {label: path for place in places for label, path in inside(place).items()}
    else:
        found = next(filter(None, map(inside, places)), {})
    if not found:
        raise ModelError(_refusal(name, places, storage))
    return found


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
