"""Record of evaluated nets: files of rows and rates, tables for the user, runs in MLflow."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

from fftune.comparison import common_mistakes
from fftune.config import BatteryConfig, DefenseConfig, ThreatModel, require
from fftune.errors import FftuneError, StorageError
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.question import Question, questions_of
from fftune.evaluation.scheduler import EvalResult
from fftune.expectation import Expectation, means, plain_expectation
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.report.attack_seeds import seed_lines, seed_plain, seed_values
from fftune.report.attack_table import rates, shares, table, values
from fftune.report.bar_table import Judged, bar_table, decided, judged
from fftune.report.convergence import convergence_plain, convergence_values
from fftune.report.defended_rows import defense_frame, undefended
from fftune.report.defense_rates import defense_expectations, defense_rates
from fftune.report.defense_table import defense_table
from fftune.report.optimality import SearchShare, defended_shares, share_values
from fftune.risk import Rate, plain_rate
from fftune.storage import write_text
from fftune.stored_file import require_plain_file
from fftune.tracking.runs import TrackedRun, has_run, in_place_of, open_to_write
from fftune.tracking.store import Tracking

MOST_PAIRS = 36
"""Pairs of nets that are all compared: those of nine nets, a front of the papers."""

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
        """Refuse a file for rows that is none, and a bar for a battery that leaves rows out.

        Raises:
            ConfigError: no attack of it has all examples.
            StorageError: the rows' folder is missing, or a device stands in their place.
        """
        if self.rows is not None:
            require_plain_file(self.rows)
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

    def keep(self, name: str, result: EvalResult, seeds: Sequence[Outcomes] = ()) -> str:
        """Write a net's rows and rates; return the text for the user.

        Args:
            seeds: its rows under other seeds of the attackers, which have files of their own.
        """
        if result.outcomes is None:
            return f"{name}: {result.error}"
        outcomes = result.outcomes
        (question,) = questions_of(outcomes)
        path = self._path(question)
        outcomes.write(path)
        for rows in seeds:
            rows.write(self._path(*questions_of(rows), default=True))
        self._write_lost(path.with_suffix(".missing.json"), result)
        kept = self._rates(outcomes), self._expectations(outcomes), self._shares(result)
        write_text(beside(path), _summary(question, *kept, (outcomes, *seeds)))
        log.info("rows are in %s", path)
        return self._text(question, result, seeds)

    def tell(self, result: EvalResult, seeds: Sequence[Outcomes] = ()) -> None:
        """Log a net to MLflow, last, as rows and table must not depend on it.

        Args:
            seeds: as of `keep`.
        """
        if result.outcomes is None:
            return
        (question,) = questions_of(result.outcomes)
        try:
            self._log(question, result, self._path(question), seeds)
        except Exception as error:  # MLflow fails by the errors of a dozen libraries
            reason = (str(error) or type(error).__name__).splitlines()[0]
            log.debug("MLflow", exc_info=True)
            log.warning("MLflow has no record of %s: %s", question.name, reason)

    def compare(self, results: Mapping[str, EvalResult]) -> str:
        """Compare every two nets on the mistakes that both make; of many, each with the first.

        Returns:
            Lines for the user; empty for one net, and without a false friend.
        """
        friends = {
            name: rows
            for name, result in results.items()
            if result.outcomes is not None and len(rows := friends_of(result.outcomes))
        }
        pairs = [
            (one, two)
            for one, two in combinations(friends, 2)
            if friends[one].values("attack") == friends[two].values("attack")  # no lost blocks
        ]
        if len(pairs) > MOST_PAIRS:
            pairs = [pair for pair in pairs if pair[0] == pairs[0][0]]
        lines = [
            f"  {one} - {two}: {common_mistakes(friends[one], friends[two])}" for one, two in pairs
        ]
        head = "concealed, of the mistakes that both nets make:"
        return "\n".join([head, *lines]) if lines else ""

    def finish(self, results: Mapping[str, EvalResult]) -> None:
        """Raise if a net or a block is missing.

        Raises:
            FftuneError: a net could not be evaluated, or blocks of it are missing.
        """
        errors = [result.error for result in results.values() if result.error is not None]
        if len(results) == 1 and errors:
            raise errors[0]
        if errors:
            raise FftuneError(f"{len(errors)} of {len(results)} nets could not be evaluated")
        lost = sum(len(result.lost) for result in results.values())
        if lost:
            raise FftuneError(f"{lost} blocks are missing; the same command tries them again")

    def verdicts(self, outcomes: Outcomes | None) -> tuple[Judged, ...]:
        """Verdicts on a net, bare and behind each defence; none without a bar or rows."""
        if self.bar is None or outcomes is None:
            return ()
        return judged(self._rates(outcomes), self.bar)

    @property
    def _defenses(self) -> tuple[str, ...]:
        """Names of the defences that rows were scored under, beside none."""
        return tuple(name for name in self.defense.names if name != "none")

    @cached_property
    def _tracking(self) -> Tracking:
        return open_to_write(self.root, f"evaluate-{Path(self.data).name}")

    def _path(self, question: Question, *, default: bool = False) -> Path:
        """File of a question's rows; every question has its own."""
        named = None if default else self.rows
        return named or self.root / "rows" / f"{question.name}.parquet"

    def _text(self, question: Question, result: EvalResult, seeds: Sequence[Outcomes]) -> str:
        """Table under its head, with lost blocks at the end."""
        assert result.outcomes is not None
        bare = table(undefended(result.outcomes), result.seconds)
        text = "\n".join([f"{question.head()}\n\n{bare}", *seed_lines((result.outcomes, *seeds))])
        if self._defenses:
            text += "\n\n" + defense_table(result.outcomes, result.seconds)
        if self.bar is not None:
            text += "\n\n" + bar_table(self.verdicts(result.outcomes))
        return text + "".join(f"\n{'':2s}MISSING {lost}" for lost in result.lost)

    def _tags(self, outcomes: Outcomes) -> dict[str, str]:
        """Bar and verdict as tags of MLflow, if a bar is named."""
        if self.bar is None:
            return {}
        return {
            "fftune.bar": f"{self.bar:g}",
            "fftune.verdict": decided(self.verdicts(outcomes)),
        }

    def _rates(self, outcomes: Outcomes) -> dict[str, Rate]:
        """Rates of the bare net, and under each defense."""
        found = rates(undefended(outcomes))
        return found | (defense_rates(outcomes) if self._defenses else {})

    def _expectations(self, outcomes: Outcomes) -> dict[str, Expectation]:
        """Means over draws, under each defense."""
        return defense_expectations(outcomes) if self._defenses else {}

    def _shares(self, result: EvalResult) -> dict[str, list[SearchShare]]:
        """Share of each search in what all found: of the bare net, and under each defense."""
        assert result.outcomes is not None
        found = {"none": shares(undefended(result.outcomes), result.seconds)}
        if not self._defenses:
            return found
        return found | defended_shares(defense_frame(result.outcomes), result.seconds)

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

    def _log(
        self, question: Question, result: EvalResult, path: Path, seeds: Sequence[Outcomes]
    ) -> None:
        assert result.outcomes is not None
        judged_by = self._tags(result.outcomes)
        found = (
            values(self._rates(result.outcomes))
            | means(self._expectations(result.outcomes))
            | convergence_values(undefended(result.outcomes))
            | seed_values((result.outcomes, *seeds))
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
            for defense, each in self._shares(result).items():
                run.metrics(share_values(each, "" if defense == "none" else f"defense/{defense}/"))
            run.text("table.txt", self._text(question, result, seeds) + "\n")
            run.file(path)
            run.file(beside(path))
            run.end()


def friends_of(outcomes: Outcomes) -> Outcomes:
    """Select the bare net's rows of false friends, those apart that tried some examples only."""
    rows = undefended(outcomes).where(goal="hypocritical")
    everyone = len(outcomes.values("id"))
    attacks = rows.values("attack") - {CERTIFIED}
    each = (rows.where(attack=attack) for attack in attacks)
    return Outcomes.of(one.table for one in each if len(one) == everyone)


def beside(rows: Path) -> Path:
    """JSON file of the rates, beside a file of rows."""
    return rows.with_name(f"{rows.name}.json")


def _summary(
    question: Question,
    found: Mapping[str, Rate],
    expected: Mapping[str, Expectation],
    searches: Mapping[str, Sequence[SearchShare]],
    seeds: Sequence[Outcomes],
) -> str:
    """Question, rates and means over draws with intervals, searches and seeds, as JSON."""
    each = {name: [one.plain for one in found] for name, found in searches.items()}
    data = {
        "schema_version": 1,
        "name": question.name,
        "question": question.plain,
        "remarks": question.remarks,
        "rates": {name: plain_rate(rate) for name, rate in found.items()},
        "searches": each.pop("none"),
        "defended_searches": each,
        "expectations": {name: plain_expectation(one) for name, one in expected.items()},
        "convergence": convergence_plain(undefended(seeds[0])),
        "seeds": seed_plain(seeds),
    }
    return json.dumps(data, indent=2) + "\n"
