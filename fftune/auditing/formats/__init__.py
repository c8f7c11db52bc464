"""Forms of an audit, by name; each is a function of the record that returns a text."""

from importlib import import_module
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from fftune.auditing.record import AuditRecord

AuditForm = Literal["text", "markdown", "json", "junit", "cyclonedx", "model-card"]
"""Form of an audit on stdout."""
_PLACES: dict[AuditForm, str] = {
    "text": "fftune.auditing.formats.text:text",
    "markdown": "fftune.auditing.formats.text:markdown",
    "json": "fftune.auditing.formats.text:exact",
    "junit": "fftune.auditing.formats.text:as_tests",
    "cyclonedx": "fftune.auditing.formats.cyclonedx:cyclonedx",
    "model-card": "fftune.auditing.formats.model_card:model_card",
}
"""`package.module:FUNCTION` of each, imported when it is asked for."""


def written(record: "AuditRecord", form: AuditForm) -> str:
    """A record in one of its forms.

    Raises:
        ModelError: a library that the form needs is not installed.
    """
    module, _, function = _PLACES[form].partition(":")
    return cast("str", getattr(import_module(module), function)(record))
