"""A small home with real Git, registry, content, journal and keys, in which runs and promotions can be journalled for the signer."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pygit2
import pytest

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.json_schema import JsonSchemaProcess
from setpoint.adapters.keys import KeyFolder
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.scans import ScanProcess
from setpoint.adapters.signer import protocol
from setpoint.adapters.signer.client import SignerPaths
from setpoint.adapters.signer.ledger import Ledger
from setpoint.adapters.signer.process import SigningDesk
from setpoint.adapters.signer.runs import Sources
from setpoint.artifact.model import CONFIG, LABEL_TOOLCHAIN, LAYER, MANIFEST, ArtifactRecord
from setpoint.core import canonical
from setpoint.core.reasons import Outcome, Reason, conclude
from setpoint.core.records import decode, encode
from setpoint.evidence.model import EvidenceRecord
from setpoint.evidence.ports import Signed, SigningKind
from setpoint.evidence.service import EvidenceService
from setpoint.evidence.verify import TrustRoot
from setpoint.ground.journal.model import Entry, Fact
from setpoint.ground.journal.service import Journal
from setpoint.pipeline.config import parse_pipeline, select_inputs
from setpoint.pipeline.decide import input_root, key_manifest, key_of
from setpoint.pipeline.model import Run, RunState, TaskResult, TaskState, ToolchainFacts
from setpoint.promotion.model import Approval, Candidate, PinnedArtifact, Promotion

PIPELINE = b"""apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  deps: {inputs: [requirements.lock], network: true, run: fetch, outputs: [vendor/]}
  test: {needs: [deps], inputs: ["src/**", "tests/**"], run: test, evidence: {tests: report.xml}}
artifacts:
  web:
    needs: [test]
    image: {base: host, copy: {"src/": /app/, "deps:vendor/": /app/vendor/}, command: [python3]}
