"""Law 2 at the door of every environment: nothing runs that a PASSED gate statement does not name exactly.

Called by the reconciler for every pin on every pass; it reads Git, the OCI store and the trust root, never the database, so a hand edit
in Git, in the registry or in the database cannot get anything in. Rules, numbered as in the code:
1 the commit that last touched the pin is signed by the commit key; 2 it touches only pins/; 3 its trailers name this promotion and
candidate; 4 a PASSED gate statement by the gate key names exactly these digests, trees, environment, policy and promotion;
5 every artifact is in the registry; 6 it is the promotion that was pinned last; 7 the candidate is not quarantined.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from setpoint.artifact.ports import OciStore
from setpoint.core import clock, digest, names
from setpoint.core.reasons import Outcome, Reason, Verdict, conclude
from setpoint.evidence.candidate import candidate_manifest, candidate_repository
from setpoint.evidence.gate import admission_fault, gate_statement
from setpoint.evidence.verify import TrustRoot
from setpoint.promotion.inputs import ChangeRecords, NothingKnown
from setpoint.promotion.model import Pin, PromotionState
from setpoint.promotion.pin import parse_trailers
from setpoint.promotion.ports import PromotionRecords
from setpoint.promotion.propose import quarantine_of
from setpoint.reconcile.ports import CommitCheck
from setpoint.source.ports import GitStore


def _fix(pin: Pin) -> str:
    return f"setpoint rollback {pin.candidate.app} {pin.candidate.environment} puts back what was admitted; a pin is never edited by hand"


@dataclass(frozen=True, slots=True)
class AdmissionParts:
    """What admission reads."""

    git: GitStore
    store: OciStore
    trust: TrustRoot
    commits: CommitCheck
    records: PromotionRecords
    changes: ChangeRecords = field(default_factory=NothingKnown)


class Admission:
    """Judges pins; a verdict is kept per (pin commit, candidate), less the quarantine, which may change at any time."""

    def __init__(self, parts: AdmissionParts) -> None:
        self._parts = parts
        self._kept: dict[tuple[str, str, str], Verdict] = {}
        self._superseded: dict[tuple[str, str], tuple[object, str, tuple[Reason, ...]]] = {}
        """By place: what was last found of a promotion there, and how far the journal was about the place."""

    def admit(self, repository: str, pin: Pin) -> Verdict:
        """Return whether a pin may be brought up, with every reason."""
        return conclude([*self.still_holds(repository, pin).reasons, *self._stale(pin), *self._quarantine(pin)])

    def still_holds(self, repository: str, pin: Pin) -> Verdict:
        """Return whether signatures and statements of a pin hold (rules 1-5): enough for what was admitted before to stay up."""
        key = (repository, pin.commit, pin.candidate.digest + pin.promotion)
        if key not in self._kept:
            verdict = conclude([*self._commit(repository, pin), *self._statement(pin), *self._artifacts(pin)])
            if verdict.outcome is not Outcome.ALLOW:
                return verdict
            self._kept[key] = verdict
        return self._kept[key]

    def returns(self, repository: str, pin: Pin) -> Verdict:
        """Return whether an earlier pin may come back by a rollback: signatures and quarantine, no other gate (law 2)."""
        return conclude([*self.still_holds(repository, pin).reasons, *self._quarantine(pin)])

    def _commit(self, repository: str, pin: Pin) -> Iterator[Reason]:
        subject = f"pin commit {digest.short(pin.commit)}"
        if not self._parts.commits.signed(repository, pin.commit):
            yield Reason(
                "PIN_NOT_SIGNED", Outcome.DENY, subject, "not signed by Setpoint's commit key", "a commit signed by Setpoint", _fix(pin)
            )
            return
        yield Reason("PIN_SIGNED", Outcome.ALLOW, subject, "signed by Setpoint's commit key")
        outside = [path for path in self._parts.git.changed_paths(repository, pin.commit) if not path.startswith("pins/")]
        if outside:
            yield Reason("PIN_COMMIT_TOO_WIDE", Outcome.DENY, subject, f"also touches {outside[0]}", "only pins/", _fix(pin))
        trailers = parse_trailers(self._parts.git.revision(repository, pin.commit).message)
        named = (trailers.get("Setpoint-Promotion"), trailers.get("Setpoint-Candidate"))
        if named != (pin.promotion, pin.candidate.digest):
            found = f"its trailers name promotion {named[0]} and another candidate" if named[0] == pin.promotion else f"it names {named[0]}"
            yield Reason("PIN_TRAILERS_DIFFER", Outcome.DENY, subject, found, f"promotion {pin.promotion}", _fix(pin))

    def _statement(self, pin: Pin) -> Iterator[Reason]:
        data = pin.candidate.data()
        manifest = digest.sha256(candidate_manifest(data))
        verified = gate_statement(self._parts.store, self._parts.trust, candidate_repository(pin.candidate.app), manifest)
        fault = admission_fault(verified, data, pin.promotion, pin.policy)
        subject = f"gate statement of {pin.promotion}"
        if fault:
            yield Reason("NOT_ADMITTED", Outcome.DENY, subject, fault, "a PASSED statement by the gate key for exactly this", _fix(pin))
        else:
            yield Reason("ADMITTED", Outcome.ALLOW, subject, "PASSED, for exactly these digests, trees, policy and promotion")

    def _artifacts(self, pin: Pin) -> Iterator[Reason]:
        for name, artifact in sorted(pin.candidate.artifacts.items()):
            found = self._parts.store.manifest(artifact.oci_repository, artifact.digest)
            if found is None or digest.sha256(found.data) != artifact.digest:
                fix = "push the image again by its digest, or roll back"
                what = f"{digest.short(artifact.digest)} is not in the registry"
                yield Reason("ARTIFACT_GONE", Outcome.DENY, f"artifact {name}", what, "the pinned bytes", fix)

    def _stale(self, pin: Pin) -> Iterator[Reason]:
        """Refuse a pin that was signed once and is not the last one: a merge can bring an old file back with its signed commit."""
        place = (pin.candidate.app, pin.candidate.environment)
        changed, kept = self._parts.changes.changed(*place), self._superseded.get(place)
        if kept is None or kept[:2] != (changed, pin.promotion):
            kept = self._superseded[place] = (changed, pin.promotion, tuple(self._stale_now(pin)))
        yield from kept[2]

    def _stale_now(self, pin: Pin) -> Iterator[Reason]:
        candidate = pin.candidate
        history = self._parts.records.promotions(candidate.app, candidate.environment, limit=1000)
        own = next((promotion for promotion in history if promotion.promotion == pin.promotion), None)
        pinned = [promotion for promotion in history if promotion.state is PromotionState.PINNED]
        last = max(pinned, key=lambda promotion: promotion.pinned_at or "", default=None)
        if own is None or own.state is PromotionState.DECIDED or last is None or own.promotion == last.promotion:
            return
        found = f"promotion {own.promotion} was pinned at {own.pinned_at}, {last.promotion} after it"
        yield Reason("PIN_SUPERSEDED", Outcome.DENY, "pin", found, f"promotion {last.promotion}", _fix(pin))

    def _quarantine(self, pin: Pin) -> Iterator[Reason]:
        candidate = pin.candidate
        barred = quarantine_of(candidate, self._parts.records.quarantines(candidate.app, candidate.environment))
        if barred is not None:
            fix = f"setpoint promote {candidate.app} --to {candidate.environment} --lift"
            found = f"barred since {clock.spoken(barred.since)} by {names.actor(barred.by)}: {barred.why}"
            yield Reason("QUARANTINED", Outcome.DENY, "quarantine", found, "a candidate that is not barred", fix)
