"""The signer about approvals, gate decisions and pins: laws 2, 3 and 8 from real journals, repositories and bundles."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from setpoint.adapters import sshsig
from setpoint.core.errors import UserError
from setpoint.core.reasons import Outcome
from setpoint.core.records import encode
from setpoint.evidence import gate
from setpoint.evidence.bundle import parse_bundle, parse_statement, render_bundle, render_statement
from setpoint.evidence.candidate import candidate_digest
from setpoint.evidence.dsse import pae
from setpoint.evidence.lines import NamedArtifact, verify_lines
from setpoint.evidence.model import PAYLOAD, EvidenceRecord
from setpoint.evidence.verify import TrustRoot, verify_bundle, verify_subject
from setpoint.ground.identity.model import Role
from setpoint.promotion.model import Promotion, Quarantine
from setpoint.promotion.pin import claim_of, parse_pin, pin_path

if TYPE_CHECKING:
    from contract.signer.conftest import Story
    from setpoint.evidence.model import CheckLine, Verified
    from setpoint.evidence.ports import SigningKind


def _admission(story: Story, promotion: Promotion) -> str:
    data = promotion.candidate.data()
    statements = gate.gate_statement(story.store, story.trust, "candidates/web", candidate_digest(data))
    return gate.admission_fault(statements, data, promotion.promotion, promotion.policy)


def test_a_passed_decision_is_stated_at_candidate_and_artifact(story: Story) -> None:
    """The gate statement and the approval are referrers of the candidate's manifest and of the artifact."""
    promotion = story.released()
    assert _admission(story, promotion) == ""
    artifact = promotion.candidate.artifacts["web"]
    types = [v.statement.predicate_type.rsplit("/", 2)[-2] for v in _attached(story, artifact.oci_repository, artifact.digest)]
    assert sorted(types) == ["approval", "provenance", "test-result", "verification_summary"]
    (record,) = [r for r in story.evidence(promotion="p-1") if r.result == "PASSED" and "summary" in r.predicate_type]
    assert (record.oci_repository, record.subject) == ("candidates/web", candidate_digest(promotion.candidate.data()))
    statement = parse_statement(parse_bundle(story.sign("promotion", "p-1")[0].payload).payload)
    assert statement.predicate["verifiedLevels"] == ["SLSA_BUILD_LEVEL_2"]
    assert len(statement.predicate["inputAttestations"]) == 3
    assert statement.predicate["setpoint"]["approvals"][0]["email"] == "ada@example.com"


def _attached(story: Story, repository: str, digest: str) -> list[Verified]:
    found = verify_subject(story.store, story.trust, repository, digest)
    assert found.faults == ()
    return list(found.verified)


def test_a_denied_decision_is_stated_as_failed_and_pins_nothing(story: Story) -> None:
    """Law 2: FAILED is signed too, never admits, and no pin is signed after it."""
    promotion = story.promote("p-1", None)
    story.decide(promotion, Outcome.DENY)
    assert story.evidence_service.attach_promotion("p-1").result == "FAILED"
    assert "FAILED" in _admission(story, promotion)
    with pytest.raises(UserError, match="SP404"):
        story.sign("pin", "p-1", story.git.heads("delivery")["main"])


def test_an_undecided_promotion_is_not_signed(story: Story) -> None:
    """Law 8: the signer says only what the journal says."""
    promotion = story.promote("p-1", None)
    kinds: tuple[SigningKind, ...] = ("promotion", "pin")
    for kind in kinds:
        with pytest.raises(UserError, match="SP404"):
            story.sign(kind, "p-1", promotion.delivery_commit)
    with pytest.raises(UserError, match="SP404"):
        story.sign("promotion", "p-none")
    with pytest.raises(UserError, match="SP404"):
        story.sign("journal", "p-1")  # type: ignore[arg-type]


def test_an_approval_needs_its_journal_entry_and_binding(story: Story) -> None:
    """Nobody's yes is invented, and a yes to another binding is none."""
    promotion = story.promote("p-1", None)
    story.approve(promotion, binding="sha256:" + "0" * 64)
    with pytest.raises(UserError, match="SP404"):
        story.sign("approval", "p-1", "ada@example.com")
    story.approve(promotion)
    assert story.sign("approval", "p-1", "ADA@example.com")[0].result == "PASSED"
    with pytest.raises(UserError, match="SP404"):
        story.sign("approval", "p-1", "eve@example.com")


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "0" * 40},
        {"delivery_commit": "0" * 40},
        {"source_revision": "0" * 40},
        {"source_repository": "other"},
        {"candidate": "artifact"},
        {"candidate": "tree"},
        {"candidate": "environment_tree"},
    ],
)
def test_a_decision_that_the_world_contradicts_is_not_signed(story: Story, change: dict[str, str]) -> None:
    """Another policy, commit, revision, digest or tree than Git, journal and registry hold: refused, whatever was decided."""
    record = story.build(story.run("r-1"))
    story.evidence_service.attach_run("r-1")
    good = story.promote("p-0", record)
    candidates = {
        "artifact": replace(good.candidate, artifacts={"web": replace(good.candidate.artifacts["web"], digest="sha256:" + "0" * 64)}),
        "tree": replace(good.candidate, app_tree="0" * 40),
        "environment_tree": replace(good.candidate, environment_tree=good.candidate.app_tree),
    }
    changes = {name: candidates[value] if name == "candidate" else value for name, value in change.items()}
    bad = replace(good, promotion="p-1", **changes)  # type: ignore[arg-type]
    story.record("promotion.created", "p-1", "setpoint", encode(bad))
    story.decide(bad)
    with pytest.raises(UserError):
        story.sign("promotion", "p-1")
    story.decide(good)
    assert story.sign("promotion", "p-0")[0].result == "PASSED"


