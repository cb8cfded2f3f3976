"""What the journal says about runs, artifacts, promotions and evidence, for the signer; reads on from where it was, checks the chain.

The signer's own small projection: it must not believe the server's database (law 8). It never writes.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.artifact.model import ArtifactRecord
from setpoint.core.errors import BugError
from setpoint.core.reasons import Verdict
from setpoint.core.records import decode
from setpoint.evidence.model import EvidenceRecord
from setpoint.evidence.verify import TrustRoot
from setpoint.ground.journal.model import GENESIS, Entry, leaf_hash, parse
from setpoint.ground.journal.ports import JournalStorage
from setpoint.pipeline.model import Run, TaskResult
from setpoint.promotion.generators.model import Expansion, environment_name
from setpoint.promotion.model import Approval, Promotion
from setpoint.reconcile.adopt.model import Adoption

_FIX: Final = "`setpoint events --check` names the first bad entry; restore the journal from a copy"


@dataclass(frozen=True, slots=True)
class Decision:
    """The last `promotion.decided` of a promotion."""

    state: str
    verdict: Verdict
    at: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A task's end, with its place in the journal."""

    result: TaskResult
    at: str
    entry: int


@dataclass(slots=True)
class RunFacts:
    """One run, as journalled."""

    run: Run
    results: dict[str, Ended] = field(default_factory=dict)
    """task -> its last result"""
    open: set[str] = field(default_factory=set)
    """Tasks that were started and have not ended."""
    artifacts: dict[tuple[str, str], tuple[ArtifactRecord, str]] = field(default_factory=dict)
    """(name, digest) -> (record, when it was journalled)"""


@dataclass(slots=True)
class PromotionFacts:
    """One promotion, as journalled."""

    promotion: Promotion
    decision: Decision | None = None
    superseded: bool = False
    approvals: list[Approval] = field(default_factory=list)
    intended: dict[str, str] = field(default_factory=dict)
    """parent commit -> when the pin was intended on it"""
    evidence: list[EvidenceRecord] = field(default_factory=list)


