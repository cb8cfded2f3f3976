"""Test-result, approval and gate statements from facts; pure, called by the signer, which loads the facts itself (law 8).

Sources: in-toto test-result v0.1, SLSA verification summary v1. What the standard has no field for lies under the predicate's key
`setpoint`; time always comes from the journal, so that composing twice gives the same bytes.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from setpoint import __version__
from setpoint.core.reasons import Reason
from setpoint.core.records import encode
from setpoint.evidence.candidate import candidate_repository, candidate_subjects, sha256_set
from setpoint.evidence.coverage import Coverage
from setpoint.evidence.model import APPROVAL, OWN, SIGNER_OF, SUMMARY, TEST_RESULT, Statement, Subject, SuiteResult
from setpoint.pipeline.model import TaskResult

_NAMES: Final = 5_000
_NAME_LENGTH: Final = 300
VERIFIER: Final = "https://setpoint.dev/gate/"
SLSA_VERSION: Final = "1.2"


class TaskFacts(Protocol):
    """What every report of a task has, whatever its kind."""

    @property
    def result(self) -> TaskResult:
        """The task's end."""
        ...

    @property
    def at(self) -> str:
        """When that was journalled."""
        ...

    @property
    def artifact(self) -> str:
        """Name of the artifact that the statement is about."""
        ...

    @property
    def coverage(self) -> Coverage | None:
        """None when there is no artifact to cover."""
        ...

    @property
    def fault(self) -> str:
        """Why the report does not count."""
        ...

    @property
    def cells(self) -> tuple[str, ...]:
        """All cells of the task's matrix."""
        ...

    @property
    def entry(self) -> int:
        """Index of the journal entry of the task's end."""
        ...


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """A task's report, ready to be stated about one subject."""

    result: TaskResult
    suite: SuiteResult
    at: str
    """When the task's end was journalled."""
    artifact: str = ""
    coverage: Coverage | None = None
    """None when there is no artifact to cover."""
    fault: str = ""
    """Why the report could not be read."""
    cells: tuple[str, ...] = ()
    """All cells of the task's matrix, itself among them; the result of one says nothing without the others."""
    entry: int = -1
    """Index of the journal entry of the task's end: what orders statements."""

    @property
    def verdict(self) -> str:
        """PASSED only if the task ended green, its report could be read, and tests ran without failure."""
        return self.suite.result if self.result.state.green and not self.fault else "FAILED"

    @property
    def summary(self) -> str:
        """What a person reads: `70 of 70 tests passed`."""
        if self.fault:
            return "the test report cannot be read"
        ran = len(self.suite.passed) + len(self.suite.failed)
        skipped = f", {len(self.suite.skipped)} skipped" if self.suite.skipped else ""
        return f"{len(self.suite.passed)} of {ran} tests passed{skipped}"


def suite_statement(facts: SuiteFacts, subject: Subject) -> Statement:
    """Return the test-result v0.1 statement; skipped tests are `warnedTests`, lists are cut at 5,000 names and the counts are exact."""
    result, suite = facts.result, facts.suite
    counts = {"passed": len(suite.passed), "failed": len(suite.failed), "skipped": len(suite.skipped)}
    predicate = {
        "result": facts.verdict,
        "configuration": [
            {"name": f"task/{result.task}", "digest": sha256_set(result.key)},
            {"name": "inputs", "digest": sha256_set(result.manifest.inputs)},
        ],
        "passedTests": _names(suite.passed),
        "warnedTests": _names(suite.skipped),
        "failedTests": _names(suite.failed),
        "setpoint": {**task_words(facts), "counts": counts},
    }
    return Statement((subject,), TEST_RESULT, predicate)


def _names(names: tuple[str, ...]) -> list[str]:
    return [name[:_NAME_LENGTH] for name in names[:_NAMES]]


@dataclass(frozen=True, slots=True)
class DeclaredReport:
    """A JSON report as the pipeline file declares it."""

    name: str
    """What the task calls it: `lint`."""
    predicate_type: str
    path: str
    schema: str
    """Path of the JSON Schema in the source tree."""
    schema_blob: str


@dataclass(frozen=True, slots=True)
class JsonFacts:
    """A task's JSON report, ready to be stated about one subject."""

    result: TaskResult
    declared: DeclaredReport
    report: dict[str, Any]
    """Empty when there is a fault."""
    at: str
    artifact: str = ""
    coverage: Coverage | None = None
    fault: str = ""
    cells: tuple[str, ...] = ()
    """All cells of the task's matrix, itself among them."""
    entry: int = -1

    @property
    def verdict(self) -> str:
        """PASSED only if the task ended green and its report keeps to its schema."""
        return "PASSED" if self.result.state.green and not self.fault else "FAILED"

    @property
    def summary(self) -> str:
        """What a person reads: `lint keeps to schemas/lint.json`."""
        return f"{self.declared.name}: {self.fault}" if self.fault else f"{self.declared.name} keeps to {self.declared.schema}"


