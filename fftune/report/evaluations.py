"""Record of evaluated nets: files of rows and rates, tables for the user, runs in MLflow."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel, require
from fftune.errors import FftuneError, StorageError, UserError
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.question import Question, questions_of
from fftune.evaluation.scheduler import EvalResult
from fftune.expectation import means
from fftune.outcomes import Outcomes, require_rows
from fftune.report.attack_seeds import seed_values
from fftune.report.attack_table import values
from fftune.report.bar_table import Judged, bar_table, decided, judged
from fftune.report.convergence import convergence_values
from fftune.report.evaluation_page import EvaluatedNet, net_details, net_page
from fftune.report.evaluation_summary import net_expectations, net_rates, net_shares, net_summary
from fftune.report.optimality import share_values
from fftune.report.terminal import WIDE, plain
from fftune.storage import require_replaceable, write_text
from fftune.stored_file import read_object
from fftune.tracking.runs import TrackedRun, has_run, in_place_of, open_to_write
from fftune.tracking.store import Tracking
from fftune.verdict import EXIT_CODES, worst

log = logging.getLogger("fftune.evaluation")


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """Files and MLflow runs of one evaluation command."""

    root: Path
    threat: ThreatModel
    defense: DefenseConfig
    data: str
    rows: Path | None = None
    """File for the rows of a single net; default `<root>/rows/NAME.parquet` for each."""
    bar: float | None = None
    """Share of right answers that a net must reach; None: nets are not judged."""

    def check(self, battery: BatteryConfig) -> None:
        """Refuse rows in whose place is something else, and a bar for a battery that drops rows.

        Raises:
            ConfigError: no attack of it has all examples.
            StorageError: the rows' folder is missing, or something else stands in their place.
        """
        if self.rows is not None:
            require_replaceable(self.rows, "file of rows", require_rows)
            require_replaceable(beside(self.rows), "summary of rows", _read_summary)
            if not self.rows.parent.is_dir():
                raise StorageError(f"rows: there is no folder {str(self.rows.parent)!r}")
        if self.bar is None:
            return
        attacks = attacks_of(battery, self.threat, classes=2)
        known = any(attack.scope == "all" for attack in attacks)
        rule = "one that attacks all examples, as risks, for --bar"
        require("battery.name", known, rule, battery.name)

    def begin(self) -> None:
        """Check that results can be recorded, before hours of work.

        Raises:
            StorageError: MLflow does not answer, or its store is of no use.
        """
        log.debug("MLflow's experiment is %s", self._tracking.experiment_id)

    def keep(
        self,
        result: EvalResult,
        seeds: Sequence[Outcomes] = (),
        lam: float | None = None,
    ) -> EvaluatedNet | None:
        """Write a net's rows and summary, and return what its page tells; None without rows.

        Args:
            seeds: its rows under other seeds of the attackers, which have files of their own.
            lam: weight lambda of its training, where it is known.
        """
        if result.outcomes is None:
            return None
        (question,) = questions_of(result.outcomes)
        net = EvaluatedNet(
            question=question,
            outcomes=result.outcomes,
            seeds=tuple(seeds),
            seconds=result.seconds,
            lost=tuple(result.lost),
            lam=lam,
        )
        path = self._path(question)
        net.outcomes.write(path)
        for rows in seeds:
            rows.write(self._path(*questions_of(rows), default=True))
        self._write_lost(path.with_suffix(".missing.json"), result)
        write_text(beside(path), json.dumps(net_summary(net), indent=2) + "\n")
        log.info("rows are in %s, their summary in the .json beside it", path)
        return net

    def tell(self, net: EvaluatedNet) -> None:
        """Log a net to MLflow, last, as rows and page must not depend on it."""
        try:
            self._log(net)
        except Exception as error:  # MLflow fails by the errors of a dozen libraries
            reason = (str(error) or type(error).__name__).splitlines()[0]
            log.debug("MLflow", exc_info=True)
            log.warning("MLflow has no record of %s: %s", net.question.name, reason)

    def finish(self, results: Mapping[str, EvalResult]) -> None:
        """Raise if a net or a block is missing.

        Raises:
            UserError: a net could not be evaluated, for what the user can mend.
            FftuneError: it could not for another reason, or blocks of it are missing.
        """
        errors = [result.error for result in results.values() if result.error is not None]
        if len(results) == 1 and errors:
            raise errors[0]
        if errors:
            kind = UserError if all(isinstance(e, UserError) for e in errors) else FftuneError
            raise kind(f"{len(errors)} of {len(results)} nets could not be evaluated")
        lost = sum(len(result.lost) for result in results.values())
        if lost:
            raise FftuneError(f"{lost} blocks are missing; the same command tries them again")

    def verdicts(self, outcomes: Outcomes | None) -> tuple[Judged, ...]:
        """Verdicts on a net, bare and behind each defense; none without a bar or rows."""
        if self.bar is None or outcomes is None:
            return ()
        return judged(net_rates(outcomes), self.bar)

    def exit_code(self, results: Mapping[str, EvalResult]) -> int:
        """Exit code of the worst verdict on these nets."""
        found = [self.verdicts(result.outcomes) for result in results.values()]
        return EXIT_CODES[worst(map(decided, found))]

    def bar_lines(self, outcomes: Outcomes) -> list[str]:
        """Verdicts on a net as lines; none without a bar."""
        if self.bar is None:
            return []
        return ["", *bar_table(self.verdicts(outcomes)).splitlines()]

    @cached_property
    def _tracking(self) -> Tracking:
        return open_to_write(self.root, f"evaluate-{Path(self.data).name}")

    def _path(self, question: Question, *, default: bool = False) -> Path:
        """File of a question's rows; every question has its own."""
        named = None if default else self.rows
        return named or self.root / "rows" / f"{question.name}.parquet"

    def _text(self, net: EvaluatedNet) -> str:
        """The net's page, its details, and verdicts at the bar, if any."""
        blocks = [*net_page(net), "", *net_details(net), *self.bar_lines(net.outcomes)]
        return plain(blocks, WIDE)

    def _tags(self, outcomes: Outcomes) -> dict[str, str]:
        """Bar and verdict as tags of MLflow, if a bar is named."""
        if self.bar is None:
            return {}
        return {
            "fftune.bar": f"{self.bar:g}",
            "fftune.verdict": decided(self.verdicts(outcomes)),
        }

    def _write_lost(self, path: Path, result: EvalResult) -> None:
        """Write the lost blocks and their reasons; remove the file when there are none."""
        if not result.lost:
            path.unlink(missing_ok=True)
            return
        ids = [
            {"attack": lost.task.attack.name, "goal": lost.task.attack.goal, "reason": lost.reason}
            | {"positions": list(lost.task.rows)}
            for lost in result.lost
        ]
        write_text(path, json.dumps(ids, indent=2) + "\n")

    def _log(self, net: EvaluatedNet) -> None:
        question, path = net.question, self._path(net.question)
        judged_by = self._tags(net.outcomes)
        found = (
            values(net_rates(net.outcomes))
            | means(net_expectations(net.outcomes))
            | convergence_values(net.bare)
            | seed_values((net.outcomes, *net.seeds))
        )
        said = json.dumps([found, judged_by, question.plain, question.remarks])
        content = {"fftune.content": hashlib.sha256(said.encode()).hexdigest()[:16]}
        same = {"fftune.kind": "evaluation", "fftune.question": question.name}
        with in_place_of(self._tracking, same):
            if has_run(self._tracking, same | content):
                return
            run = TrackedRun(
                self._tracking,
                question.name,
                tags=same | question.tags | judged_by | content,
                params=question.params,
                replaces=same,
            )
            run.metrics(found)
            for defense, each in net_shares(net).items():
                run.metrics(share_values(each, "" if defense == "none" else f"defense/{defense}/"))
            run.text("table.txt", self._text(net) + "\n")
            run.file(path)
            run.file(beside(path))
            run.end()


def _read_summary(path: Path) -> None:
    if "question" not in read_object(path, "summary of rows"):
        raise StorageError(f"{str(path)!r} is no summary of rows")


def beside(rows: Path) -> Path:
    """JSON file of the rates, beside a file of rows."""
    return rows.with_name(f"{rows.name}.json")
