"""Audits on disk and in MLflow: the page, the exact record, and the rows that they rest on."""

import logging
from pathlib import Path

from fftune.auditing.audit import Audit
from fftune.auditing.page import page
from fftune.auditing.record import AuditRecord
from fftune.storage import make_folder, require_replaceable, write_text
from fftune.tracking.runs import TrackedRun, in_place_of, open_to_write
from fftune.tracking.store import Tracking

log = logging.getLogger("fftune.evaluation")

PAGE, RECORD, ROWS = "audit.html", "audit.json", "outcomes.parquet"
"""Files of an audit's folder."""


def require_place(folder: Path) -> None:
    """Check that the files of an audit replace none but those of an earlier one.

    Raises:
        StorageError: they would.
    """
    for name in (PAGE, RECORD, ROWS):
        require_replaceable(
            folder / name, "part of an audit", lambda _: AuditRecord.read(folder / RECORD)
        )


def keep(audit: Audit, folder: Path) -> Path:
    """Write the files of an audit; return the page's path.

    Raises:
        StorageError: the folder cannot be made or written.
    """
    make_folder(folder)
    audit.outcomes.write(folder / ROWS)
    audit.record.write(folder / RECORD)
    write_text(folder / PAGE, page(audit.record))
    return folder / PAGE


def tracking_of(root: Path, data: str) -> Tracking:
    """The experiment of audits on these data.

    Raises:
        StorageError: MLflow does not answer, or its store is of no use.
    """
    return open_to_write(root, f"audit-{Path(data).name}")


def tell(tracking: Tracking, audit: Audit, folder: Path) -> None:
    """Log an audit to MLflow, last, as page and record must not depend on it."""
    try:
        _log(tracking, audit, folder)
    except Exception as error:  # MLflow fails by the errors of a dozen libraries
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.debug("MLflow", exc_info=True)
        log.warning("MLflow has no record of %s: %s", audit.name, reason)


def _log(tracking: Tracking, audit: Audit, folder: Path) -> None:
    same = {"fftune.kind": "audit", "fftune.audit": audit.name}
    with in_place_of(tracking, same):
        run = TrackedRun(
            tracking,
            audit.name,
            tags=same | audit.question.tags | _tags(audit.record),
            params=audit.question.params,
            replaces=same,
        )
        run.metrics(_metrics(audit.record))
        for name in (PAGE, RECORD, ROWS):
            run.file(folder / name)
        run.end()


def _tags(record: AuditRecord) -> dict[str, str]:
    bars = {f"fftune.bar.{f.measure}": f"{f.bar:g}" for f in record.findings}
    each = {f"fftune.verdict.{f.measure}": f.outcome for f in record.findings}
    return {"fftune.verdict": record.outcome, **bars, **each}


def _metrics(record: AuditRecord) -> dict[str, float]:
    """Estimates and bounds of all rates, those that are defined."""
    found: dict[str, float] = {}
    for one in record.findings:
        if one.value is not None:
            found[f"audit/{one.measure}"] = one.value
            found |= {f"audit/{one.measure}/low": one.low, f"audit/{one.measure}/high": one.high}
    return found
