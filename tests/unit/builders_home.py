"""A small home for tests of services: real journal, projection and Git in a folder; signer, renderer and checks are fakes with a memory."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pygit2

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.app.bus import Bus
from setpoint.app.recorder import JournalRecorder
from setpoint.artifact.model import ArtifactRecord
from setpoint.core import clock, digest
from setpoint.core.errors import UserError, WorldError
from setpoint.core.records import encode
from setpoint.evidence.model import APPROVAL, SANDBOXED_BUILDER, SUMMARY, ArtifactEvidence, EvidenceRecord
from setpoint.evidence.ports import Signed, SigningKind
from setpoint.evidence.service import EvidenceService
from setpoint.ground.hold.service import Holds
from setpoint.ground.identity.model import Directory, Principal
from setpoint.ground.journal.model import Entry, Fact
from setpoint.ground.journal.service import Journal
from setpoint.pipeline.model import Run, RunState
from setpoint.promotion import pin
from setpoint.promotion.builds import Builds
from setpoint.promotion.commits import Signature, SignedCommits
from setpoint.promotion.facts import FactGatherer, FactParts
from setpoint.promotion.model import Candidate, Pin, PolicyResult, Promotion, PromotionState, RenderFacts
from setpoint.promotion.parts import PromotionParts
from setpoint.promotion.people import Exclusions
from setpoint.promotion.pinning import Pinning, PinningParts
from setpoint.promotion.pod_standard import PodStandard, PodVerdict
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.service import PromotionService
from setpoint.reconcile.model import Deployment, Health
from setpoint.reconcile.upstream import Upstreams
from setpoint.source.model import RefUpdate

ZERO = "0" * 40
START = datetime(2026, 11, 23, 6, tzinfo=UTC)
SETPOINT = b"""apiVersion: setpoint.dev/v1alpha1
kind: Setpoint
apps: {web: {source: hello}}
people:
  ada: {emails: [ada@example.com]}
  sam: {emails: [sam@example.com]}
  pat: {emails: [pat@example.com]}
  bot: {emails: [bot@example.com], kind: machine}
teams: {sre: [sam, pat, bot], dev: [ada]}
owners: ["person:sam"]
"""
STAGING = b"""apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:7501"}}
owners: ["team:dev"]
"""
PROD = b"""apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:7502"}}
after: [staging]
owners: ["team:sre"]
gates:
  policy: evidence.tests.failed == 0
  approvals: {required: 1, from: ["team:sre"]}
