"""JUnit XML to names of passed, failed and skipped tests; called by the signer on a report that untrusted code wrote, trusts none of it.

There is no schema everybody follows: suites may nest, a file may start at `testsuite` or `testsuites`; `failure` and `error` fail a
test, `skipped` sets it apart. A suite that counts failures and shows none in its cases has failed too. Document types and entities are
refused before anything is expanded (billion laughs, file inclusion).
"""

from typing import Final
from xml.parsers import expat

from setpoint.core.errors import UserError
from setpoint.evidence.model import SuiteResult

LIMIT_BYTES: Final = 64 << 20
_LIMIT_DEPTH: Final = 64
_FIX: Final = "write JUnit XML, for example with `pytest --junitxml=report.xml`"
_FAILURES: Final = ("failure", "error")


class _Reader:
    """Collects test cases while expat reads."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.passed: list[str] = []
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self._parser = parser
        self._open: list[str] = []
        self._suites: list[tuple[str, int, int]] = []
        """Open suites: (name, failures that it counts itself, failed cases before it)."""
        self._case = ""
        self._verdict = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Enter an element."""
        if not self._open and tag not in ("testsuite", "testsuites"):
            raise self.fault(f"the root element is `{tag}`, not `testsuites` or `testsuite`")
        if len(self._open) >= _LIMIT_DEPTH:
            raise self.fault(f"elements are nested deeper than {_LIMIT_DEPTH}")
        self._open.append(tag)
        if tag in ("testsuite", "testsuites"):
            claimed = sum(_count(attributes.get(name)) for name in ("failures", "errors"))
            self._suites.append((attributes.get("name") or tag, claimed, len(self.failed)))
        if tag == "testcase":
            if self._case:
                raise self.fault("a `testcase` lies inside a `testcase`")
            name, group = attributes.get("name", ""), attributes.get("classname", "")
            self._case = f"{group}.{name}" if group and name else name or group or "unnamed"
            self._verdict = ""
        elif self._case and self._open[-2] == "testcase":
            self._judge(tag)
        elif tag in _FAILURES:
            # A collection error may stand beside the cases, under its suite; dropping it would turn a broken run green.
            self.failed.append(f"{attributes.get('message') or tag} (suite)"[:200])

    def _judge(self, tag: str) -> None:
        if tag in _FAILURES:
            self._verdict = "failed"
        elif tag == "skipped" and not self._verdict:
            self._verdict = "skipped"

    def end(self, tag: str) -> None:
        """Leave an element."""
        self._open.pop()
        if tag == "testcase":
            {"failed": self.failed, "skipped": self.skipped, "": self.passed}[self._verdict].append(self._case)
            self._case = ""
        elif tag in ("testsuite", "testsuites"):
            name, claimed, before = self._suites.pop()
            if claimed and len(self.failed) == before:
                self.failed.append(f"{claimed} failed without a case ({name[:200]})")

    def refuse(self, *_ignored: object) -> None:
        """Stop at a document type or entity declaration."""
        raise self.fault("document types and entities are refused in a report")

    def fault(self, what: str) -> UserError:
        """Return the error for the place the parser is at."""
        place = f"{self._parser.CurrentLineNumber}:{self._parser.CurrentColumnNumber + 1}"
        return UserError("SP402", f"the test report cannot be used: {what}", where=place, fix=_FIX)


def _count(text: str | None) -> int:
    """Return a suite's own count; what is no number counts nothing, for many tools leave it out."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else 0


def parse_junit(data: bytes) -> SuiteResult:
    """Return the tests of a JUnit XML report.

    Raises:
        UserError: it is no JUnit XML, is larger than 64 MiB, or declares a document type (SP402, where is `line:column`).
    """
    if len(data) > LIMIT_BYTES:
        raise UserError("SP402", f"the test report has {len(data)} bytes, more than {LIMIT_BYTES}", where="1:1", fix=_FIX)
    parser = expat.ParserCreate()
    reader = _Reader(parser)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        place = f"{error.lineno}:{error.offset + 1}"
        text = expat.ErrorString(error.code)
        raise UserError("SP402", f"the test report is not well-formed XML: {text}", where=place, fix=_FIX) from error
    except (LookupError, ValueError) as error:
        raise UserError("SP402", "the test report has an encoding that cannot be read", where="1:1", fix=_FIX) from error
    return SuiteResult(tuple(reader.passed), tuple(reader.failed), tuple(reader.skipped))
