"""What is kept and said of nets that were examined: rows, text, MLflow."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel, flat
from fftune.errors import FftuneError
from fftune.evaluate.defense_table import defense_table, undefended
from fftune.evaluate.queue import Result
from fftune.evaluate.table import table, values
from fftune.outcomes import Outcomes
from fftune.storage import write_text
from fftune.tracking import Run, Tracking, discard_runs, open_tracking, send_unsent

log = logging.getLogger("fftune.evaluate")


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where results of one command go."""

    root: Path
    battery: BatteryConfig
    threat: ThreatModel
    defense: DefenseConfig
    data: str
    rows: Path | None = None
    """Of the only net; else each has its file in `<root>/rows`."""

    def begin(self) -> None:
        """Refuse what could not be recorded in the end.

        Raises:
            StorageError: MLflow does not answer.
        """
        send_unsent(self._tracking)

    def keep(self, name: str, result: Result) -> str:
        """Write a net's rows, tell MLflow, and give back the text for the user."""
        if result.outcomes is None:
            return f"{name}: {result.error}"
        outcomes = result.outcomes
        text = table(undefended(outcomes))
        if self._defenses:
            text += "\n\n" + defense_table(outcomes)
        text += "".join(f"\n{'':2s}MISSING {lost}" for lost in result.lost)
        path = self.rows or self.root / "rows" / f"{self._named(name, outcomes)}.parquet"
        outcomes.write(path)
        self._write_lost(path.with_suffix(".missing.json"), result)
        self._log(name, outcomes, text, path)
        log.info("rows are in %s", path)
        return f"{name}\n{text}" if self.rows is None else text

    def finish(self, results: Mapping[str, Result]) -> None:
        """Fail if anything is missing.

        Raises:
            FftuneError: a net could not be examined, or blocks of it are missing.
        """
        errors = [result.error for result in results.values() if result.error is not None]
        if len(results) == 1 and errors:
            raise errors[0]
        if errors:
            raise FftuneError(f"{len(errors)} of {len(results)} nets could not be examined")
        lost = sum(len(result.lost) for result in results.values())
        if lost:
            raise FftuneError(f"{lost} blocks are missing; the same command tries them again")

    @property
    def _defenses(self) -> tuple[str, ...]:
        """Those that rows were scored under, beside none."""
        return tuple(self.defense.hedges(self.threat))

    @cached_property
    def _tracking(self) -> Tracking:
        return open_tracking(self.root, f"evaluate-{Path(self.data).name}")

    def _named(self, name: str, outcomes: Outcomes) -> str:
        """Other weights of the same net have rows of their own."""
        weights = str(outcomes.table["model_hash"][0])[:8] if len(outcomes) else "empty"
        return "-".join((name, weights, self.battery.name, *self._defenses))

    def _write_lost(self, path: Path, result: Result) -> None:
        """What is missing, and why; nothing stands there when nothing is."""
        if not result.lost:
            path.unlink(missing_ok=True)
            return
        ids = [
            {"attack": lost.task.probe.attack, "goal": lost.task.probe.goal, "reason": lost.reason}
            | {"positions": list(lost.task.rows)}
            for lost in result.lost
        ]
        write_text(path, json.dumps(ids, indent=2) + "\n")

    def _log(self, name: str, outcomes: Outcomes, text: str, path: Path) -> None:
        tags = {"fftune.kind": "evaluation", "fftune.rows": path.stem}
        discard_runs(self._tracking, tags)
        params = {"battery": self.battery, "threat": self.threat, "defense": self.defense}
        run = Run(
            self._tracking,
            f"{name} {self.battery.name}",
            tags=tags,
            params={f"{k}.{s}": v for k, config in params.items() for s, v in flat(config).items()},
        )
        run.metrics(values(undefended(outcomes)))
        run.text("table.txt", text + "\n")
        run.file(path)
        run.end()
