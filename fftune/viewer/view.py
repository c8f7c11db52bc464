"""The folder of a view: what is gathered of a study or of rows, and where it is written."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fftune.config import HedgeSweep, SweepConfig, TrainConfig
from fftune.errors import ConfigError, DataError
from fftune.evaluation.question import questions_of
from fftune.evaluation.saved_images import INDEX, SavedImages
from fftune.names import plain_name
from fftune.outcomes import Outcomes
from fftune.report.results import read_config
from fftune.sweeping.front import Front
from fftune.viewer.folder import Folder
from fftune.viewer.follow_ups import follow_ups
from fftune.viewer.pictures import Album
from fftune.viewer.rate_table import finding, rate_table
from fftune.viewer.shown_net import ShownNet
from fftune.viewer.trade_offs import TradeOffs

log = logging.getLogger(__name__)

LARGEST = 10 * 2**20
"""Bytes of data after which no further net is shown image by image; pictures have as many."""


def view_rows(rows: Path, *, saved: Path | None = None, out: Path | None = None) -> Path:
    """Write the view of a file of rows; return its page.

    Args:
        saved: folder of saved images.
        out: folder to write; default beside the rows.

    Raises:
        DataError: the rows or the images cannot be read, or are of several nets.
        StorageError: the folder holds something else, or cannot be written.
    """
    outcomes = Outcomes.read(rows)
    questions = questions_of(outcomes)
    classes = questions[0].classes if questions else ()
    title = (questions[0].net if questions else "") or rows.stem
    view = _View(Folder(out or rows.with_name(f"{rows.stem}-view")))
    net = ShownNet(number=0, name=title, outcomes=outcomes, classes=classes)
    view.show(net, _saved_of(saved, title) if saved else None)
    return view.finish(
        {
            "title": title,
            "sentences": [line for one in questions[:1] for line in finding(outcomes, one)],
            "caveats": [
                f"rows {rows.name}",
                *(x for q in questions for x in q.head().splitlines()),
            ],
            "rates": rate_table(outcomes),
        }
    )


def view_study(
    studies: Path,
    name: str,
    *,
    trained: Callable[[TrainConfig], str],
    saved: Path | None = None,
    count: int | None = None,
    out: Path | None = None,
) -> Path:
    """Write the view of a finished study; return its page.

    Args:
        studies: folder of studies.
        trained: gives the command that trains a net with some settings.
        saved: folder of saved images of its nets.
        count: craft the points of so many images a net anew.
        out: folder to write; default `view` in the study's folder.

    Raises:
        StudyError: it has no front.
        ConfigError: images of nets that are not trained by the study are to be crafted.
        DataError: rows or images cannot be read.
        StorageError: the folder holds something else, or cannot be written.
    """
    config = read_config(name, studies)
    if count and not isinstance(config, SweepConfig):
        raise ConfigError(
            f"images must be a folder or left out for a study of kind {config.kind!r}, whose nets "
            f"are not its own, got {count}"
        )
    folder = studies / name
    study = TradeOffs(config, Front.read(folder / "front.json"), folder)
    headlines, caveats = study.sentences()
    view = _View(Folder(out or folder / "view"))
    images = _Images(saved, count)
    trials = study.trials()
    for trial in sorted(trials, key=lambda one: not one["front"]):  # the front has room first
        trial |= _of_trial(view, study, trial["trial"], trial["seeds"], images, trained)
    return view.finish(
        {
            "title": name,
            "sentences": headlines,
            "caveats": caveats,
            "risks": [risk.replace("_", " ") for risk in study.risks],
            "figures": study.figures(),
            "trials": trials,
            "defended": config.kind == HedgeSweep.kind,
        }
    )


@dataclass(frozen=True, slots=True)
class _Images:
    """Source of a study's images: a folder, or so many that are crafted anew; or none."""

    saved: Path | None
    count: int | None


def _of_trial(
    view: "_View",
    study: TradeOffs,
    trial: int,
    seeds: list[int],
    images: _Images,
    trained: Callable[[TrainConfig], str],
) -> dict[str, Any]:
    """Show the nets of a trial; return their numbers, and the commands about the first."""
    nets: list[int] = []
    for seed in seeds:
        rows = study.rows_of(trial, seed)
        if not rows.is_file():
            continue
        if view.folder.data_bytes > LARGEST:
            view.left_out += 1
            continue
        which = f", seed {seed}" if len(seeds) > 1 else ""
        net = ShownNet(
            number=len(view.nets),
            name=f"{study.front.study}, trial {trial}{which}",
            outcomes=Outcomes.read(rows),
            classes=study.classes,
        )
        log.info("%s", net.name)
        own = "-".join((study.front.study, *rows.parent.relative_to(study.folder / "trials").parts))
        source: _Source | None = _saved_of(images.saved, own) if images.saved else None
        if images.count:
            sweep = cast("SweepConfig", study.config)
            source = _Anew(sweep, rows.parent / "checkpoint", images.count)
        try:
            view.show(net, source)
        except DataError as error:  # rows of old versions lack what is shown
            log.warning("%s: %s", net.name, error)
            view.notes.append(f"{net.name}, is not shown image by image: {error}")
        else:
            nets.append(net.number)
    folder, settings = study.rows_of(trial, seeds[0]).parent, study.settings_of(trial)
    return {"nets": nets, "commands": follow_ups(study.config, folder, settings, trained)}


def _saved_of(folder: Path, net: str) -> SavedImages:
    """Saved images of a net: in the folder itself, or in the one of the net's name in it."""
    inner = folder / plain_name(net)
    return SavedImages.read(inner if (inner / INDEX).is_file() else folder)


@dataclass(frozen=True, slots=True)
class _Anew:
    """Images that are crafted anew."""

    sweep: SweepConfig
    checkpoint: Path
    count: int


_Source = SavedImages | _Anew


@dataclass(slots=True)
class _View:
    """A view in the making."""

    folder: Folder
    nets: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: int = 0
    """Nets whose images had no room."""
    _album: Album = field(init=False)

    def __post_init__(self) -> None:
        self.folder.begin()
        self._album = Album(self.folder.part)

    def show(self, net: ShownNet, source: _Source | None) -> None:
        """Write the files of a net."""
        plain, total, others = net.plain(), 0, 0
        pictures: dict[str, Any] = {}
        match source:
            case SavedImages():
                pictures, total, others = net.pictures(self._album, source)
            case _Anew(sweep, checkpoint, count):
                pictures, total, others = net.anew(self._album, sweep, checkpoint, count)
        if others:
            self.notes.append(
                f"{net.name}: {others:,} of {total:,} perturbed images are not shown, as no row "
                "has their verdict: other code, another net or another search made them."
            )
        self.folder.net(net.number, plain, pictures)
        self.nets.append(net.name)

    def finish(self, page: dict[str, Any]) -> Path:
        """Write the page and its scripts; return its path."""
        if self.left_out:
            self.notes.append(f"{self.left_out:,} nets are not shown image by image: no room.")
        if left_out := self._album.left_out:
            self.notes.append(f"{left_out:,} perturbed images are not shown: they have no room.")
        return self.folder.finish(page | {"notes": self.notes, "nets": self.nets})
