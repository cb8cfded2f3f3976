"""What is attached to a pin, a digest, a run or a promotion: subjects, bundles, who signed them; and the same as a tar.

Called by the API for `setpoint evidence`; records only say which subjects belong to a thing, what is said about them is read from bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import NotFoundError, SetpointError, UserError
from setpoint.evidence.attached import Attached, attached, result_of, summary_of
from setpoint.evidence.candidate import candidate_digest, candidate_repository
from setpoint.evidence.model import Document
from setpoint.evidence.pack import PackedSubject, pack
from setpoint.evidence.scans.statement import document_of, summary_in
from setpoint.evidence.verify import TrustRoot
from setpoint.observe.attachments import AttachedBundle, EvidenceReport, EvidenceSubject, Original
from setpoint.observe.ports import Facts
from setpoint.observe.runs import RunsView
from setpoint.pipeline.model import SCAN_REPORT_BYTES
from setpoint.promotion.model import Candidate
from setpoint.promotion.repository import DeliveryReader

_CANDIDATES = candidate_repository("")
_DOCUMENT_BYTES = max(SCAN_REPORT_BYTES.values())
_FIX = "setpoint evidence APP --in ENVIRONMENT, or a digest (sha256:...), a run (r-...) or a promotion (p-...)"


@dataclass(frozen=True, slots=True)
class _Place:
    """A subject and where it lies."""

    kind: Literal["artifact", "candidate", "revision"]
    name: str
    oci_repository: str
    digest: str
    manifests: tuple[str, ...] = ()
    """Of a revision: the manifests that carry its bundles, for nothing refers to a commit."""


class EvidenceView:
    """Answers `evidence`."""

    def __init__(self, facts: Facts, store: OciStore, trust: TrustRoot, reader: DeliveryReader, runs: RunsView) -> None:
        self._facts = facts
        self._store = store
        self._trust = trust
        self._reader = reader
        self._runs = runs

    def evidence(self, thing: str, environment: str | None = None) -> EvidenceReport:
        """Return everything attached to application `thing` in an environment, or to a digest, run or promotion.

        Raises:
            NotFoundError: nothing of this home has this name (SP708), or no such application or environment.
        """
        title, places = self._places(thing, environment)
        return EvidenceReport(title, tuple(self._subject(place) for place in places))

    def export(self, thing: str, environment: str | None = None) -> bytes:
        """Return the same as a deterministic tar that can be verified offline; raises what `evidence` raises."""
        title, places = self._places(thing, environment)
        return pack(title, [self._packed(place) for place in places], self._trust)

    def original(self, thing: str, environment: str | None, name: str) -> Original:
        """Return a scanner's report as its tool wrote it, by the name that its task declares or by its digest; the newest of a place.

        Raises:
            NotFoundError: nothing of this name is there, or its bytes are gone (SP715); and what `evidence` raises.
            UserError: artifacts or tasks have different ones of this name (SP716).
        """
        _, places = self._places(thing, environment)
        found: dict[str, tuple[_Place, Document]] = {}
        for place in places:
            newest: dict[str, Document] = {}
            for item in self._attached(place):
                document = document_of(item.statement) if item.statement is not None and item.role else None
                if document is not None and item.statement is not None and name in (item.statement.own.get("report"), document.digest):
                    newest[document.digest if name == document.digest else str(item.statement.own.get("task", ""))] = document
            found.update({document.digest: (place, document) for document in newest.values()})
        if not found:
            raise NotFoundError(
                "SP715", f"there is no original of a report `{name}` here", fix=f"setpoint evidence {thing} lists what is there"
            )
        if len(found) > 1:
            listed = "; ".join(f"{one.digest} ({place.name})" for place, one in found.values())
            raise UserError("SP716", f"there are {len(found)} originals of `{name}`", fix=f"name one by its digest: {listed}")
        ((place, document),) = found.values()
        data = self._document(place, document)
        if data is None:
            fix = "the statement about it holds still; run the pipeline again for another original"
            raise NotFoundError("SP715", f"the original of `{name}` is gone or damaged", where=document.digest, fix=fix)
        return Original(data, document.media_type, document.name)

    def _document(self, place: _Place, document: Document) -> bytes | None:
        """Return a document's bytes, None when they are not there or others."""
        try:
            data = self._store.read_blob(place.oci_repository, document.digest, _DOCUMENT_BYTES)
        except SetpointError:
            return None
        return data if digest.sha256(data) == document.digest else None

    def _documents(self, place: _Place, found: Sequence[Attached]) -> dict[str, bytes]:
        documents = [document_of(item.statement) for item in found if item.statement is not None and item.role]
        read = {one.digest: self._document(place, one) for one in documents if one is not None}
        return {name: data for name, data in read.items() if data is not None}

    def _subject(self, place: _Place) -> EvidenceSubject:
        bundles = tuple(_bundle(item) for item in self._attached(place))
        return EvidenceSubject(place.kind, place.name, place.oci_repository, place.digest, bundles)

    def _packed(self, place: _Place) -> PackedSubject:
        data = None
        if place.kind != "revision":
            try:
                stored = self._store.manifest(place.oci_repository, place.digest)
            except SetpointError:  # damaged bytes: their bundles still say so
                stored = None
            data = stored.data if stored is not None else None
        title = f"{place.kind} {place.name}: {place.oci_repository}@{place.digest}"
        found = self._attached(place)
        return PackedSubject(title, place.digest, data, found, self._documents(place, found))

    def _attached(self, place: _Place) -> list[Attached]:
        return attached(self._store, self._trust, place.oci_repository, place.digest, place.manifests)

    def _places(self, thing: str, environment: str | None) -> tuple[str, Sequence[_Place]]:
        if environment is not None:
            return self._of_pin(thing, environment)
        if digest.is_digest(thing.rpartition("@")[2]):
            return thing, self._of_digest(thing)
        if (promotion := self._facts.promotion(thing)) is not None:
            return f"promotion {promotion.promotion}", _of_candidate(promotion.candidate)
        try:
            run = self._runs.find(thing).run
        except NotFoundError as error:
            raise NotFoundError("SP708", f"there is no evidence under `{thing}`", fix=_FIX) from error
        return f"run {run}", self._of_run(run)

    def _of_pin(self, app: str, environment: str) -> tuple[str, Sequence[_Place]]:
        delivery = self._reader.require(app, environment)
        pin = self._reader.pin(delivery, environment, app)
        if pin is None:
            raise NotFoundError("SP708", f"nothing is pinned for {app} in {environment}", fix=f"setpoint why {app} {environment}")
        return f"{app} in {environment}: {pin.version or pin.promotion}", _of_candidate(pin.candidate)

    def _of_digest(self, thing: str) -> list[_Place]:
        named, _, wanted = thing.rpartition("@")
        names = [named] if named else self._store.repositories()
        found = [name for name in names if self._store.manifest(name, wanted) is not None]
        if not found:
            raise NotFoundError("SP708", f"no repository has {wanted}", fix=_FIX)
        return [_Place("candidate" if name.startswith(_CANDIDATES) else "artifact", name, name, wanted) for name in found]

    def _of_run(self, run: str) -> list[_Place]:
        places = {
            (a.oci_repository, a.digest): _Place("artifact", a.name, a.oci_repository, a.digest) for a in self._facts.artifacts(run=run)
        }
        revisions: dict[tuple[str, str], list[str]] = {}
        for record in self._facts.evidence(run=run):
            if digest.is_digest(record.subject):
                name = record.artifact or record.oci_repository
                places.setdefault((record.oci_repository, record.subject), _Place("artifact", name, record.oci_repository, record.subject))
            else:
                revisions.setdefault((record.oci_repository, record.subject), []).append(record.manifest)
        # Nothing was built, so the revision itself is the subject.
        without = [_Place("revision", digest.short(subject), repo, subject, tuple(found)) for (repo, subject), found in revisions.items()]
        return [*places.values(), *without]


def _of_candidate(candidate: Candidate) -> list[_Place]:
    artifacts = [_Place("artifact", name, a.oci_repository, a.digest) for name, a in sorted(candidate.artifacts.items())]
    name = f"{candidate.app} in {candidate.environment}"
    return [*artifacts, _Place("candidate", name, candidate_repository(candidate.app), candidate_digest(candidate.data()))]


def _bundle(item: Attached) -> AttachedBundle:
    document = document_of(item.statement) if item.statement is not None else None
    return AttachedBundle(
        predicate_type=item.statement.predicate_type if item.statement is not None else "",
        result=result_of(item.statement),
        summary=summary_of(item.statement),
        signer=item.role,
        verified=bool(item.role),
        fault=item.fault,
        bundle=digest.sha256(item.data) if item.data else "",
        manifest=item.manifest,
        size_bytes=len(item.data),
        at=item.at,
        report=str(item.statement.own.get("report", "")) if item.statement is not None else "",
        document=document.digest if document is not None else "",
        counts=summary_in(item.statement) if item.statement is not None else {},
    )
