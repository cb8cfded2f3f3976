"""JUnit XML from untrusted tasks: read exactly or refused with a place."""

import pytest

from setpoint.core.errors import UserError
from setpoint.evidence import junit
from setpoint.evidence.junit import parse_junit

PYTEST = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" tests="5">
<testcase classname="tests.test_a" name="test_good" time="0.1"/>
<testcase classname="tests.test_a" name="test_bad"><failure message="no">trace</failure></testcase>
<testcase classname="tests.test_a" name="test_boom"><error message="teardown"/></testcase>
<testcase classname="tests.test_a" name="test_later"><skipped type="pytest.skip"/></testcase>
<testcase name="bare"><system-out>text</system-out></testcase>
</testsuite></testsuites>"""


def test_verdicts_of_cases() -> None:
    """Failures and errors fail, skipped tests stand apart, output changes nothing."""
    found = parse_junit(PYTEST)
    assert found.passed == ("tests.test_a.test_good", "bare")
    assert found.failed == ("tests.test_a.test_bad", "tests.test_a.test_boom")
    assert found.skipped == ("tests.test_a.test_later",)
    assert found.result == "FAILED"


def test_nested_suites_are_read_whole() -> None:
    """Suites inside suites count like any other."""
    data = b'<testsuite><testsuite><testcase name="a"/><testsuite><testcase name="b"/></testsuite></testsuite></testsuite>'
    assert parse_junit(data).passed == ("a", "b")


def test_a_failing_case_is_failed_even_when_it_is_also_skipped() -> None:
    """Skipped never hides a failure, in either order."""
    cases = b'<testcase name="a"><skipped/><failure/></testcase><testcase name="b"><error/><skipped/></testcase>'
    assert parse_junit(b"<testsuite>" + cases + b"</testsuite>").failed == ("a", "b")


def test_an_error_beside_the_cases_fails() -> None:
    """A collection error under the suite itself turns the result red."""
    found = parse_junit(b'<testsuite><testcase name="a"/><error message="import broke"/></testsuite>')
    assert found.failed == ("import broke (suite)",)
    assert found.result == "FAILED"


def test_an_empty_report_proves_nothing() -> None:
    """No test that ran is FAILED."""
    assert parse_junit(b"<testsuites/>").result == "FAILED"
    assert parse_junit(b'<testsuite><testcase name="a"><skipped/></testcase></testsuite>').result == "FAILED"


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><testsuite/>',
        b'<!DOCTYPE testsuite SYSTEM "file:///etc/passwd"><testsuite/>',
        b"<!DOCTYPE testsuite><testsuite/>",
    ],
)
def test_document_types_are_refused(data: bytes) -> None:
    """No DOCTYPE and no entity is ever expanded."""
    with pytest.raises(UserError, match="document types and entities") as caught:
        parse_junit(data)
    assert caught.value.code == "SP402"


def test_broken_xml_names_line_and_column() -> None:
    """Bad XML is one SP402 with the place where it breaks."""
    with pytest.raises(UserError) as caught:
        parse_junit(b"<testsuite>\n  <testcase name='a'>\n</testsuite>")
    assert (caught.value.code, caught.value.where) == ("SP402", "3:3")


@pytest.mark.parametrize(
    "data", [b"", b"not xml", b"<html/>", b"<testsuite>" * 100, b"<testcase/>", b"<?xml version='1.0' encoding='no'?><a/>"]
)
def test_other_files_are_refused(data: bytes) -> None:
    """What is no JUnit XML is SP402."""
    with pytest.raises(UserError, match="SP402"):
        parse_junit(data)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report larger than the limit is not parsed."""
    monkeypatch.setattr(junit, "LIMIT_BYTES", 10)
    with pytest.raises(UserError, match="more than 10"):
        parse_junit(b"<testsuite></testsuite>")