def test_an_artifact_without_provenance_passes_no_gate(story: Story) -> None:
    """Law 1: built and in the registry is not enough."""
    promotion = story.promote("p-1", story.build(story.run("r-1")))
    story.decide(promotion)
    with pytest.raises(UserError, match="SP403"):
        story.sign("promotion", "p-1")


def test_the_pin_commit_is_accepted_by_stock_git(story: Story) -> None:
    """Law 3: a signed commit with trailers that writes the pin and allowed_signers; stock git verifies it."""
    promotion = story.released()
    commit = story.pin(promotion)
    data = story.git.read("delivery", commit, pin_path("prod", "web"))
    assert parse_pin(data or b"", pin_path("prod", "web")).candidate == promotion.candidate
    signers = story.paths.keys / "signers"
    signers.write_bytes(story.git.read("delivery", commit, "pins/allowed_signers") or b"")
    config = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}", "-c", "safe.directory=*"]
    argv = ["git", "-C", str(story.git.path("delivery")), *config, "verify-commit", commit]
    done = subprocess.run(argv, capture_output=True, check=False, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    assert set(story.git.changed_paths("delivery", commit)) == {"pins/allowed_signers", "pins/prod/web.yaml"}
    again = story.pin(story.released("p-2", b"second"))
    assert set(story.git.changed_paths("delivery", again)) == {"pins/prod/web.yaml"}


def test_no_pin_without_a_journalled_statement_that_holds(story: Story) -> None:
    """Law 2: the decision alone pins nothing, nor does an entry whose bundle is not there or is somebody else's."""
    promotion = story.promote("p-1", None)
    story.decide(promotion)
    head = story.git.heads("delivery")["main"]
    with pytest.raises(UserError, match="no PASSED gate statement is journalled"):
        story.sign("pin", "p-1", head)
    (signed,) = story.sign("promotion", "p-1")
    forged = EvidenceRecord(signed.predicate_type, "sha256:0", "sha256:0", "candidates/web", signed.subject, "PASSED", promotion="p-1")
    story.record("evidence.attached", signed.subject, "setpoint", encode(forged))
    with pytest.raises(UserError, match="SP403"):
        story.sign("pin", "p-1", head)


def test_no_pin_on_a_parent_that_misses_the_decision(story: Story) -> None:
    """Law 3: an older, unknown, abbreviated or foreign parent is refused."""
    promotion = story.released()
    older = story.git.heads("delivery")["main"]
    newer = story.commit("delivery", {"README": b"x"})
    late = story.promote("p-2", None, delivery_commit=newer)
    story.decide(late)
    story.evidence_service.attach_promotion("p-2")
    for parent in (older, newer[:12], "main", "0" * 40, "", story.git.heads("hello")["main"], "--all"):
        with pytest.raises(UserError):
            story.sign("pin", "p-2", parent)
    assert story.sign("pin", promotion.promotion, newer)[0].payload.count(b"parent " + newer.encode()) == 1


def test_superseded_and_quarantined_promotions_get_no_pin(story: Story) -> None:
    """What was replaced or barred after the decision is not pinned any more; lifting allows it again."""
    promotion = story.released()
    head = story.git.heads("delivery")["main"]
    candidate = promotion.candidate
    barred = Quarantine("prod", "web", candidate.digest, {}, (None, None), "2026-11-23T08:00:00.000Z", "operator", "bad")
    story.record("quarantine.set", candidate.digest, "operator", encode(barred))
    with pytest.raises(UserError, match="SP411"):
        story.sign("pin", "p-1", head)
    story.record("quarantine.lifted", candidate.digest, "operator", {"app": "web", "environment": "prod"})
    assert story.sign("pin", "p-1", head)
    story.record("promotion.superseded", "p-1", "setpoint", {"superseded_by": "p-9"})
    with pytest.raises(UserError, match="superseded"):
        story.sign("pin", "p-1", head)


def test_a_rollback_rests_on_the_targets_earlier_statement(story: Story) -> None:
    """Law 2: its own PASSED statement names the earlier one as its only input, and its commit says Roll back."""
    first = story.released()
    story.pin(first)
    story.pin(story.released("p-2", b"second"))
    back = replace(first, promotion="p-3", kind="rollback", of="p-1", delivery_commit=story.git.heads("delivery")["main"])
    story.record("promotion.created", "p-3", "operator", encode(back))
    story.decide(back)
    story.evidence_service.attach_promotion("p-3")
    statement = parse_statement(parse_bundle(story.sign("promotion", "p-3")[0].payload).payload)
    earlier = next(r for r in story.evidence(promotion="p-1") if "summary" in r.predicate_type)
    assert statement.predicate["inputAttestations"] == [{"digest": {"sha256": earlier.bundle[7:]}}]
    assert _admission(story, back) == ""
    message = story.git.revision("delivery", story.pin(back)).message
    assert message.startswith("Roll back web in prod to 1\n")


def test_a_rollback_to_what_never_passed_is_not_signed(story: Story) -> None:
    """A target that was denied, is unknown, or had another candidate gives nothing to rest on."""
    denied = story.promote("p-1", None)
    story.decide(denied, Outcome.DENY)
    story.evidence_service.attach_promotion("p-1")
    for name, of in (("p-2", "p-1"), ("p-3", "p-none")):
        back = replace(denied, promotion=name, kind="rollback", of=of)
        story.record("promotion.created", name, "operator", encode(back))
        story.decide(back)
        with pytest.raises(UserError):
            story.sign("promotion", name)


def _lines(story: Story, commit: str, trust: TrustRoot | None = None) -> list[CheckLine]:
    path = pin_path("prod", "web")
    pin = parse_pin(story.git.read("delivery", commit, path) or b"", path, commit)
    signed = sshsig.commit_signed(story.git, "delivery", commit, story.trust.key(Role.COMMIT))
    claim = claim_of(pin, story.git.revision("delivery", commit).message, commit_signed=signed)
    return verify_lines(story.store, trust or story.trust, (), claim)


def test_verify_has_nine_lines_that_hold(story: Story) -> None:
    """A pin that went the whole road is proved in nine numbered lines."""
    lines = _lines(story, story.pin(story.released()))
    assert [(line.number, line.passed) for line in lines] == [(n, True) for n in range(1, 10)]
    assert lines[5].detail == "2 of 2 passed"
    assert lines[8].detail == "ada@example.com"


def test_verify_of_a_bare_digest_has_six_lines(story: Story) -> None:
    """Only what applies is listed; an unknown digest fails them."""
    record = story.build(story.run("r-1"))
    story.evidence_service.attach_run("r-1")
    named = NamedArtifact("web", record.oci_repository, record.digest)
    assert [line.passed for line in verify_lines(story.store, story.trust, [named])] == [True] * 6
    unknown = replace(named, digest="sha256:" + "0" * 64)
    assert [line.passed for line in verify_lines(story.store, story.trust, [unknown])] == [False] * 6


def test_verify_under_other_keys_fails(story: Story) -> None:
    """Under another trust root no bundle counts: provenance, tests, gate and approval fall, bytes still match."""
    commit = story.pin(story.released())
    swapped = TrustRoot({**story.trust.keys, "builder": story.trust.keys["gate"], "gate": story.trust.keys["builder"]})
    assert [line.passed for line in _lines(story, commit, swapped)] == [True, True, False, False, False, True, False, True, False]
    assert not any(line.passed for line in _lines(story, commit, TrustRoot({}))[2:7])


def test_verify_sees_changed_bytes_and_a_hand_edit(story: Story) -> None:
    """One flipped byte of a layer fails line 2; a pin changed by hand fails lines 7 and 8 whatever it says."""
    promotion = story.released()
    commit = story.pin(promotion)
    path = pin_path("prod", "web")
    data = story.git.read("delivery", commit, path) or b""
    edited = story.commit("delivery", {path: data.replace(promotion.policy.encode(), b"9" * 40)})
    assert [line.number for line in _lines(story, edited) if not line.passed] == [7, 8]
    blob = next(p for p in story.paths.registry.rglob("*") if p.is_file() and p.read_bytes() == b"layer")
    blob.chmod(0o600)
    blob.write_bytes(b"LAYER")
    assert [line.number for line in _lines(story, commit) if not line.passed] == [2]


def test_a_signature_of_another_role_proves_nothing(story: Story) -> None:
    """The builder's key under a gate statement, and a statement about another subject, are refused."""
    promotion = story.released()
    (signed,) = story.sign("promotion", "p-1")
    payload = render_statement(parse_statement(parse_bundle(signed.payload).payload))
    keys = story.desk._keys
    wrong = render_bundle(payload, keys.sign(Role.BUILDER, pae(PAYLOAD, payload)), keys.hint(Role.GATE))
    subject = ("sha256", candidate_digest(promotion.candidate.data())[7:])
    assert verify_bundle(signed.payload, story.trust, subject).role is Role.GATE
    with pytest.raises(UserError, match="not signed by this home's gate key"):
        verify_bundle(wrong, story.trust, subject)
    with pytest.raises(UserError, match="another subject"):
        verify_bundle(signed.payload, story.trust, ("sha256", "0" * 64))