"""
FILES = {".setpoint/pipeline.yaml": PIPELINE, "src/a.py": b"a", "tests/t.py": b"t", "requirements.lock": b"r", "README": b"r"}
REPORT = b'<testsuite><testcase name="a"/><testcase name="b"/></testsuite>'
FAILING = b'<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>'
TOOLCHAIN = ToolchainFacts("sha256:" + "e" * 64, "3.11.2", "linux/amd64", 3)
POLICY = b'apiVersion: setpoint.dev/v1alpha1\nkind: Environment\ntarget: {host: {listen: "127.0.0.1:7502"}}\n'


class Story:
    """One home; every method journals what the services would, and the signer runs in this process unless a test starts its own."""

    def __init__(self, root: Path) -> None:
        names = ("journal", "keys", "repositories", "registry", "content")
        self.paths = SignerPaths(**{name: root / name for name in names})
        self.git = GitRepositories(self.paths.repositories)
        self.store = OciStoreFolder(self.paths.registry)
        self.content = ContentFolder(self.paths.content)
        self._now = datetime(2026, 11, 23, 6, tzinfo=UTC)
        self.journal = Journal(JournalFolder(self.paths.journal, writable=True), self)
        sources = Sources(
            Ledger(JournalFolder(self.paths.journal, writable=False)),
            self.git,
            self.store,
            self.content,
            JsonSchemaProcess(),
            ScanProcess(),
        )
        self.desk = SigningDesk(KeyFolder(self.paths.keys), sources)
        self.evidence_service = EvidenceService(self, self.store, self.content, self, self)
        self.trust = TrustRoot({})

    def now(self) -> datetime:
        """Return a time that moves on by a second with every look."""
        self._now += timedelta(seconds=1)
        return self._now

    def sign(self, kind: SigningKind, subject_id: str, context: str = "") -> list[Signed]:
        """Be the signer, by the very desk that the process serves."""
        answer = self.desk.answer("sign", {"kind": kind, "subject": subject_id, "context": context})
        return [protocol.decode_signed(item) for item in answer]

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        """Be the recorder."""
        return self.journal.append(kind, subject, actor, body)

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        """Write one after the other."""
        return [self.record(fact.kind, fact.subject, fact.actor, fact.body) for fact in facts]

    def evidence(self, *, subject: str | None = None, run: str | None = None, promotion: str | None = None) -> list[EvidenceRecord]:
        """Be the records of evidence, read from the journal."""
        every = [decode(EvidenceRecord, entry.body) for entry in self.journal.entries() if entry.kind == "evidence.attached"]
        wanted = {"subject": subject, "run": run, "promotion": promotion}
        return [record for record in every if all(value in (None, getattr(record, name)) for name, value in wanted.items())]

    def create_home(self) -> None:
        """Make the keys and journal the trust root and two repositories."""
        self.trust = TrustRoot(self.desk.answer("public_keys", {}))
        self.record("home.created", "home", "setpoint", {"version": 1, "keys": self.trust.keys})
        for name in ("hello", "delivery"):
            self.git.create(name)
            self.record("repository.created", name, "operator", {})
        self.record("delivery.registered", "delivery", "operator", {"branch": "main"})

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Commit files on main."""
        parent = self.git.heads(repository).get("main")
        tree = self.git.write_tree(repository, parent, files)
        who = pygit2.Signature("Ada", "ada@example.com", int(self.now().timestamp()), 0)
        bare = pygit2.Repository(str(self.git.path(repository)))
        parents = [pygit2.Oid(hex=parent)] if parent else []
        return str(bare.create_commit("refs/heads/main", who, who, "change", pygit2.Oid(hex=tree), parents))

    def run(
        self,
        name: str,
        *,
        report: bytes | None = REPORT,
        passed: bool = True,
        files: dict[str, bytes] | None = None,
        reports: dict[str, bytes] | None = None,
    ) -> Run:
        """Journal a run of a new commit whose tasks have ended; `test` left the report, and whoever declares them the JSON reports."""
        revision = self.git.revision("hello", self.commit("hello", files or FILES))
        blob = self.git.tree_id("hello", revision.commit, ".setpoint/pipeline.yaml") or ""
        at = "2026-11-23T06:00:00.000Z"
        who = "ada@example.com"
        run = Run(name, "hello", "refs/heads/main", revision.commit, revision.tree, "t", who, who, RunState.RUNNING, at, pipeline=blob)
        self.record("run.created", name, "setpoint", encode(run))
        document = parse_pipeline(self.git.blob("hello", blob), "pipeline.yaml")
        tree = self.git.files("hello", revision.tree)
        results: dict[str, TaskResult] = {}
        for task in document.order:
            config = document.tasks[task]
            upstream = {need: results[need] for need in config.needs}
            manifest = key_manifest(config, input_root(select_inputs(config.reads, tree)), upstream, TOOLCHAIN, "trusted")
            result = TaskResult(name, task, TaskState.PASSED, key_of(manifest), manifest, 0, at, at, networked=config.network)
            if config.outputs:
                result = replace(result, outputs=self.content.put(task.encode()))
            if config.evidence and report is not None:
                state = TaskState.PASSED if passed else TaskState.FAILED
                result = replace(result, state=state, reports={"tests": self.content.put(report)})
            made = {kind: self.content.put(data) for kind, data in (reports or {}).items() if kind in config.reports}
            result = replace(result, reports={**result.reports, **made})
            self.record("task.started", name, "setpoint", {"task": task, "key": result.key})
            self.record("task.finished", name, "setpoint", encode(result))
            results[task] = result
        return run

    def build(self, run: Run, content: bytes = b"layer", artifact: str = "web") -> ArtifactRecord:
        """Push an image and journal it as the run's artifact."""
        repository = f"hello/{artifact}"
        config = canonical.dumps({"config": {"Labels": {LABEL_TOOLCHAIN: TOOLCHAIN.fingerprint}}})
        blobs = [self.store.put_blob(repository, config, CONFIG), self.store.put_blob(repository, content, LAYER)]
        described = [{"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size_bytes} for blob in blobs]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        pushed = self.store.put_manifest(repository, json.dumps(manifest).encode(), MANIFEST)
        at = "2026-11-23T06:00:00.000Z"
        inputs = input_root(file for file in self.git.files("hello", run.tree) if file.path.startswith("src/"))
        record = ArtifactRecord("hello", artifact, repository, pushed.digest, 1, run.run, run.revision, "1", at, ("deps",), inputs, "host")
        self.record("artifact.built", record.digest, "setpoint", encode(record))
        return record

    def promote(self, name: str, record: ArtifactRecord | None, environment: str = "prod", **changes: Any) -> Promotion:
        """Journal a promotion of an artifact with the delivery repository's configuration at HEAD."""
        head = self.git.heads("delivery").get("main") or self.commit(
            "delivery",
            {
                "setpoint.yaml": b"s",
                "apps/web/deploy.yaml": b"d",
                "environments/prod/environment.yaml": POLICY,
                "environments/prod/web/patch.yaml": b"p",
            },
        )
        trees = [self.git.tree_id("delivery", head, path) for path in ("apps/web", f"environments/{environment}/web")]
        artifacts = {record.name: PinnedArtifact(record.oci_repository, record.digest)} if record else {}
        promotion = Promotion(
            promotion=name,
            kind="advance",
            candidate=Candidate("web", environment, artifacts, trees[0], trees[1]),
            source_repository="hello" if record else "",
            source_revision=record.revision if record else "",
            version="1",
            delivery_commit=head,
            accepted_commit=head,
            policy=self.git.tree_id("delivery", head, f"environments/{environment}/environment.yaml") or "",
            binding="sha256:" + "b" * 64,
            requested_by="setpoint",
            created_at="2026-11-23T06:00:00.000Z",
        )
        promotion = replace(promotion, **changes)
        self.record("promotion.created", name, "setpoint", encode(promotion))
        return promotion

    def approve(self, promotion: Promotion, binding: str = "") -> None:
        """Journal Ada's approval."""
        given = Approval(promotion.promotion, "Ada", "ada@example.com", binding or promotion.binding, "ok", "2026-11-23T07:00:00.000Z")
        self.record("approval.given", promotion.promotion, "person:ada@example.com", encode(given))

    def decide(self, promotion: Promotion, outcome: Outcome = Outcome.ALLOW) -> None:
        """Journal a decision."""
        verdict = conclude([Reason("POLICY_PASSED", outcome, "policy", "found")])
        state = "decided" if outcome is Outcome.ALLOW else "denied"
        self.record("promotion.decided", promotion.promotion, "setpoint", {"state": state, "verdict": encode(verdict)})

    def pin(self, promotion: Promotion) -> str:
        """Sign and write the pin's commit on main; returns its id."""
        head = self.git.heads("delivery")["main"]
        self.record("pin.intended", promotion.promotion, "setpoint", {"parent": head})
        (signed,) = self.sign("pin", promotion.promotion, head)
        commit = self.git.write_signed_commit("delivery", signed.payload, signed.signature)
        assert self.git.advance("delivery", "main", head, commit)
        return commit

    def released(self, name: str = "p-1", content: bytes = b"layer") -> Promotion:
        """Go the whole road: run, artifact, evidence, approval, decision, gate statement."""
        run = self.run(f"r-{name}")
        record = self.build(run, content)
        self.evidence_service.attach_run(run.run)
        promotion = self.promote(name, record)
        self.approve(promotion)
        self.evidence_service.attach_approval(name, "ada@example.com")
        self.decide(promotion)
        self.evidence_service.attach_promotion(name)
        return promotion


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A created home."""
    made = Story(tmp_path)
    made.create_home()
    return made
