from xml.etree import ElementTree

from junitparser import Failure, JUnitXml

from fftune.auditing.formats.junit import Case, junit

CASES = (
    Case(name="accuracy >= 0.95", outcome="pass", sentence="96.1 % of 10,000", seconds=2.5),
    Case(name='risk <= 0.3 & "more"', outcome="fail", sentence="zu hoch: 41 % < \x00é"),
    Case(name="robust_accuracy >= 0.5", outcome="inconclusive", sentence="30 % to 60 %"),
)


def test_a_ci_sees_each_bar_as_a_test_and_stops_at_what_does_not_pass() -> None:
    (suite,) = JUnitXml.fromstring(junit("fftune.audit", CASES).encode())
    assert (suite.name, suite.tests, suite.failures, suite.errors) == ("fftune.audit", 3, 2, 0)
    passed, failed, open_ = suite
    assert (passed.name, passed.classname, passed.time) == ("accuracy >= 0.95", "fftune.audit", 2.5)
    assert passed.is_passed
    assert passed.system_out == "96.1 % of 10,000"
    assert failed.name == 'risk <= 0.3 & "more"'
    for case, kind, text in (
        (failed, "fail", "zu hoch: 41 % < �é"),
        (open_, "inconclusive", "30 % to 60 %"),
    ):
        (result,) = case.result
        assert isinstance(result, Failure)
        assert (result.type, result.message, result.text) == (kind, text, text)


def test_no_bars_are_an_empty_suite() -> None:
    root = ElementTree.fromstring(junit("fftune.gate", ()))
    assert [suite.attrib["tests"] for suite in root] == ["0"]
