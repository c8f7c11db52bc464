"""Trainings that trials of a study share: the trial that needs one first trains it, others wait.

<study>/shared/<name>/            a training, whatever it leaves
<study>/shared/<name>/ended.json  the mark that it is whole, or the reason why it diverged
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fftune.config import of_plain
from fftune.errors import DivergedError
from fftune.storage import in_turn, make_folder, write_text
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_records import read_as


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """Contents of `ended.json`."""

    diverged: str = ""
    """Reason why the training gave no net, or empty."""


def shared_training(study: StudyDir, name: str, train: Callable[[Path], object]) -> Path:
    """The folder of a training that trials share, trained now unless it has ended.

    The lock is of the file system: where a trial dies over it, the next goes on from its
    snapshots. A training that diverged is not tried again by each of the trials.

    Args:
        name: of the training, a plain name: equal names are one training.
        train: leaves the training in the folder that it is given.

    Raises:
        DivergedError: it diverged, now or under another trial.
        StudyError: the record of its end is damaged.
        Exception: whatever else `train` meets; the next trial tries again.
    """
    folder = study.path / "shared" / name
    with in_turn(folder):
        mark = folder / "ended.json"
        if not mark.exists():
            make_folder(folder)
            write_text(mark, json.dumps(asdict(_trained(folder, train))) + "\n")
        ended = read_as(mark, lambda data: of_plain(_Ended, data), what="record of a training")
    if ended.diverged:
        raise DivergedError(ended.diverged)
    return folder


def _trained(folder: Path, train: Callable[[Path], object]) -> _Ended:
    try:
        train(folder)
    except DivergedError as error:
        return _Ended(diverged=str(error))
    return _Ended()