"""
DELIVERY = {
    "setpoint.yaml": SETPOINT,
    "environments/staging/environment.yaml": STAGING,
    "environments/prod/environment.yaml": PROD,
    "apps/web/app.yaml": b"base 1",
    "environments/prod/web/patch.yaml": b"patch 1",
}
OPERATOR = Principal("operator")
ADA, SAM, PAT = (Principal("person", f"{name}@example.com") for name in ("ada", "sam", "pat"))


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.instant = START

    def now(self) -> datetime:
        """Return the instant it stands at."""
        return self.instant

    def move(self, seconds: float) -> None:
        """Move on, or back."""
        self.instant += timedelta(seconds=seconds)


class KilledError(Exception):
    """The process ended here."""


class MortalRecorder:
    """A recorder whose process dies when `lives` entries were written (None: never), or before an entry of the kind `dies_at`."""

    def __init__(self, inner: JournalRecorder) -> None:
        self.inner = inner
        self.lives: int | None = None
        self.dies_at = ""

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Write, or die before it."""
        if kind == self.dies_at:
            raise KilledError(kind)
        if self.lives is not None:
            if self.lives == 0:
                raise KilledError(kind)
            self.lives -= 1
        return self.inner.record(kind, subject, actor, body)

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Write all in one, or die before any of them; at `dies_at` a power cut keeps only the lines before it."""
        kinds = [fact.kind for fact in facts]
        if self.dies_at in kinds:
            self.inner.record_all(facts[: kinds.index(self.dies_at)])
            raise KilledError(self.dies_at)
        if facts and self.lives is not None:
            if self.lives == 0:
                raise KilledError(facts[0].kind)
            self.lives -= 1
        return self.inner.record_all(facts)


class FakeEvidence(EvidenceService):
    """Journals statements without signing: once per promotion and result, once per approval."""

    def __init__(self, world: "World", store: OciStoreFolder) -> None:
        super().__init__(world, store, ContentFolder(store.root.parent / "content"), world.recorder, world.records)
        self._world = world

    def attach_promotion(self, promotion: str) -> EvidenceRecord:
        """Journal the gate statement of the last decision, once."""
        found = self._world.records.promotion(promotion)
        assert found is not None
        assert found.state in (PromotionState.DECIDED, PromotionState.DENIED), "only what is decided has a statement"
        result = "FAILED" if found.state is PromotionState.DENIED else "PASSED"
        return self._once(SUMMARY, promotion, found.candidate.digest, result)

    def attach_approval(self, promotion: str, email: str) -> EvidenceRecord:
        """Journal the approval's statement, once."""
        return self._once(APPROVAL, promotion, digest.sha256(f"{promotion} {email}".encode()), "PASSED")

    def _once(self, kind: str, promotion: str, subject: str, result: str) -> EvidenceRecord:
        made = EvidenceRecord(kind, digest.sha256(f"{kind}{subject}".encode()), "", "candidates/web", subject, result, promotion=promotion)
        present = [e for e in self._world.records.evidence(promotion=promotion) if (e.bundle, e.result) == (made.bundle, result)]
        if not present:
            self._world.recorder.record("evidence.attached", subject, "setpoint", encode(made))
        return present[0] if present else made


