"""Verdicts as JUnit XML: a CI shows each bar as a test."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from junitparser import Failure, JUnitXml, TestCase, TestSuite

from fftune.errors import DataError
from fftune.stored_file import reading
from fftune.verdict import Outcome

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One bar as a test."""

    name: str
    """The bar, as in "hypocritical_risk <= 0.3"."""
    outcome: Outcome
    sentence: str
    """Finding in one sentence."""
    seconds: float = 0.0
    """Time that it took; 0 where it is not known."""


def read_junit(path: Path) -> JUnitXml:
    """Read a JUnit file.

    Raises:
        DataError: it is missing, damaged, or something else.
    """
    with reading(path, "JUnit file", DataError):
        return JUnitXml.fromfile(str(path))


def junit(suite: str, cases: Sequence[Case]) -> str:
    """Format verdicts as a JUnit XML document.

    What does not pass is a failure, whose type is the outcome: an inconclusive bar must stop a
    release as a failed one does, and must be told from it. The sentence of a pass is its output.

    Args:
        suite: name of the suite and class of its tests, as in "fftune.gate".
    """
    suite = _legal(suite)
    tests = TestSuite(suite)
    for case in cases:
        test = TestCase(_legal(case.name), suite, case.seconds)
        sentence = _legal(case.sentence)
        if case.outcome == "pass":
            test.system_out = sentence
        else:
            failure = Failure(sentence, case.outcome)
            failure.text = sentence
            test.result = [failure]
        tests.add_testcase(test)
    document: Any = JUnitXml()  # parts of the library are untyped
    document.add_testsuite(tests)
    document.update_statistics()
    text: bytes = document.tostring()
    return text.decode("utf-8")


def _legal(text: str) -> str:
    return _NO_XML.sub("�", text)
