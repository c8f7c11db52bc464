"""A net as a viewer shows it: its examples, its risks by class, and its pictures."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from fftune.config import Split, SweepConfig
from fftune.errors import DataError
from fftune.evaluation.saved_images import SavedImages
from fftune.outcomes import Outcomes
from fftune.viewer.class_risks import class_name, class_risks, plain_cell, worst_classes
from fftune.viewer.crafted import craft
from fftune.viewer.pictures import Album
from fftune.viewer.seen import Seen, columns, seen

MOST = 200
"""Images of a net that are shown at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownNet:
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
        """Rows bare and behind each defense."""
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

    def pictures(self, album: Album, saved: SavedImages) -> tuple[dict[str, Any], int, int]:
        """Pictures of saved images of this net; how many images there are, and how many of them
        are shown by no row, as another net or another search made them.
        """
        frame = self.parts[0].frame
        columns = ("id", "attack", "goal", "y", "pred_clean", "pred_pert")
        known = set(zip(*(frame[name].tolist() for name in columns), strict=True))
        mine = [
            row
            for row in saved.rows
            if (row.id, row.attack, row.goal, row.y, row.pred_clean, row.pred) in known
        ]
        wanted = self.telling({row.id for row in mine})[:MOST]
        found = album.pictures(saved, mine, self.number, wanted)
        return found, len(saved.rows), len(saved.rows) - len(mine)

    def anew(
        self, album: Album, sweep: SweepConfig, checkpoint: Path, count: int
    ) -> tuple[dict[str, Any], int, int]:
        """Pictures of points that are crafted for this view; see `pictures`."""
        with tempfile.TemporaryDirectory() as folder:
            craft(sweep, checkpoint, self.telling()[:count], self.split, Path(folder))
            return self.pictures(album, SavedImages.read(Path(folder)))
