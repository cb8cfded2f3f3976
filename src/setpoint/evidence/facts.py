"""Verified evidence of an artifact, aggregated for policies; fills promotion's EvidenceView through wiring, and `verify`.

The newest statement per task wins, by the time inside the signed statement (a manifest's annotation is not signed); one that does not
cover the artifact counts as no evidence and is named as a fault.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from setpoint.artifact.ports import OciStore
from setpoint.evidence.model import PROVENANCE, TEST_RESULT, ArtifactEvidence, Verified
from setpoint.evidence.provenance import claims
from setpoint.evidence.statements import stated_at
from setpoint.evidence.verify import TrustRoot, verify_subject


@dataclass(frozen=True, slots=True)
class SuiteCount:
    """What the newest covering test statements say together."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    result: str = ""
    faults: tuple[str, ...] = ()


def newest(verified: Iterable[Verified], predicate_type: str) -> Verified | None:
    """Return the statement of this type with the latest signed time; of equal times the last listed."""
    found: Verified | None = None
    for item in verified:
        if item.statement.predicate_type == predicate_type and (found is None or stated_at(item.statement) >= stated_at(found.statement)):
            found = item
    return found


def count_tests(verified: Iterable[Verified]) -> SuiteCount:
    """Return the sum over the newest test statement of every task."""
    tasks: dict[str, Verified] = {}
    for item in verified:
        if item.statement.predicate_type != TEST_RESULT:
            continue
        task = str(_own(item).get("task", ""))
        if task not in tasks or stated_at(item.statement) >= stated_at(tasks[task].statement):
            tasks[task] = item
    total = SuiteCount()
    for task, item in sorted(tasks.items()):
        total = _add(total, task, item)
    return _with_all_cells(total, tasks)


def _with_all_cells(total: SuiteCount, tasks: Mapping[str, Verified]) -> SuiteCount:
    """Count a failure for every cell of a matrix that left no result: the others must not speak for it."""
    named = {str(cell) for item in tasks.values() if isinstance(cells := _own(item).get("cells"), list) for cell in cells}
    for cell in sorted(named - set(tasks)):
        fault = f"EVIDENCE_INCOMPLETE: {cell} left no test result, and other cells of its matrix did"
        total = SuiteCount(total.passed, total.failed + 1, total.skipped, "FAILED", (*total.faults, fault))
    return total


def _add(total: SuiteCount, task: str, item: Verified) -> SuiteCount:
    own, predicate = _own(item), item.statement.predicate
    counts = own.get("counts")
    if own.get("covers") is not True:
        missing = own.get("missing")
        example = f": {missing[0]} is in the artifact and was not its input" if isinstance(missing, list) and missing else ""
        fault = f"EVIDENCE_DOES_NOT_COVER: task {task}{example}"
        return SuiteCount(total.passed, total.failed, total.skipped, total.result, (*total.faults, fault))
    numbers = [counts.get(name) if isinstance(counts, dict) else None for name in ("passed", "failed", "skipped")]
    passed, failed, skipped = (number if isinstance(number, int) else 0 for number in numbers)
    good = predicate.get("result") == "PASSED" and failed == 0 and passed > 0
    # A task that ended red with a clean report failed for another reason; one failure must show for policies that only count.
    failed = failed if good else max(failed, 1)
    result = "PASSED" if good and total.result in ("", "PASSED") else "FAILED"
    return SuiteCount(total.passed + passed, total.failed + failed, total.skipped + skipped, result, total.faults)


def _own(item: Verified) -> dict[str, Any]:
    own = item.statement.predicate.get("setpoint")
    return own if isinstance(own, dict) else {}


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
            faults=(*found.faults, *tests.faults),
        )