class World:
    """One home; a new service is a restart of the server."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.clock = ManualClock()
        self.git = GitRepositories(root / "repositories")
        self.journal = Journal(JournalFolder(root / "journal", writable=True), self.clock)
        engine = open_database(root / "setpoint.db")
        self.records = Records(engine)
        inner = JournalRecorder(self.journal, Projection(engine), Bus())
        inner.catch_up()
        self.recorder = MortalRecorder(inner)
        self.holds = Holds(self.records, self.recorder, self.clock, lambda: self.journal.last_at)
        self.inadmissible = ""
        """Why no earlier pin may come back."""
        self.evidence = FakeEvidence(self, OciStoreFolder(root / "registry"))
        self.reader = DeliveryReader(self.git, self.records, self.recorder, self)
        self.render_error = ""
        self.lost: tuple[str, ...] = ()
        """What every change of what is pinned loses."""
        self.message = "change"
        """What commits say."""
        self.signer_gone = False
        self.passes = True
        self.moved_by: dict[str, bytes] = {}
        """Files that somebody commits while the signer works: a lost race."""
        self.signatures: dict[str, Signature] = {}
        """Who signed which commit."""
        self.sealed: set[str] = set()
        """Commits that Setpoint signed."""

    # The fakes of the ports

    def compile_error(self, expression: str) -> str:
        """Be a policy engine to which every expression compiles that does not say `broken`."""
        return "1:1: broken" if "broken" in expression else ""

    def evaluate(self, expression: str, facts: dict[str, Any]) -> PolicyResult:
        """Be a policy engine."""
        return PolicyResult(expression, self.passes, "asked")

    def render_facts(self, candidate: Candidate, delivery: str) -> RenderFacts:
        """Be a renderer: the digest is a function of the candidate."""
        return RenderFacts("" if self.render_error else candidate.digest, ("Deployment/web",), self.render_error)

    def pods(self, candidate: Candidate, delivery: str, standard: PodStandard) -> PodVerdict | None:
        """Be a renderer whose pods keep to everything."""
        return PodVerdict(1)

    def of(self, repository: str, commit: str, directory: Directory) -> Signature:
        """Be the check of signatures: what the test says of a commit, else it carries none."""
        return self.signatures.get(commit, Signature("none", "", "it carries no signature"))

    def losses(self, candidate: Candidate, pinned: Candidate | None, delivery: str) -> tuple[str, ...]:
        """Be a renderer for which a change loses what the test says."""
        return self.lost if pinned is not None and pinned != candidate else ()

    def check(self, base_url: str, path: str, status: int) -> tuple[bool, str]:
        """Be an HTTP check that always passes."""
        return True, f"status {status}"

    def artifact(self, name: str, oci_repository: str, digest: str) -> ArtifactEvidence:
        """Be the evidence of an artifact that a sandboxed run built and tested."""
        return ArtifactEvidence(name, digest, True, SANDBOXED_BUILDER, "a" * 40, 3, 0, 0, "PASSED")

    def sign(self, kind: SigningKind, subject_id: str, context: str = "") -> list[Signed]:
        """Be the signer of pin commits; the signature is a text that names the promotion."""
        if self.signer_gone:
            raise WorldError("SP405", "the signer is gone")
        promotion = self.records.promotion(subject_id)
        assert promotion is not None
        barred = {q.candidate for q in self.records.quarantines(promotion.candidate.app, promotion.candidate.environment)}
        if kind != "pin" or promotion.state is not PromotionState.DECIDED or promotion.candidate.digest in barred:
            raise UserError("SP404", f"nothing to sign in state {promotion.state}")
        path = pin.pin_path(promotion.candidate.environment, promotion.candidate.app)
        tree = self.git.write_tree("delivery", context, {path: pin.render_pin(pin.pin_of(promotion))})
        payload = pin.commit_payload(tree, context, pin.commit_message(promotion), clock.to_text(self.clock.now()))
        if self.moved_by:
            self.commit("delivery", self.moved_by, pusher="sam@example.com")
            self.moved_by = {}
        return [Signed("", subject_id, "", payload, b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")]

    # What happens in the home

    def commit(
        self,
        repository: str,
        files: Mapping[str, bytes],
        *,
        remove: Iterable[str] = (),
        author: str = "ada@example.com",
        pusher: str | None = "ada@example.com",
        parents: list[str] | None = None,
    ) -> str:
        """Commit files on main and journal the push; without pusher it is made by path."""
        if repository not in self.git.names():
            self.git.create(repository)
            self.recorder.record("repository.created", repository, "operator", {})
        before = self.git.heads(repository).get("main")
        parents = parents if parents is not None else ([before] if before else [])
        bare = pygit2.Repository(str(self.git.path(repository)))
        index = pygit2.Index()
        if parents:
            index.read_tree(bare[parents[0]].peel(pygit2.Tree))
        for path in remove:
            index.remove(path)
        for path, data in files.items():
            index.add(pygit2.IndexEntry(path, bare.create_blob(data), pygit2.enums.FileMode.BLOB))
        who = pygit2.Signature("Somebody", author, int(self.clock.now().timestamp()), 0)
        tree = index.write_tree(bare)
        commit = str(bare.create_commit(None, who, who, self.message, tree, [pygit2.Oid(hex=parent) for parent in parents]))
        assert self.git.advance(repository, "main", before, commit)
        if pusher is not None:
            self.pushed(repository, before or ZERO, commit, pusher)
        return commit

    def pushed(self, repository: str, old: str, new: str, pusher: str) -> None:
        """Journal a push to main."""
        body = {"updates": [encode(RefUpdate("refs/heads/main", old, new))], "pusher": pusher}
        self.recorder.record("push.received", repository, f"person:{pusher}", body)

    def register(self, files: Mapping[str, bytes] = DELIVERY) -> str:
        """Make the delivery repository and accept its first commit."""
        commit = self.commit("delivery", files, pusher="sam@example.com")
        self.recorder.record("delivery.registered", "delivery", "operator", {"branch": "main"})
        self.recorder.record("baseline.accepted", "delivery", "operator", {"commit": commit, "why": "init"})
        return commit

    def build(
        self, version: str, *, author: str = "ada@example.com", state: RunState = RunState.PASSED, content: str = ""
    ) -> ArtifactRecord:
        """Push a revision of the source and journal the run that built it; the image's digest is that of the content."""
        commit = self.commit("hello", {"app.py": (content or version).encode()}, author=author)
        at = clock.to_text(self.clock.now())
        run = Run(f"r-{version}", "hello", "refs/heads/main", commit, commit, version, author, author, RunState.RUNNING, at)
        self.recorder.record("run.created", run.run, "setpoint", encode(run))
        image = digest.sha256((content or version).encode())
        record = ArtifactRecord("hello", "web", "hello/web", image, 1, run.run, commit, version, at, (), "", "host")
        if state is RunState.PASSED:
            self.recorder.record("artifact.built", image, "setpoint", encode(record))
        self.recorder.record("run.finished", run.run, "setpoint", {"state": state.value, "error": ""})
        return record

    def service(self) -> PromotionService:
        """Return a promotion service that knows nothing but what is on disk."""
        self.reader = DeliveryReader(self.git, self.records, self.recorder, self)
        facts = FactParts(
            delivery=self.reader,
            records=self.records,
            evidence=self,
            renderer=self,
            upstreams=Upstreams(self.reader, self.records),
            checks=self,
            policy=self,
            exclusions=Exclusions(self.git, self.records),
            signed=SignedCommits(self.git, Exclusions(self.git, self.records), self),
            holds=self.holds,
            clock=self.clock,
        )
        pinning = Pinning(PinningParts(self.git, self, self.evidence, self.recorder))
        builds = Builds(self.git, self.records)
        gatherer = FactGatherer(facts)
        return PromotionService(
            PromotionParts(
                delivery=self.reader,
                records=self.records,
                recorder=self.recorder,
                gatherer=gatherer,
                builds=builds,
                pinning=pinning,
                evidence=self.evidence,
                clock=self.clock,
                holds=self.holds,
                admissible=lambda _repository, _pin: self.inadmissible,
                changes=self.records,
            )
        )

    def forget_the_database(self) -> None:
        """Fold the whole journal into a new database, as a start without one does."""
        engine = open_database(self.root / "anew.db")
        Projection(engine).apply(self.journal.entries())
        self.records = Records(engine)

    # What a test looks at

    def delivery(self) -> Delivery:
        """Return the delivery repository as of now."""
        found = self.reader.load()
        assert found is not None
        return found

    def pinned(self, environment: str, app: str = "web") -> Pin | None:
        """Return the pin at HEAD."""
        return self.reader.pin(self.delivery(), environment, app)

    def version(self, environment: str) -> str:
        """Return the pinned version, empty when nothing is pinned."""
        found = self.pinned(environment)
        return found.version if found is not None else ""

    def healthy(self, environment: str, app: str = "web") -> None:
        """Journal that what is pinned is healthy."""
        found = self.pinned(environment, app)
        assert found is not None
        at = clock.to_text(self.clock.now())
        seen = Deployment(
            app, environment, found.promotion, found.commit, Health.HEALTHY, at, version=found.version, revision=found.source_revision
        )
        self.recorder.record("deployment.observed", f"{app}/{environment}", "setpoint", encode(seen))

    def promotions(self, environment: str) -> list[Promotion]:
        """Return an environment's promotions, oldest first."""
        return self.records.promotions("web", environment)[::-1]

    def kinds(self) -> list[str]:
        """Return the kinds of all entries."""
        return [entry.kind for entry in self.journal.entries()]

    def states(self, environment: str) -> list[str]:
        """Return the states of an environment's promotions, oldest first."""
        return [promotion.state.value for promotion in self.promotions(environment)]

    def to_prod(self, service: PromotionService) -> Promotion:
        """Take the newest build through staging and Pat's approval into prod."""
        service.advance()
        self.healthy("staging")
        service.advance()
        waiting = self.promotions("prod")[-1]
        service.approve(waiting.promotion, PAT, "ok")
        service.advance()
        return replace(waiting)
