"""Scanners' reports on the signer's desk: counted again, signed under the right type, kept with their originals, heard when they count."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest

from contract.signer.conftest import FILES, PIPELINE, Story
from setpoint.adapters.scans import ScanProcess
from setpoint.artifact.model import Descriptor
from setpoint.core import digest
from setpoint.core.errors import NotFoundError, SetpointError
from setpoint.core.records import decode, encode
from setpoint.evidence.bundle import parse_bundle, parse_statement
from setpoint.evidence.facts import EvidenceFacts
from setpoint.evidence.lines import NamedArtifact, verify_lines
from setpoint.evidence.model import BUNDLE, CYCLONEDX, EvidenceRecord, Statement
from setpoint.evidence.ports import Signed
from setpoint.evidence.scans.summary import summarize
from setpoint.evidence.verify import verify_bundle
from setpoint.ground.identity.model import Role
from setpoint.observe.evidence import EvidenceView
from setpoint.pipeline.model import TaskState

SARIF_SUMMARY = "https://setpoint.dev/attestations/sarif/v1"
BOM_SUMMARY = "https://setpoint.dev/attestations/cyclonedx/v1"
SARIF = json.dumps(
    {
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "semgrep", "version": "1.2"}},
                "results": [{"level": "error", "ruleId": "E1"}, {"level": "warning"}, {"suppressions": [{"kind": "inSource"}]}],
            }
        ],
    }
).encode()
PARTS: dict[str, Any] = {
    "components": [{"type": "library", "name": "jinja2", "purl": "pkg:pypi/jinja2@3.1", "licenses": [{"license": {"id": "BSD-3-Clause"}}]}],
    "vulnerabilities": [{"id": "CVE-2026-1", "ratings": [{"severity": "high"}]}],
}
BOM = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", **PARTS}, indent=1).encode()
LINE = (
    b'  test: {needs: [deps], inputs: ["src/**", "tests/**"], run: test, evidence: {tests: report.xml}, '
    b"reports: {scan: {file: out/scan.sarif, format: sarif}, sbom: {file: bom.json, format: cyclonedx}}}\n"
)
SCANS = {"scan": SARIF, "sbom": BOM}


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read reports here: the process of its own has its tests, and costs a third of a second each time."""
    monkeypatch.setattr(ScanProcess, "summary", lambda _self, format_, report: summarize(format_, report))


def files(line: bytes = LINE) -> dict[str, bytes]:
    """Return the source with scans declared."""
    lines = PIPELINE.splitlines(keepends=True)
    return {**FILES, ".setpoint/pipeline.yaml": b"".join(line if one.startswith(b"  test:") else one for one in lines)}


def scanned(story: Story, name: str = "r-1", **reports: bytes) -> Any:
    """Journal a run whose task left these, and its artifact; returns the artifact."""
    record = story.build(story.run(name, files=files(), reports={**SCANS, **reports}))
    story.evidence_service.attach_run(name)
    return record


def facts_of(story: Story, record: Any) -> Any:
    """Return what counts of what is attached."""
    return EvidenceFacts(story.store, story.trust).artifact("web", record.oci_repository, record.digest)


def signed_as(story: Story, report: str, run: str = "r-1") -> tuple[Signed, Statement]:
    """Return what the desk signs of a report."""
    found = next(item for item in story.sign("run", run) if item.report == report)
    return found, parse_statement(parse_bundle(found.payload).payload)


def view(story: Story) -> EvidenceView:
    """Return what answers `setpoint evidence` for digests."""
    return EvidenceView(cast("Any", story), story.store, story.trust, cast("Any", None), cast("Any", None))


def test_sarif_is_signed_as_its_counts_with_the_digest_of_the_document(story: Story) -> None:
    """The predicate holds what the signer counted itself; the document is named, not repeated."""
    record = scanned(story)
    signed, statement = signed_as(story, "scan")
    assert (signed.predicate_type, signed.result) == (SARIF_SUMMARY, "PASSED")
    assert verify_bundle(signed.payload, story.trust, ("sha256", record.digest[7:])).role is Role.SCANNER
    assert statement.predicate["summary"]["findings"] == {"error": 1, "warning": 1, "note": 0, "none": 0, "total": 2}
    wanted = {
        "name": "scan.sarif",
        "digest": {"sha256": digest.sha256(SARIF)[7:]},
        "mediaType": "application/sarif+json",
        "size": len(SARIF),
    }
    assert statement.predicate["document"] == wanted == statement.own["document"]
    assert signed.summary == "scan: 1 error, 1 warning by semgrep 1.2; 1 suppressed"


