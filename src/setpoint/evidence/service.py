"""Gets evidence signed and attached, and journals it; called when a run's tasks have ended, an approval is given, a promotion is decided.

Blocking (call it in a worker thread). Level-triggered: what is journalled is not attached twice, and a crash between push and journal
entry is mended by calling again, for the signer's statements are the same bytes. It holds no key and composes nothing.
"""

from setpoint.artifact.ports import OciStore
from setpoint.core.records import encode
from setpoint.evidence.attach import attach
from setpoint.evidence.model import APPROVAL, SUMMARY, EvidenceRecord
from setpoint.evidence.ports import EvidenceRecords, Signed, Signer
from setpoint.ground.journal.ports import Recorder
from setpoint.pipeline.ports import ContentStore

_ACTOR = "setpoint"


class EvidenceService:
    """Signer, registry and journal together."""

    def __init__(self, signer: Signer, store: OciStore, content: ContentStore, recorder: Recorder, records: EvidenceRecords) -> None:
        self._signer = signer
        self._store = store
        self._content = content
        self._recorder = recorder
        self._records = records

    def attach_run(self, run: str) -> list[EvidenceRecord]:
        """Attach everything a run proved; returns all of the run's evidence.

        Raises:
            UserError: the journal does not hold the run or a task has not ended (SP404), an artifact is gone (SP407).
            WorldError: the signer is gone (SP405); try again.
        """
        present = self._records.evidence(run=run)
        return self._attach_new(self._signer.sign("run", run), present, run=run)

    def attach_promotion(self, promotion: str) -> EvidenceRecord:
        """Attach the gate statement of a promotion's last decision and return it.

        Raises:
            UserError: the promotion is not decided (SP404), or what it rests on does not hold (SP403).
            WorldError: the signer is gone (SP405); try again.
        """
        present = [record for record in self._records.evidence(promotion=promotion) if record.predicate_type == SUMMARY]
        return self._attach_new(self._signer.sign("promotion", promotion), present, promotion=promotion)[-1]

    def attach_approval(self, promotion: str, email: str) -> EvidenceRecord:
        """Attach the signed statement of a journalled approval and return it.

        Raises:
            UserError: the journal holds no such approval (SP404).
            WorldError: the signer is gone (SP405); try again.
        """
        present = [record for record in self._records.evidence(promotion=promotion) if record.predicate_type == APPROVAL]
        return self._attach_new(self._signer.sign("approval", promotion, email), present, promotion=promotion)[-1]

    def _attach_new(
        self, signed: list[Signed], present: list[EvidenceRecord], *, run: str = "", promotion: str = ""
    ) -> list[EvidenceRecord]:
        """Attach what is not journalled yet; the records come back in the order signed, after those that were there before."""
        known = {_key(record): record for record in present}
        fresh: list[EvidenceRecord] = []
        for item in signed:
            if _key(item) in known:
                fresh.append(known[_key(item)])
                continue
            record = attach(self._store, item, self._original(item), run=run, promotion=promotion)
            self._recorder.record("evidence.attached", record.subject, _ACTOR, encode(record))
            fresh.append(record)
        return [*(record for record in present if record not in fresh), *fresh]

    def _original(self, item: Signed) -> bytes:
        """Return the document that a statement names; nothing when it names none."""
        if item.document is None:
            return b""
        with self._content.open(item.document.digest) as file:
            return file.read(item.document.size_bytes + 1)


def _key(item: Signed | EvidenceRecord) -> tuple[str, ...]:
    """Return what makes two statements the same: not the bundle's digest, for a signature may be drawn with chance."""
    return (item.predicate_type, item.subject, item.task, item.artifact, item.report, item.result, item.at)