def json_statement(facts: JsonFacts, subject: Subject) -> Statement:
    """Return the statement of a JSON report: the predicate is the report itself, our own words are an annotation of the subject."""
    declared = facts.declared
    own = task_words(facts) | {
        "report": declared.name,
        "result": facts.verdict,
        "file": declared.path,
        "schema": {"path": declared.schema, "digest": {"gitBlob": declared.schema_blob}},
        "key": facts.result.key,
        "inputs": facts.result.manifest.inputs,
    }
    return Statement((replace(subject, annotations={OWN: own}),), declared.predicate_type, facts.report)


def task_words(facts: TaskFacts) -> dict[str, Any]:
    """Return what Setpoint itself says of any report of a task; a key is there only when there is something to say."""
    result = facts.result
    own: dict[str, Any] = {
        "task": result.task,
        "artifact": facts.artifact,
        "run": result.run,
        "originRun": result.origin_run,
        "state": str(result.state),
        "at": facts.at,
        "entry": facts.entry,
    }
    if facts.coverage is not None:
        own |= facts.coverage.content()
    if result.manifest.sandbox in ("none", "kubernetes"):
        own["sandbox"] = result.manifest.sandbox
    if facts.cells:
        own["cells"] = list(facts.cells)
    if facts.fault:
        own["fault"] = facts.fault
    return own


@dataclass(frozen=True, slots=True)
class ApprovalFacts:
    """A person's journalled yes."""

    candidate: dict[str, Any]
    promotion: str
    binding: str
    person: str
    email: str
    message: str
    at: str


def approval(facts: ApprovalFacts) -> Statement:
    """Return the approval statement: who said yes to which binding of which candidate."""
    predicate = {
        "promotion": facts.promotion,
        "binding": facts.binding,
        "approver": {"name": facts.person, "email": facts.email},
        "message": facts.message,
        "approvedOn": facts.at,
        "setpoint": {"candidate": facts.candidate},
    }
    return Statement(candidate_subjects(facts.candidate), APPROVAL, predicate)


@dataclass(frozen=True, slots=True)
class SummaryFacts:
    """A journalled decision about a promotion."""

    candidate: dict[str, Any]
    """`Candidate.content()`"""
    promotion: str
    kind: str
    of: str
    binding: str
    policy_uri: str
    policy: str
    """Blob id of the environment.yaml in force."""
    passed: bool
    at: str
    reasons: tuple[Reason, ...] = ()
    inputs: tuple[str, ...] = ()
    """Digests of the bundles that were verified for it."""
    approvals: tuple[dict[str, str], ...] = ()
    """`{name, email, at}` of every approval of this binding."""
    levels: tuple[str, ...] = ()
    """SLSA levels that hold for every artifact."""


def gate_summary(facts: SummaryFacts) -> Statement:
    """Return the verification summary v1 of a decision, PASSED or FAILED, with all its reasons."""
    subjects = candidate_subjects(facts.candidate)
    repository = candidate_repository(facts.candidate["app"])
    predicate = {
        "verifier": {"id": VERIFIER + facts.candidate["environment"], "version": {"setpoint": __version__}},
        "timeVerified": facts.at,
        "resourceUri": f"oci:{repository}@sha256:{subjects[0].digest['sha256']}",
        "policy": {"uri": facts.policy_uri, "digest": {"gitBlob": facts.policy}},
        "inputAttestations": [{"digest": sha256_set(bundle)} for bundle in facts.inputs],
        "verificationResult": "PASSED" if facts.passed else "FAILED",
        "verifiedLevels": list(facts.levels) if facts.passed else ["FAILED"],
        "slsaVersion": SLSA_VERSION,
        "setpoint": {
            "promotion": facts.promotion,
            "kind": facts.kind,
            "of": facts.of,
            "binding": facts.binding,
            "candidate": facts.candidate,
            "reasons": [encode(reason) for reason in facts.reasons],
            "approvals": list(facts.approvals),
        },
    }
    return Statement(subjects, SUMMARY, predicate)


def stated_at(statement: Statement) -> str:
    """Return the signed time of a statement of ours (RFC 3339), empty when it carries none; the annotation of a manifest is not signed."""
    predicate = statement.predicate
    run_details = predicate.get("runDetails")
    metadata = run_details.get("metadata") if isinstance(run_details, dict) else None
    places: list[tuple[object, str]] = [(statement.own, "at")]
    if statement.predicate_type in SIGNER_OF:
        places = [(predicate, "timeVerified"), (predicate, "approvedOn"), (metadata, "finishedOn"), *places]
    for place, key in places:
        value = place.get(key) if isinstance(place, dict) else None
        if isinstance(value, str):
            return value
    return ""
