"""The folder of a view: what is gathered of a study or of rows, and where it is written."""

import logging
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from fftune.config import Split, Study, SweepConfig, TrainConfig
from fftune.errors import ConfigError, DataError
from fftune.evaluation.question import questions_of
from fftune.evaluation.saved_points import SavedPoints
from fftune.outcomes import Outcomes
from fftune.report.attack_table import rates
from fftune.report.defended_rows import undefended
from fftune.report.defense_rates import defense_rates
from fftune.report.results import read_config
from fftune.sweeping.front import Front
from fftune.viewer.class_risks import class_name, class_risks, plain_cell, worst_classes
from fftune.viewer.crafted import craft
from fftune.viewer.folder import Folder
from fftune.viewer.follow_ups import follow_ups
from fftune.viewer.pictures import Album
from fftune.viewer.seen import Seen, columns, seen
from fftune.viewer.trade_offs import TradeOffs

log = logging.getLogger(__name__)

MOST = 200
"""Images of a net that are shown at most."""


def view_rows(rows: Path, *, saved: Path | None = None, out: Path | None = None) -> Path:
    """Write the view of a file of rows; return its page.

    Args:
        saved: folder of saved images.
        out: folder to write; default beside the rows.

    Raises:
        DataError: the rows or the images cannot be read.
        StorageError: the folder holds something else, or cannot be written.
    """
    outcomes = Outcomes.read(rows)
    folder = Folder(out or rows.with_name(f"{rows.stem}-view"))
    questions = questions_of(outcomes)
    classes = questions[0].classes if questions else ()
    points = SavedPoints.read(saved) if saved else None
    net = _Net(0, rows.stem, outcomes, classes)
    album = Album(folder.part)
    folder.begin()
    folder.net(0, net.plain(), net.pictures(album, points) if points else {})
    bare, behind = rates(undefended(outcomes)), defense_rates(outcomes)
    page = {
        "title": rows.stem,
        "sentences": [],
        "caveats": [line for q in questions for line in q.head().splitlines()],
        "rates": [[name, *plain_cell(rate)] for name, rate in {**bare, **behind}.items()],
        "notes": _notes(album, anew=False),
        "nets": [net.name],
    }
    return folder.finish(page)


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
    place = studies / name
    study = TradeOffs(config, Front.read(place / "front.json"), place)
    folder = Folder(out or place / "view")
    points = SavedPoints.read(saved) if saved else None
    headlines, caveats = study.sentences()
    trials, album = study.trials(), Album(folder.part)
    nets: list[str] = []
    folder.begin()
    for trial in trials:
        trial["nets"], settings = [], study.settings_of(trial["trial"])
        trial["commands"] = []
        for seed in trial["seeds"]:
            rows = study.rows_of(trial["trial"], seed)
            if not trial["commands"]:
                trial["commands"] = follow_ups(config, rows.parent, settings, trained)
            if not rows.is_file():
                continue
            log.info("trial %s, seed %s", trial["trial"], seed)
            called = f"{name}, trial {trial['trial']}" + (
                f", seed {seed}" if len(trial["seeds"]) > 1 else ""
            )
            net = _Net(len(nets), called, Outcomes.read(rows), study.classes)
            pictures = net.pictures(album, points) if points else {}
            if count:
                pictures = net.anew(album, config, rows.parent / "checkpoint", count)
            folder.net(net.number, net.plain(), pictures)
            trial["nets"].append(net.number)
            nets.append(net.name)
    page = {
        "title": name,
        "sentences": headlines,
        "caveats": caveats,
        "risks": [risk.replace("_", " ") for risk in study.risks],
        "figures": study.figures(),
        "trials": trials,
        "notes": _notes(album, anew=bool(count)),
        "nets": nets,
    }
    return folder.finish(page)


@dataclass(slots=True)
class _Net:
    """A net, its rows, and what a viewer shows of them."""

    number: int
    name: str
    outcomes: Outcomes
    classes: tuple[str, ...]

    @property
    def split(self) -> Split:
        """The split that is shown: test, where there are rows of it."""
        found = self.outcomes.values("split")
        if not found:
            raise DataError("there are no rows to show")
        return "test" if "test" in found else sorted(found)[0]

    @property
    def parts(self) -> list[Seen]:
        """Rows bare and behind each defence."""
        return seen(self.outcomes, self.split)

    def plain(self) -> dict[str, Any]:
        """The net's examples and risks by class as plain JSON."""
        parts = self.parts
        each = self.outcomes.where(split=self.split).to_pandas().drop_duplicates("id")
        each = each.sort_values("id")
        ids, labels = each["id"].tolist(), each["y"].tolist()
        most = max(labels, default=0)
        return {
            "name": self.name,
            "split": self.split,
            "ids": ids,
            "y": labels,
            "names": [class_name(label, self.classes) for label in range(most + 1)],
            "views": [columns(one, ids) | self._classes(one) for one in parts],
        }

    def _classes(self, one: Seen) -> dict[str, Any]:
        risks = class_risks(one)
        return {
            "classes": [
                [
                    class_name(risk.label, self.classes),
                    *map(plain_cell, (risk.natural, risk.adversarial, risk.hypocritical)),
                ]
                for risk in risks
            ],
            "worst": list(worst_classes(risks, self.classes)),
        }

    def telling(self, among: set[int] | None = None) -> list[int]:
        """Ids of images, by turns those concealed, fooled, still wrong and still right."""
        frame = self.parts[0].frame
        frame = frame[frame["counts"]].copy()
        if among is not None:
            frame = frame[frame["id"].isin(among)]
        frame["right"] = frame["pred_pert"] == frame["y"]
        frame["before"] = frame["clean"] == frame["y"]
        each = frame.groupby("id").agg(before=("before", "first"), some=("right", "any"),
                                       every=("right", "all"))  # fmt: skip
        kinds = [
            each.index[~each["before"] & each["some"]],
            each.index[each["before"] & ~each["every"]],
            each.index[~each["before"] & ~each["some"]],
            each.index[each["before"] & each["every"]],
        ]
        turns: Iterable[int | None] = chain.from_iterable(zip_longest(*map(list, kinds)))
        return [one for one in turns if one is not None]

    def pictures(self, album: Album, saved: SavedPoints) -> dict[str, Any]:
        """Pictures of saved points of this net."""
        hashes = self.outcomes.values("model_hash")
        mine = [
            one["model_hash"] in hashes and one["split"] == self.split
            for one in saved.index.select(["model_hash", "split"]).to_pylist()
        ]
        rows = saved.index.filter(mine)
        if not len(rows):
            log.warning("no saved image is of %s", self.name)
            return {}
        wanted = self.telling(set(rows["id"].to_pylist()))[:MOST]
        return album.pictures(saved, rows, self.number, wanted)

    def anew(self, album: Album, config: Study, checkpoint: Path, count: int) -> dict[str, Any]:
        """Pictures of points that are crafted for this view."""
        assert isinstance(config, SweepConfig)
        wanted = self.telling()[:count]
        with tempfile.TemporaryDirectory() as folder:
            craft(config, checkpoint, wanted, self.split, Path(folder))
            saved = SavedPoints.read(Path(folder))
            return album.pictures(saved, saved.index, self.number, wanted)


def _notes(album: Album, *, anew: bool) -> list[str]:
    """What a reader must know of the pictures."""
    notes = ["Perturbed images were crafted for this view, by the same attacks and seed."] * anew
    if album.left_out:
        notes.append(
            f"{album.left_out:,} perturbed images are not shown: a view has at most 30 MB."
        )
    return notes
