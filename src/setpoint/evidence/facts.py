"""Verified evidence of an artifact, aggregated for policies; fills promotion's EvidenceView through wiring, and `verify`.

The newest statement per task wins: by the journal entry that the signed statement names, so a later FAILED beats an earlier PASSED whatever
the clock did. One that does not cover the artifact counts as no evidence and is named as a fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.artifact.ports import OciStore
from setpoint.evidence.model import PROVENANCE, SIGNER_OF, TEST_RESULT, ArtifactEvidence, ReportFacts, Verified
from setpoint.evidence.provenance import claims
from setpoint.evidence.reports import merged, policy_view
from setpoint.evidence.scans.combined import combined
from setpoint.evidence.scans.statement import document_of, said_by, summary_in
from setpoint.evidence.statements import stated_at
from setpoint.evidence.verify import TrustRoot, verify_subject

_NAMED: Final = 3
"""How many files a fault names."""


@dataclass(frozen=True, slots=True)
class SuiteCount:
    """What the newest covering test statements say together."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    result: str = ""
    faults: tuple[str, ...] = ()


def age(item: Verified) -> tuple[int, str]:
    """Return what orders statements from old to new: the journal entry they were composed from, then their signed time."""
    entry = item.statement.own.get("entry")
    return (entry if isinstance(entry, int) else -1, stated_at(item.statement))


def newest(verified: Iterable[Verified], predicate_type: str) -> Verified | None:
    """Return the newest statement of this type; of equally old ones the last listed."""
    found: Verified | None = None
    for item in verified:
        if item.statement.predicate_type == predicate_type and (found is None or age(item) >= age(found)):
            found = item
    return found


def count_tests(verified: Iterable[Verified]) -> SuiteCount:
    """Return the sum over the newest test statement of every task."""
    tasks: dict[str, Verified] = {}
    for item in verified:
        if item.statement.predicate_type != TEST_RESULT:
            continue
        task = str(item.statement.own.get("task", ""))
        if task not in tasks or age(item) >= age(tasks[task]):
            tasks[task] = item
    total = SuiteCount()
    for task, item in sorted(tasks.items()):
        total = _add(total, task, item)
    return _with_all_cells(total, tasks)


def _with_all_cells(total: SuiteCount, tasks: Mapping[str, Verified]) -> SuiteCount:
    """Count a failure for every cell of a matrix that left no result: the others must not speak for it."""
    for fault in _silent_cells(tasks, "test result"):
        total = SuiteCount(total.passed, total.failed + 1, total.skipped, "FAILED", (*total.faults, fault))
    return total


def _silent_cells(tasks: Mapping[str, Verified], what: str) -> list[str]:
    """Return a fault for every cell that the statements of its matrix name and that has none itself."""
    named = {str(cell) for item in tasks.values() if isinstance(cells := item.statement.own.get("cells"), list) for cell in cells}
    return [f"EVIDENCE_INCOMPLETE: {cell} left no {what}, and other cells of its matrix did" for cell in sorted(named - set(tasks))]


def _add(total: SuiteCount, task: str, item: Verified) -> SuiteCount:
    own, predicate = item.statement.own, item.statement.predicate
    counts = own.get("counts")
    if own.get("covers") is not True:
        return SuiteCount(total.passed, total.failed, total.skipped, total.result, (*total.faults, uncovered(own, f"task {task}")))
    numbers = [counts.get(name) if isinstance(counts, dict) else None for name in ("passed", "failed", "skipped")]
    passed, failed, skipped = (number if isinstance(number, int) else 0 for number in numbers)
    good = predicate.get("result") == "PASSED" and failed == 0 and passed > 0
    # A task that ended red with a clean report failed for another reason; one failure must show for policies that only count.
    failed = failed if good else max(failed, 1)
    result = "PASSED" if good and total.result in ("", "PASSED") else "FAILED"
    return SuiteCount(total.passed + passed, total.failed + failed, total.skipped + skipped, result, total.faults)


