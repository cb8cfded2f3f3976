"""Law 2 at the door: real signatures, real registry; nothing but exactly what a PASSED statement names gets in."""
# ruff: noqa: ARG002 - fakes keep the signatures of their ports

from dataclasses import replace
from pathlib import Path

import pytest

from contract.signer.conftest import Story
from setpoint.adapters.sshsig import commit_signed
from setpoint.core.reasons import Outcome
from setpoint.evidence.verify import TrustRoot
from setpoint.ground.identity.model import Role
from setpoint.promotion.model import Pin, PinnedArtifact, Promotion, Quarantine
from setpoint.promotion.pin import commit_message, commit_payload, parse_pin, pin_of, pin_path, render_pin
from setpoint.reconcile.admission import Admission, AdmissionParts

PATH = pin_path("prod", "web")


class Door:
    """An admission over a story's home, with its quarantines in memory."""

    def __init__(self, root: Path) -> None:
        self.story = Story(root)
        self.story.create_home()
        self.quarantine: list[Quarantine] = []
        self.history: list[Promotion] = []
        self.promotion = self.story.released()
        self.commit = self.story.pin(self.promotion)

    def signed(self, repository: str, commit: str) -> bool:
        """Be the check of commit signatures."""
        return bool(commit) and commit_signed(self.story.git, repository, commit, self.story.trust.key(Role.COMMIT))

    def quarantines(self, app: str, environment: str) -> list[Quarantine]:
        """Be the records."""
        return self.quarantine

    def promotions(self, app: str, environment: str, limit: int = 100) -> list[Promotion]:
        """Be the records."""
        return self.history

    def admission(self, trust: TrustRoot | None = None) -> Admission:
        """Return an admission that remembers nothing."""
        story = self.story
        return Admission(AdmissionParts(story.git, story.store, trust or story.trust, self, self))  # type: ignore[arg-type]

    def pin(self) -> Pin:
        """Return the pin at HEAD."""
        git = self.story.git
        head = git.heads("delivery")["main"]
        data = git.read("delivery", head, PATH)
        assert data is not None
        return parse_pin(data, PATH, git.last_change("delivery", head, PATH) or "")

    def forge(self, pin: Pin, *, promotion: Promotion | None = None, more: dict[str, bytes] | None = None) -> Pin:
        """Commit a pin with the real commit key: what the signer would never do."""
        git = self.story.git
        head = git.heads("delivery")["main"]
        tree = git.write_tree("delivery", head, {PATH: render_pin(pin), **(more or {})})
        payload = commit_payload(tree, head, commit_message(promotion or self.promotion), "2026-11-23T08:00:00.000Z")
        commit = git.write_signed_commit("delivery", payload, self.story.desk._keys.sign_commit(payload))
        assert git.advance("delivery", "main", head, commit)
        return self.pin()

    def blocking(self, pin: Pin, trust: TrustRoot | None = None) -> list[str]:
        """Return the codes of what stands against a pin."""
        return [reason.code for reason in self.admission(trust).admit("delivery", pin).blocking()]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A home in which one promotion is pinned."""
    return Door(tmp_path)


def test_what_was_promoted_is_admitted(door: Door) -> None:
    """Signed commit, PASSED statement for exactly this, artifact present, not barred: every reason allows."""
    verdict = door.admission().admit("delivery", door.pin())
    assert verdict.outcome is Outcome.ALLOW
    assert [reason.code for reason in verdict.reasons] == ["PIN_SIGNED", "ADMITTED"]


def test_a_hand_edit_is_refused(door: Door) -> None:
    """A commit by a person is not Setpoint's, whatever it writes, even the same bytes again."""
    data = render_pin(door.pin())
    door.story.commit("delivery", {PATH: data + b"# x\n"})
    assert door.blocking(door.pin()) == ["PIN_NOT_SIGNED"]
    door.story.commit("delivery", {PATH: data})
    assert door.blocking(door.pin()) == ["PIN_NOT_SIGNED"]


def test_a_signed_commit_with_another_digest_is_refused(door: Door) -> None:
    """Even the commit key does not help: the statement names other digests, and the trailers another candidate."""
    pin = door.pin()
    other = replace(pin.candidate, artifacts={"web": PinnedArtifact("hello/web", "sha256:" + "0" * 64)})
    assert set(door.blocking(door.forge(replace(pin, candidate=other)))) == {"PIN_TRAILERS_DIFFER", "NOT_ADMITTED", "ARTIFACT_GONE"}


@pytest.mark.parametrize("field", ["app_tree", "environment_tree"])
def test_a_signed_commit_with_another_tree_is_refused(door: Door, field: str) -> None:
    """Configuration is covered as digests are."""
    pin = door.pin()
    changed = replace(pin.candidate, **{field: "0" * 40})  # type: ignore[arg-type]
    promotion = replace(door.promotion, candidate=changed)
    assert door.blocking(door.forge(pin_of(promotion), promotion=promotion)) == ["NOT_ADMITTED"]


def test_another_promotion_or_policy_than_the_statements_is_refused(door: Door) -> None:
    """A statement speaks for its promotion and its policy only."""
    pin = door.pin()
    assert "NOT_ADMITTED" in door.blocking(door.forge(replace(pin, policy="0" * 40)))
    renamed = replace(door.promotion, promotion="p-9")
    assert door.blocking(door.forge(pin_of(renamed), promotion=renamed)) == ["NOT_ADMITTED"]


def test_a_pin_commit_that_touches_more_than_pins_is_refused(door: Door) -> None:
    """A machine commit writes pins and nothing else."""
    pin = replace(door.pin(), version="again")
    assert door.blocking(door.forge(pin, more={"apps/web/deploy.yaml": b"evil"})) == ["PIN_COMMIT_TOO_WIDE"]


def test_keys_of_another_home_prove_nothing(door: Door) -> None:
    """With another trust root nothing is admitted."""
    keys = {**door.story.trust.keys, "gate": door.story.trust.keys["builder"]}
    assert door.blocking(door.pin(), TrustRoot(keys)) == ["NOT_ADMITTED"]


def test_a_barred_candidate_is_refused_but_what_runs_still_holds(door: Door) -> None:
    """Quarantine is judged anew at every look; signatures and statements hold for what was admitted before."""
    pin, admission = door.pin(), door.admission()
    assert admission.admit("delivery", pin).outcome is Outcome.ALLOW
    door.quarantine = [Quarantine("prod", "web", pin.candidate.digest, {}, (None, None), "2026-11-23T08:00:00.000Z", "operator", "bad")]
    assert [reason.code for reason in admission.admit("delivery", pin).blocking()] == ["QUARANTINED"]
    assert admission.still_holds("delivery", pin).outcome is Outcome.ALLOW
    door.quarantine = []
    assert admission.admit("delivery", pin).outcome is Outcome.ALLOW
