"""Files of a view: a page, its scripts, and data as scripts, which a browser reads from a disk."""

import json
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import Any

from fftune.errors import StorageError
from fftune.report.plotly_code import plotly_source
from fftune.storage import make_folder, storing, write_text
from fftune.viewer.pictures import FOLDER as IMAGES

PAGE = "index.html"
SCRIPTS = ("table.js", "charts.js", "examples.js", "viewer.js", "viewer.css", PAGE)
MARK = "view.json"
"""File by which a folder is known as a view, which may be replaced."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that becomes a view: written beside its place, and moved there when it is whole."""

    path: Path

    @property
    def part(self) -> Path:
        """Folder that is being written."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def data_bytes(self) -> int:
        """Bytes of the data of all nets so far."""
        return sum(file.stat().st_size for file in self.part.glob("net-*.js"))

    def begin(self) -> None:
        """Begin anew.

        Raises:
            StorageError: the folder's place holds something else, or cannot be written.
        """
        if self._is_taken():
            raise StorageError(
                f"{str(self.path)!r} is no view and would be replaced: name another with --out"
            )
        if others := self._others():
            raise StorageError(
                f"{str(self.path)!r} holds {others[0]!r}, which is no part of a view and would be "
                "deleted: move it, or name another folder with --out"
            )
        with storing(self.part):
            shutil.rmtree(self.part, ignore_errors=True)
            make_folder(self.part)
        write_text(self.part / MARK, "{}\n")

    def _is_taken(self) -> bool:
        if not self.path.exists() or (self.path / MARK).is_file():
            return False
        return not self.path.is_dir() or any(self.path.iterdir())

    def _others(self) -> list[str]:
        """Names in the view that is there that no view has."""
        own = {*SCRIPTS, MARK, "data.js", "plotly.js", IMAGES}
        here = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        return [one for one in here if one not in own and not fnmatch(one, "net-*.js")]

    def net(self, number: int, rows: dict[str, Any], pictures: dict[str, Any]) -> None:
        """Write the examples of a net, and its pictures."""
        self._data(f"net-{number}.js", f"nets[{number}]", rows | {"pictures": pictures})

    def finish(self, page: dict[str, Any]) -> Path:
        """Write everything else; return the page."""
        self._data("data.js", "page", page)
        for name in SCRIPTS:
            text = (files("fftune.viewer") / "page" / name).read_text(encoding="utf-8")
            write_text(self.part / name, text)
        if page.get("figures"):
            write_text(self.part / "plotly.js", plotly_source())
        with storing(self.path):
            if self.path.exists():
                shutil.rmtree(self.path)
            self.part.rename(self.path)
        return (self.path / PAGE).absolute()

    def _data(self, name: str, target: str, data: dict[str, Any]) -> None:
        write_text(self.part / name, f"FFTUNE.{target} = {script_json(data)};\n")


def script_json(data: Any) -> str:
    """JSON that is safe inside a script, whatever names it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: no line ends hide
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
