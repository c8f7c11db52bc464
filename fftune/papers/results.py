"""Results of finished tasks, as items ask for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fftune.config import DataSpec, ModelSpec
from fftune.errors import DataError
from fftune.outcomes import Outcomes
from fftune.papers.declarations import Analysis, Exam, Need, Net, Setup, Substandard
from fftune.papers.tasks import Task, read_rows, spec_of, task_of, written_at
from fftune.storage import sha256
from fftune.stored_file import damaged, other_advice, read_object, read_text


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """Results below a storage folder; None stands for what failed."""

    setup: Setup
    root: Path
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Causes of failed tasks, by their keys."""
    _known: dict[Need, Task] = field(default_factory=dict)

    def rows(self, exam: Exam) -> Outcomes | None:
        """The rows of an evaluation.

        Raises:
            DataError: the file of a finished one is damaged.
        """
        task = self._task(exam)
        if not task.is_done(self.root):
            return None
        try:
            return _read(task, self.root)
        except DataError as error:
            raise _damaged(task, self.root, "outcomes", error) from error

    def analysis(self, analysis: Analysis) -> Mapping[str, Any] | None:
        """JSON that the function of an analysis returned.

        Raises:
            DataError: the file of a finished one is damaged.
        """
        task = self._task(analysis)
        if not task.is_done(self.root):
            return None
        path = task.folder(self.root) / "result.json"
        try:
            return _read_analysis(path)
        except DataError as error:
            raise _damaged(task, self.root, "analysis", error) from error

    def net(self, net: Net) -> ModelSpec | None:
        """A trained net, as any process can build it."""
        task = self._task(net)
        if not task.is_done(self.root):
            return None
        return spec_of(net, Task(need=net, scale=self.setup.scale, needs=(task,)), self.root)

    def data(self, data: Substandard) -> DataSpec | None:
        """Substandard data, by their place."""
        task = self._task(data)
        if not task.is_done(self.root):
            return None
        return DataSpec(name=f"folder:{written_at(task, self.root)}")

    def why_missing(self, need: Need) -> str:
        """Cause of a missing result."""
        return self.reasons.get(self._task(need).key, "it was not computed")

    def _task(self, need: Need) -> Task:
        return task_of(need, self.setup, self._known)


def _read_analysis(path: Path) -> Mapping[str, Any]:
    """Read the result of an analysis, whose form its own item alone knows."""
    found = read_object(path, "analysis", DataError)
    kept = path.with_suffix(".sha256")  # versions before 0.2.0 kept none
    if kept.exists() and read_text(kept, "checksum", DataError).strip() != sha256(path):
        raise DataError(damaged("analysis", path, "its checksum is another"))
    return found


def _damaged(task: Task, root: Path, what: str, error: DataError) -> DataError:
    advice = f"delete {str(task.folder(root))!r}, and the same command does that task again"
    return DataError(other_advice(str(error), what, advice))


@cache
def _read(task: Task, root: Path) -> Outcomes:
    return read_rows(task, root)