class Ledger:
    """A projection in memory, kept up to date by `refresh`."""

    def __init__(self, storage: JournalStorage) -> None:
        self._storage = storage
        self._next = 0
        self._head = GENESIS
        self.trust: TrustRoot | None = None
        self.runs: dict[str, RunFacts] = {}
        self.promotions: dict[str, PromotionFacts] = {}
        self.built: set[tuple[str, str]] = set()
        """(repository of the registry, digest) of every artifact that a run built."""
        self.evidence: dict[str, list[EvidenceRecord]] = defaultdict(list)
        """By subject."""
        self.deliveries: list[str] = []
        self.adoptions: dict[str, tuple[Adoption, str]] = {}
        """By id, as intended, with when that was journalled."""
        self.quarantined: set[tuple[str, str, str]] = set()
        """(candidate digest, app, environment) in force."""

        self.ended: dict[str, tuple[str, str]] = {}
        """preview that ends or has ended -> (when, why)"""

    @property
    def empty(self) -> bool:
        """Whether the journal has no entry yet: the home is being created."""
        return self._next == 0

    def refresh(self) -> None:
        """Read what was appended since.

        Raises:
            BugError: an entry cannot be read, or does not continue the chain (SP410).
        """
        for line in self._storage.read(self._next):
            try:
                entry = parse(line)
            except (ValueError, TypeError) as error:
                raise BugError("SP410", f"journal entry {self._next} cannot be read: nothing is signed", fix=_FIX) from error
            if entry.index != self._next or entry.prev != self._head:
                raise BugError("SP410", f"journal entry {self._next} does not continue the chain: nothing is signed", fix=_FIX)
            self._apply(entry)
            self._next, self._head = entry.index + 1, leaf_hash(line)

    def _apply(self, entry: Entry) -> None:
        handler = _HANDLERS.get(entry.kind)
        if handler is not None:
            handler(self, entry, entry.body)

    def _home(self, entry: Entry, _body: dict[str, Any]) -> None:
        # Only the first entry is the trust root (law 9): a later one of this kind must not replace the keys.
        if entry.index == 0:
            self.trust = TrustRoot.from_entry(entry)

    def _run(self, entry: Entry, body: dict[str, Any]) -> None:
        self.runs.setdefault(entry.subject, RunFacts(decode(Run, body)))

    def _started(self, entry: Entry, body: dict[str, Any]) -> None:
        if entry.subject in self.runs:
            self.runs[entry.subject].open.add(str(body["task"]))

    def _finished(self, entry: Entry, body: dict[str, Any]) -> None:
        result = decode(TaskResult, body)
        if entry.subject in self.runs:
            self.runs[entry.subject].results[result.task] = Ended(result, entry.at, entry.index)
            self.runs[entry.subject].open.discard(result.task)

    def _resolved(self, entry: Entry, body: dict[str, Any]) -> None:
        # A lost task that is run again has not been started any more.
        if entry.subject in self.runs and body["outcome"] == "again":
            self.runs[entry.subject].open.discard(str(body["task"]))

    def _artifact(self, entry: Entry, body: dict[str, Any]) -> None:
        record = decode(ArtifactRecord, body)
        self.built.add((record.oci_repository, record.digest))
        if record.run in self.runs:
            self.runs[record.run].artifacts.setdefault((record.name, record.digest), (record, entry.at))

    def _evidence(self, entry: Entry, body: dict[str, Any]) -> None:
        record = decode(EvidenceRecord, body)
        self.evidence[entry.subject].append(record)
        if record.promotion in self.promotions:
            self.promotions[record.promotion].evidence.append(record)

    def _promotion(self, entry: Entry, body: dict[str, Any]) -> None:
        self.promotions.setdefault(entry.subject, PromotionFacts(decode(Promotion, body)))

    def _approval(self, entry: Entry, body: dict[str, Any]) -> None:
        if entry.subject in self.promotions:
            self.promotions[entry.subject].approvals.append(decode(Approval, body))

    def _decided(self, entry: Entry, body: dict[str, Any]) -> None:
        if entry.subject in self.promotions:
            decision = Decision(str(body["state"]), decode(Verdict, body["verdict"]), entry.at)
            self.promotions[entry.subject].decision = decision

    def _superseded(self, entry: Entry, _body: dict[str, Any]) -> None:
        if entry.subject in self.promotions:
            self.promotions[entry.subject].superseded = True

    def _intended(self, entry: Entry, body: dict[str, Any]) -> None:
        if entry.subject in self.promotions:
            self.promotions[entry.subject].intended.setdefault(str(body["parent"]), entry.at)

    def _generator(self, entry: Entry, body: dict[str, Any]) -> None:
        if body["expansion"] is None:
            return
        found = decode(Expansion, body["expansion"])
        for element in found.elements:
            self.ended.pop(environment_name(found.generator, element.name), None)
        for element in found.leaving:
            if element.life is not None and element.life.ended:
                self.ended.setdefault(environment_name(found.generator, element.name), (entry.at, element.life.ended))

    def _adoption(self, entry: Entry, body: dict[str, Any]) -> None:
        self.adoptions.setdefault(entry.subject, (decode(Adoption, body), entry.at))

    def _delivery(self, entry: Entry, _body: dict[str, Any]) -> None:
        if entry.subject not in self.deliveries:
            self.deliveries.append(entry.subject)

    def _barred(self, entry: Entry, body: dict[str, Any]) -> None:
        self.quarantined.add((entry.subject, str(body["app"]), str(body["environment"])))

    def _lifted(self, entry: Entry, body: dict[str, Any]) -> None:
        self.quarantined.discard((entry.subject, str(body["app"]), str(body["environment"])))


_HANDLERS: Final = {
    "home.created": Ledger._home,  # noqa: SLF001 - the table belongs to the class above
    "run.created": Ledger._run,  # noqa: SLF001
    "task.started": Ledger._started,  # noqa: SLF001
    "task.finished": Ledger._finished,  # noqa: SLF001
    "task.resolved": Ledger._resolved,  # noqa: SLF001
    "artifact.built": Ledger._artifact,  # noqa: SLF001
    "evidence.attached": Ledger._evidence,  # noqa: SLF001
    "promotion.created": Ledger._promotion,  # noqa: SLF001
    "approval.given": Ledger._approval,  # noqa: SLF001
    "promotion.decided": Ledger._decided,  # noqa: SLF001
    "promotion.superseded": Ledger._superseded,  # noqa: SLF001
    "pin.intended": Ledger._intended,  # noqa: SLF001
    "adoption.intended": Ledger._adoption,  # noqa: SLF001
    "delivery.registered": Ledger._delivery,  # noqa: SLF001
    "generator.expanded": Ledger._generator,  # noqa: SLF001
    "preview.extended": Ledger._generator,  # noqa: SLF001
    "preview.ended": Ledger._generator,  # noqa: SLF001
    "quarantine.set": Ledger._barred,  # noqa: SLF001
    "quarantine.lifted": Ledger._lifted,  # noqa: SLF001
}
