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


SUREFIRE = b"""<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="surefire-test-report-3.0.xsd"
  version="3.0" name="com.example.AppTest" time="0.05" tests="5" errors="1" skipped="1" failures="1" flakes="1">
  <properties><property name="java.version" value="17"/></properties>
  <testcase name="adds" classname="com.example.AppTest" time="0.01"/>
  <testcase name="divides" classname="com.example.AppTest"><error type="ArithmeticException"><![CDATA[at <init>]]></error></testcase>
  <testcase name="fails" classname="com.example.AppTest"><failure type="AssertionError"/><rerunFailure type="AssertionError"/></testcase>
  <testcase name="waits" classname="com.example.AppTest"><skipped message="later"/></testcase>
  <testcase name="flaky" classname="com.example.AppTest"><flakyFailure><stackTrace>x</stackTrace></flakyFailure></testcase>
</testsuite>"""
GO = b"""<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" errors="1">
	<testsuite name="example.com/a" tests="2" failures="1" errors="0" id="0" hostname="h" time="0.1" timestamp="2026-11-23T06:00:00Z">
		<testcase name="TestSum" classname="example.com/a" time="0.000"></testcase>
		<testcase name="TestSum/negative" classname="example.com/a"><failure><![CDATA[    a_test.go:9: no]]></failure></testcase>
	</testsuite>
	<testsuite name="example.com/b" tests="1" errors="1" id="1">
		<testcase name="[build failed]" classname="example.com/b"><error message="Build error"/></testcase>
	</testsuite>
</testsuites>"""
JEST = b"""<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="jest tests" tests="3" failures="0" errors="1" time="1.2">
  <testsuite name="math" errors="0" failures="0" skipped="1" tests="2">
    <testcase classname="math adds" name="math adds" time="0.002"></testcase>
    <testcase classname="math todo" name="math todo" time="0"><skipped/></testcase>
  </testsuite>
  <testsuite name="broken.test.js" errors="1" tests="1">
    <testcase classname="Test suite failed to run" name="broken.test.js"><error>SyntaxError</error></testcase>
  </testsuite>
</testsuites>"""
MOCHA = b"""<testsuites name="Mocha"><testsuite name="Root Suite" tests="0"/><testsuite name="list" tests="1">
<testcase name="list sorts" classname="sorts"><system-err>warn</system-err></testcase></testsuite></testsuites>"""
CTEST = b"""<testsuite name="Linux-c++" tests="2" failures="1" disabled="1" skipped="0">
<testcase name="a" classname="a" time="0.1" status="run"><properties/><system-out>ok</system-out></testcase>
<testcase name="b" classname="b" status="fail"><failure message=""/><system-out/></testcase></testsuite>"""


@pytest.mark.parametrize(
    ("data", "passed", "failed", "skipped"),
    [
        (SUREFIRE, 2, 2, 1),
        (GO, 1, 2, 0),
        (JEST, 1, 1, 1),
        (MOCHA, 1, 0, 0),
        (CTEST, 1, 1, 0),
        (b"\xef\xbb\xbf<testsuite><testcase name='a'/></testsuite>", 1, 0, 0),
        ("<?xml version='1.0' encoding='utf-16'?><testsuite><testcase name='\u00fc'/></testsuite>".encode("utf-16"), 1, 0, 0),
        (b"<?xml version='1.0' encoding='iso-8859-1'?><testsuite><testcase name='\xfc'/></testsuite>", 1, 0, 0),
    ],
    ids=["surefire", "go-junit-report", "jest-junit", "mocha", "ctest", "bom", "utf-16", "latin-1"],
)
def test_the_dialects_of_the_world(data: bytes, passed: int, failed: int, skipped: int) -> None:
    """What each tool writes is counted from its cases, whatever its own counts say or leave out; a flake that passed has passed."""
    found = parse_junit(data)
    assert (len(found.passed), len(found.failed), len(found.skipped)) == (passed, failed, skipped)


def test_a_suite_that_counts_failures_without_cases_is_not_green() -> None:
    """A suite whose own counts say that something failed fails, even when no case says so: a broken run must not look green."""
    found = parse_junit(b'<testsuite name="s" tests="3" errors="1"><testcase name="a"/></testsuite>')
    assert found.result == "FAILED"
    assert found.failed == ("1 failed without a case (s)",)
    nested = b'<testsuites failures="1"><testsuite failures="1"><testcase name="a"><failure/></testcase></testsuite></testsuites>'
    assert parse_junit(nested).failed == ("a",)
    odd = b'<testsuite failures="many" errors="" tests="-1"><testcase name="a"/></testsuite>'
    assert parse_junit(odd).result == "PASSED"


def test_a_hundred_thousand_cases_are_read_in_time() -> None:
    """Large reports are read as a stream; names are kept, outputs are not."""
    cases = b"".join(b'<testcase classname="c" name="t%d"><system-out>%s</system-out></testcase>' % (n, b"x" * 50) for n in range(100_000))
    assert len(parse_junit(b"<testsuite>" + cases + b"</testsuite>").passed) == 100_000