def test_cyclonedx_is_signed_as_it_is_under_its_own_type(story: Story) -> None:
    """The predicate is the document; the counts lie beside it, and policies see them."""
    record = scanned(story)
    signed, statement = signed_as(story, "sbom")
    assert (signed.predicate_type, statement.predicate) == (CYCLONEDX, json.loads(BOM))
    facts = facts_of(story, record)
    assert facts.reports["sbom"].result == "PASSED"
    assert facts.reports["sbom"].report["vulnerabilities"]["high"] == 1
    assert facts.reports["scan"].report["suppressed"] == 1
    assert facts.faults == ()


def test_the_original_lies_in_the_registry_under_its_media_type(story: Story) -> None:
    """A referrer of the artifact that carries the very bytes; the journal names it."""
    record = scanned(story)
    (listed,) = story.store.referrers(record.oci_repository, record.digest, "application/vnd.cyclonedx+json")
    manifest = story.store.manifest(record.oci_repository, listed.digest)
    assert manifest is not None
    (layer,) = json.loads(manifest.data)["layers"]
    assert layer["annotations"]["org.opencontainers.image.title"] == "bom.json"
    assert story.store.read_blob(record.oci_repository, layer["digest"]) == BOM
    journalled = next(item for item in story.evidence(run="r-1") if item.report == "sbom")
    assert journalled.document is not None
    assert (journalled.document.digest, journalled.document.manifest) == (digest.sha256(BOM), listed.digest)


def test_scans_are_attached_once(story: Story) -> None:
    """Attaching again attaches nothing, and two reports of one task under one type are two."""
    line = LINE.replace(b"reports: {", b"reports: {again: {file: again.sarif, format: sarif}, ")
    story.build(story.run("r-1", files=files(line), reports={**SCANS, "again": SARIF}))
    first = story.evidence_service.attach_run("r-1")
    assert sorted(item.report for item in first) == ["", "", "again", "sbom", "scan"]
    assert story.evidence_service.attach_run("r-1") == first


