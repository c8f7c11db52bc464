"""An audit as text: a table of bars, a sentence on each, and what they rest on."""

from fftune.auditing.formats.junit import Case, junit
from fftune.auditing.record import AuditRecord, Finding
from fftune.auditing.sentences import (
    NAMES,
    WORD,
    ball,
    beyond_this_set,
    percent,
    told_bar,
    told_battery,
    told_bounds,
    told_certified,
    told_signature,
)
from fftune.report.terminal import Block, grid, plain
from fftune.report.terminal import markdown as to_markdown

HEADS = ("bar", "asked", "verdict", "this set", "bounds", "drawn", "found by")


def text(record: AuditRecord) -> str:
    """The audit as plain text."""
    return plain(blocks(record)) + "\n"


def markdown(record: AuditRecord) -> str:
    """The audit in Markdown."""
    return to_markdown(blocks(record)) + "\n"


def exact(record: AuditRecord) -> str:
    """The audit as exact JSON, which `AuditRecord.read` reads."""
    return record.json


def as_tests(record: AuditRecord) -> str:
    """The audit as JUnit XML, a test for each bar."""
    cases = [
        Case(name=finding.question, outcome=finding.outcome, sentence=finding.sentence)
        for finding in record.findings
    ]
    return junit(f"fftune.audit {record.model.name}", cases)


def blocks(record: AuditRecord) -> list[Block]:
    """The audit as a page of a terminal."""
    return [
        record.sentence,
        "",
        grid([HEADS, *map(_row, record.findings)]),
        "",
        *(line for finding in record.findings for line in _lines(finding)),
        *_terms(record),
    ]


def _row(finding: Finding) -> tuple[str, ...]:
    by = finding.found_by[0].attack if finding.found_by else "-"
    return (
        NAMES[finding.measure],
        told_bar(finding),
        WORD[finding.outcome],
        "undefined" if finding.value is None else percent(finding.value),
        told_bounds(finding),
        f"{finding.examined:,} of {finding.population:,}",
        by,
    )


def _lines(finding: Finding) -> list[str]:
    lines = [finding.sentence]
    if bound := told_certified(finding):
        lines.append(f"  certified: {bound}, whatever the attack")
    if finding.unexcluded:
        lines.append(f"  not excluded: {finding.unexcluded}")
    if said := beyond_this_set(finding):
        lines.append(f"  {said}")
    return [*lines, ""]


def _terms(record: AuditRecord) -> list[str]:
    model, data, battery = record.model, record.data, record.battery
    attacks = f": {', '.join(battery.attacks)}" if battery.attacks else ": not needed"
    told = {
        "net": f"{model.name}, weights {model.hash}"
        + (f", code {model.code}" if model.code else ""),
        "data": f"{data.name}, {data.split}, {data.n:,} of {data.available:,} images, {data.hash}",
        "signed": told_signature(data.signature),
        "ball": ball(record.threat),
        "attacks": f"{told_battery(battery)}{attacks}; seed {record.seed}, {battery.device}",
        "errors": f"a wrong PASS or FAIL has a probability of at most {100 * record.alpha:g} %, "
        f"whenever the audit stops",
        "run": f"fftune {record.fftune}, {record.created}",
    }
    return [
        *(f"{name:9s} {words}" for name, words in told.items()),
        *(f"remark    {remark}" for remark in record.remarks),
    ]