def uncovered(own: dict[str, Any], who: str) -> str:
    """Return the fault of a statement that does not cover its artifact, with the files that it names."""
    missing, count = own.get("missing"), own.get("missingCount")
    names = [str(name) for name in missing][:_NAMED] if isinstance(missing, list) else []
    if not names:
        return f"EVIDENCE_DOES_NOT_COVER: {who}"
    more = f" and {count - len(names)} more" if isinstance(count, int) and count > len(names) else ""
    are = "is" if len(names) == 1 and not more else "are"
    return f"EVIDENCE_DOES_NOT_COVER: {who}: {', '.join(names)}{more} {are} in the artifact and no input of it"


def read_reports(verified: Iterable[Verified]) -> tuple[dict[str, ReportFacts], tuple[str, ...]]:
    """Return ({name: what the newest covering reports say together}, faults)."""
    named: dict[str, dict[str, Verified]] = {}
    for item in verified:
        if item.statement.predicate_type in SIGNER_OF:
            continue
        tasks = named.setdefault(str(item.statement.own.get("report", "")), {})
        task = str(item.statement.own.get("task", ""))
        if task not in tasks or age(item) >= age(tasks[task]):
            tasks[task] = item
    found: dict[str, ReportFacts] = {}
    faults: list[str] = []
    for name, tasks in sorted(named.items()):
        covering = {task: item for task, item in tasks.items() if item.statement.own.get("covers") is True}
        facts = [_report(item) for _, item in sorted(covering.items())]
        faults += [uncovered(item.statement.own, f"{name} of task {task}") for task, item in tasks.items() if task not in covering]
        silent = _silent_cells(tasks, f"{name} report")
        faults += silent
        if facts:
            found[name] = agreed([*facts, *(ReportFacts("FAILED", says=fault) for fault in silent)])
    return found, tuple(faults)


def _report(item: Verified) -> ReportFacts:
    statement, own = item.statement, item.statement.own
    says = said_by(statement)
    if own.get("result") != "PASSED":
        return ReportFacts("FAILED", says=says)
    document = document_of(statement)
    if document is None:
        return ReportFacts("PASSED", policy_view(statement.predicate), says)
    counts = policy_view(summary_in(statement))
    return ReportFacts("PASSED", counts, says, str(own.get("format", "")), {document.digest: counts})


def agreed(facts: Sequence[ReportFacts]) -> ReportFacts:
    """Return what several reports of one name say together: PASSED if all are.

    Of scans of one format everything is added up, each document once; of other reports what they agree about is told.
    """
    if bad := [fact for fact in facts if fact.result != "PASSED"]:
        return ReportFacts("FAILED", says=_joined(bad))
    formats = {fact.format for fact in facts}
    if formats in ({"sarif"}, {"cyclonedx"}):
        counted = {name: counts for fact in facts for name, counts in fact.counted.items()}
        return ReportFacts("PASSED", combined(list(counted.values())), _joined(facts), formats.pop(), counted)
    return ReportFacts("PASSED", merged([fact.report for fact in facts]), _joined(facts))


def _joined(facts: Sequence[ReportFacts]) -> str:
    said = list(dict.fromkeys(fact.says for fact in facts if fact.says))
    return "; ".join(said[:_NAMED]) + (f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else "")


class EvidenceFacts:
    """Reads the registry and judges by the trust root."""

    def __init__(self, store: OciStore, trust: TrustRoot) -> None:
        self._store = store
        self._trust = trust

    def artifact(self, name: str, oci_repository: str, digest: str) -> ArtifactEvidence:
        """Verify every bundle attached to a digest and aggregate what counts."""
        found = verify_subject(self._store, self._trust, oci_repository, digest)
        provenance = newest(found.verified, PROVENANCE)
        built = claims(provenance.statement) if provenance is not None else None
        tests = count_tests(found.verified)
        reports, report_faults = read_reports(found.verified)
        return ArtifactEvidence(
            name=name,
            digest=digest,
            provenance=provenance is not None,
            builder=built.builder if built else "",
            revision=built.revision if built else "",
            tests_passed=tests.passed,
            tests_failed=tests.failed,
            tests_skipped=tests.skipped,
            tests_result=tests.result,
            faults=(*found.faults, *tests.faults, *report_faults),
            reports=reports,
        )
