"""What the tasks of one run reported, read again from content and Git: test results, scans, and JSON held against its schema once more.

Called by `runs` of this package. A task that declares evidence and ends badly without leaving it is stated as FAILED: silence after an
earlier PASSED would let the earlier one speak.
"""

from collections.abc import Iterator
from typing import Any, Final

from setpoint.adapters.signer.inputs import RunInputs
from setpoint.adapters.signer.ledger import Ended
from setpoint.core import digest
from setpoint.core.errors import SetpointError, UserError
from setpoint.evidence.junit import LIMIT_BYTES, parse_junit
from setpoint.evidence.model import REPORT, Document, SuiteResult
from setpoint.evidence.reports import parse_report
from setpoint.evidence.scans.statement import ScanFacts
from setpoint.evidence.scans.summary import MEDIA_TYPES, cyclonedx_document
from setpoint.evidence.statements import DeclaredReport, JsonFacts, SuiteFacts
from setpoint.pipeline.model import JSON_REPORT_BYTES, Run, ScanSummary, StoredFile, TaskState
from setpoint.pipeline.ports import ContentStore, ReportCheck, ScanReader
from setpoint.pipeline.written import ReportConfig
from setpoint.source.ports import GitStore

TESTS: Final = "tests"
_FAILED: Final = (TaskState.FAILED, TaskState.TIMED_OUT)


class ReportReader:
    """Reads the reports of one run."""

    def __init__(self, git: GitStore, content: ContentStore, checks: tuple[ReportCheck, ScanReader], run: Run, inputs: RunInputs) -> None:
        self._git = git
        self._content = content
        self._check, self._scans = checks
        self._run = run
        self._inputs = inputs

    def of(self, ended: Ended) -> Iterator[SuiteFacts | JsonFacts | ScanFacts]:
        """Yield what a task reported, about no subject yet.

        Raises:
            UserError: stored bytes do not match their digest (SP404).
            WorldError: the machine is too busy to check (SP414).
        """
        result = ended.result
        config = self._inputs.task(result.task)
        declared = config.leaves if config is not None else {}
        silent = set(declared) - set(result.reports) if result.state in _FAILED and result.key else set()
        cells = self._inputs.cells(result.task)
        if TESTS in result.reports or TESTS in silent:
            suite, fault = self._suite(result.reports.get(TESTS))
            yield SuiteFacts(result, suite, ended.at, fault=fault, cells=cells, entry=ended.entry)
        for name, report in (config.reports if config is not None else {}).items():
            if name in result.reports or name in silent:
                scan = report.format is not None
                yield self._scan(ended, name, report, cells) if scan else self._json(ended, name, report, cells)

    def _suite(self, stored: StoredFile | None) -> tuple[SuiteResult, str]:
        """Return (what the report says, why it cannot be used); an unusable report is signed as FAILED, not dropped."""
        if stored is None:
            return SuiteResult((), (), ()), "the task left no report"
        data = self._read(stored, LIMIT_BYTES)
        try:
            return parse_junit(data), ""
        except SetpointError as error:
            return SuiteResult((), (), ()), f"{error.what} at {error.where}"

    def _json(self, ended: Ended, name: str, report: ReportConfig, cells: tuple[str, ...]) -> JsonFacts:
        path = report.schema_ or ""
        blob = self._inputs.blob(path)
        declared = DeclaredReport(name, report.predicate or REPORT, report.file, path, blob or "")
        stored = ended.result.reports.get(name)
        value: dict[str, Any] = {}
        fault = "the task left no report" if stored is None else f"the schema {path} is no file of this revision"
        if stored is not None and blob is not None:
            data = self._read(stored, JSON_REPORT_BYTES)
            fault = self._check.fault(self._git.blob(self._run.repository, blob), data)
            value = {} if fault else parse_report(data)
        return JsonFacts(ended.result, declared, value, ended.at, fault=fault, cells=cells, entry=ended.entry)

    def _scan(self, ended: Ended, name: str, report: ReportConfig, cells: tuple[str, ...]) -> ScanFacts:
        """Return what a scanner's report says, counted here once more."""
        format_ = report.format or "sarif"
        stored = ended.result.reports.get(name)
        if stored is None:
            summary = ScanSummary(fault="the task left no report")
            return ScanFacts(ended.result, name, format_, report.file, summary, ended.at, cells=cells, entry=ended.entry)
        data = self._read(stored, report.limit_bytes)
        summary = self._scans.summary(format_, data)
        document = Document(stored.digest, stored.size_bytes, MEDIA_TYPES[format_], report.file.rpartition("/")[2])
        whole = format_ == "cyclonedx" and not summary.fault
        predicate = cyclonedx_document(data) if whole else {}
        return ScanFacts(ended.result, name, format_, report.file, summary, ended.at, document, predicate, cells=cells, entry=ended.entry)

    def _read(self, stored: StoredFile, limit_bytes: int) -> bytes:
        """Return a report's bytes, one more than the limit when there are more; what is read whole has its digest checked."""
        with self._content.open(stored.digest) as file:
            data = file.read(limit_bytes + 1)
        if len(data) <= limit_bytes and digest.sha256(data) != stored.digest:
            raise UserError("SP404", "the stored report does not match its digest", where=stored.digest, fix="run the pipeline again")
        return data