def test_a_crash_between_original_and_bundle_is_mended(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was pushed is pushed again as the same bytes; nothing is doubled."""
    record = story.build(story.run("r-1", files=files(), reports=SCANS))
    pushed: list[str] = []

    def dies(repository: str, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        found = put(repository, data, media_type, tag)
        pushed.append(found.digest)
        if len(pushed) == 3:
            raise OSError("the power is gone")
        return found

    put = story.store.put_manifest
    with monkeypatch.context() as patch:
        patch.setattr(story.store, "put_manifest", dies)
        with pytest.raises(OSError, match="power"):
            story.evidence_service.attach_run("r-1")
    story.evidence_service.attach_run("r-1")
    kinds = Counter(item.artifact_type for item in story.store.referrers(record.oci_repository, record.digest))
    assert kinds == {BUNDLE: 4, "application/sarif+json": 1, "application/vnd.cyclonedx+json": 1}
    assert facts_of(story, record).reports["scan"].result == "PASSED"


def test_an_inventory_that_does_not_cover_never_passes_for_the_artifacts_own(story: Story) -> None:
    """Stock tools would take CycloneDX's own type for what is in the image; so only the counts are signed, and nobody hears them."""
    line = LINE.replace(b'inputs: ["src/**", "tests/**"]', b'inputs: ["tests/**"]')
    record = story.build(story.run("r-1", files=files(line), reports=SCANS))
    story.evidence_service.attach_run("r-1")
    signed, statement = signed_as(story, "sbom")
    assert (signed.predicate_type, statement.own["covers"]) == (BOM_SUMMARY, False)
    assert "components" in statement.predicate["summary"]
    facts = facts_of(story, record)
    assert facts.reports == {}
    assert any(fault.startswith("EVIDENCE_DOES_NOT_COVER: sbom of task test") for fault in facts.faults)


@pytest.mark.parametrize(
    ("report", "data", "word"),
    [
        ("sbom", b"<bom/>", "it is XML"),
        ("sbom", b'{"bomFormat": "CycloneDX", "specVersion": "1.1", "components": []}', "none of 1.4"),
        ("scan", SARIF.replace(b'"results"', b'"invocations": [{"executionSuccessful": false}], "results"'), "did not end well"),
        ("scan", b"{", "not JSON"),
    ],
)
def test_a_scan_that_cannot_be_used_is_signed_as_failed_without_its_words(story: Story, report: str, data: bytes, word: str) -> None:
    """Whatever the server journalled: the signer reads it itself; the original is kept for people."""
    record = scanned(story, "r-1", **{report: data})
    signed, statement = signed_as(story, report)
    assert (signed.result, statement.predicate["summary"]) == ("FAILED", {})
    assert word in statement.own["fault"]
    assert facts_of(story, record).reports[report].result == "FAILED"
    assert view(story).original(record.digest, None, report).data == data


def test_a_scan_that_skipped_something_is_not_clean(story: Story) -> None:
    """Its counts are shown to people and hidden from policies."""
    notes = b'"invocations": [{"toolExecutionNotifications": [{"level": "error", "message": {"text": "no time"}}]}], '
    record = scanned(story, scan=SARIF.replace(b'"results"', notes + b'"results"'))
    signed, statement = signed_as(story, "scan")
    assert signed.result == "FAILED"
    assert statement.predicate["summary"]["findings"]["error"] == 1
    assert "did not do all of its work: no time" in signed.summary
    assert facts_of(story, record).reports["scan"].report == {}


def test_a_later_scan_speaks_in_place_of_an_earlier_one(story: Story) -> None:
    """The newest in journal order, whatever types the statements have."""
    record = scanned(story)
    again = scanned(story, "r-2", sbom=b"<bom/>")
    assert record.digest == again.digest
    assert facts_of(story, record).reports["sbom"].result == "FAILED"
    scanned(story, "r-3")
    assert facts_of(story, record).reports["sbom"].result == "PASSED"


def test_a_scan_of_a_red_task_is_kept_about_the_revision(story: Story) -> None:
    """A scanner that ends with 1 when it finds something leaves no artifact: findings and original are there all the same."""
    story.run("r-1", files=files(), reports=SCANS)
    ledger = story.desk._sources.ledger
    ledger.refresh()
    story.record("task.finished", "r-1", "setpoint", encode(replace(ledger.runs["r-1"].results["test"].result, state=TaskState.FAILED)))
    story.evidence_service.attach_run("r-1")
    journalled = next(item for item in story.evidence(run="r-1") if item.report == "scan")
    assert (journalled.result, journalled.summary) == ("FAILED", "scan: 1 error, 1 warning by semgrep 1.2; 1 suppressed")
    assert journalled.subject.startswith("gitCommit:")
    assert journalled.document is not None
    manifest = story.store.manifest(journalled.oci_repository, journalled.document.manifest)
    assert manifest is not None
    assert "subject" not in json.loads(manifest.data)
    bom = next(item for item in story.evidence(run="r-1") if item.report == "sbom")
    assert bom.predicate_type == BOM_SUMMARY


def test_an_original_is_given_back_by_name_and_by_digest(story: Story) -> None:
    """The newest of its task; what was there before is there by digest; unknown names list nothing and say so."""
    record = scanned(story)
    newer = BOM.replace(b"jinja2", b"jinja3")
    scanned(story, "r-2", sbom=newer)
    shown = view(story)
    assert shown.original(record.digest, None, "sbom").data == newer
    old = shown.original(record.digest, None, digest.sha256(BOM))
    assert (old.data, old.media_type, old.name) == (BOM, "application/vnd.cyclonedx+json", "bom.json")
    with pytest.raises(NotFoundError, match="SP715"):
        shown.original(record.digest, None, "nothing")


def test_a_damaged_original_is_not_given(story: Story) -> None:
    """Bytes that do not match what was signed are as good as gone, and no other statement suffers."""
    record = scanned(story)
    path = next(
        path for path in story.paths.registry.rglob(digest.sha256(SARIF)[7:]) if path.is_file() and path.stat().st_size == len(SARIF)
    )
    path.chmod(0o600)
    path.write_bytes(SARIF.replace(b"error", b"note!"))
    with pytest.raises(SetpointError, match="SP715"):
        view(story).original(record.digest, None, "scan")
    assert facts_of(story, record).reports["scan"].result == "PASSED"


def test_verify_and_evidence_say_what_the_scanners_say(story: Story) -> None:
    """In words, with counts as JSON and the digest of the original."""
    record = scanned(story)
    lines = verify_lines(story.store, story.trust, [NamedArtifact("web", record.oci_repository, record.digest)])
    (said,) = [line for line in lines if line.what.startswith("its reports")]
    assert said.passed
    assert "scan of web (1 error, 1 warning by semgrep 1.2; 1 suppressed)" in said.detail
    (subject,) = view(story).evidence(record.digest).subjects
    shown = {bundle.report: bundle for bundle in subject.bundles if bundle.report}
    assert shown["scan"].summary == "scan: 1 error, 1 warning by semgrep 1.2; 1 suppressed, in task test"
    assert shown["scan"].counts["findings"]["total"] == 2
    assert shown["sbom"].document == digest.sha256(BOM)


def test_a_record_of_an_earlier_release_is_still_read() -> None:
    """Journals know no name of a report and no document."""
    old = {"predicate_type": "t", "bundle": "b", "manifest": "m", "oci_repository": "r", "subject": "s", "result": "PASSED"}
    assert decode(EvidenceRecord, old).document is None
