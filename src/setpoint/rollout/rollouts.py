"""The rollouts of a home, one for each application and environment: what the journal says, and what was learnt since its last entry.

Called by the rollout service (one thread an environment) and by the API when a person resumes or aborts; a place is locked for a whole
pass. An entry has the rollout whole, so that the newest is all a server needs.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from setpoint.core import clock, names, records
from setpoint.core.errors import ConflictError, SetpointError
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.model import DeployReason, ReplicaStatus
from setpoint.rollout.canary import decide
from setpoint.rollout.canary.decide import Step
from setpoint.rollout.model import Coming, Phase, Rollout
from setpoint.rollout.ports import RolloutRecords

log = logging.getLogger(__name__)

Place = tuple[str, str]
"""(application, environment)"""


class Rollouts:
    """Where every rollout is."""

    def __init__(self, known: RolloutRecords, recorder: Recorder, time: clock.Clock) -> None:
        self._known = known
        self._recorder = recorder
        self._clock = time
        self._newest: dict[Place, Rollout] = {}
        self._told: dict[Place, Rollout] = {}
        """As the journal has it."""
        self._unwritten: dict[Place, tuple[str, str]] = {}
        """(kind, actor) of an entry that could not be written"""
        self._locks: dict[Place, threading.RLock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def locked(self, place: Place) -> Iterator[None]:
        """Hold a place, so that a pass and a person do not decide at the same time."""
        with self._guard:
            lock = self._locks.setdefault(place, threading.RLock())
        with lock:
            yield

    def current(self, place: Place) -> Rollout | None:
        """Return the newest rollout of a place; None before the first."""
        if place not in self._newest:
            found = self._known.rollout(*place)
            if found is None:
                return None
            self._newest[place] = self._told[place] = found
        return self._newest[place]

    def stable_pin(self, app: str, environment: str) -> str:
        """Return the commit of the pin that was fully rolled out last; empty when there is none."""
        found = self.current((app, environment))
        if found is None:
            return ""
        side = found.new if found.phase is Phase.FINISHED else found.stable
        return side.pin_commit if side is not None else ""

    def begin(self, coming: Coming) -> Rollout:
        """Return the rollout of what a pin wants, beginning it when that is something else than before."""
        place = (coming.app, coming.environment)
        before = self.current(place)
        if before is not None and place in self._unwritten:
            self._write(place, before, *self._unwritten[place])
        begun = decide.begin(before, coming, self._clock.now())
        return self.save(begun) if begun.kind else begun.rollout

    def save(self, step: Step, actor: str = "setpoint") -> Rollout:
        """Journal a step, and go on from it; a return goes on although the journal cannot be written: traffic waits for no disk."""
        rollout = step.rollout
        place = (rollout.app, rollout.environment)
        self._newest[place] = rollout
        try:
            self._write(place, rollout, step.kind, actor)
        except SetpointError as error:
            if step.kind != "rollout.returned":
                raise
            log.error("the return of %s in %s is not journalled yet: %s", *place, error.what)  # noqa: TRY400 - no trace is needed
        return rollout

    def _write(self, place: Place, rollout: Rollout, kind: str, actor: str) -> None:
        self._unwritten[place] = (kind, actor)
        self._recorder.record(kind, f"{place[0]}/{place[1]}", actor, records.encode(rollout))
        self._told[place] = rollout
        del self._unwritten[place]

    def note(self, rollout: Rollout) -> None:
        """Take over what a look brought; it is journalled when it is worth it."""
        place = (rollout.app, rollout.environment)
        self._newest[place] = rollout
        told = self._told.get(place)
        if told is None or not decide.is_worth_telling(told, rollout):
            return
        try:
            self._write(place, rollout, "rollout.judged", "setpoint")
        except SetpointError as error:
            del self._unwritten[place]
            log.warning("a look at %s in %s is not journalled yet: %s", *place, error.what)

    def keeps(self, rollout: Rollout, replica: ReplicaStatus) -> bool:
        """Say whether a replica that nobody wants stays without traffic for now."""
        return decide.keeps(rollout, replica.spec.workload, replica.spec.revision_hash, self._clock.now())

    def resume(self, app: str, environment: str, actor: str, message: str) -> Rollout:
        """Go on from a step that is held for want of traffic.

        Raises:
            ConflictError: nothing is held (SP655).
        """
        with self.locked((app, environment)):
            found = self.current((app, environment))
            if found is None or found.phase is not Phase.HELD:
                where = f"{app} in {environment}"
                raise ConflictError("SP655", "no rollout is held, so there is nothing to resume", where=where, fix=_look(app, environment))
            return self.save(decide.resumed(found, self._clock.now(), message), actor)

    def abort(self, app: str, environment: str, actor: str, message: str) -> Rollout:
        """Send a canary back; the rest is as if the judge had done it.

        Raises:
            ConflictError: no canary is under way (SP656).
        """
        with self.locked((app, environment)):
            found = self.current((app, environment))
            if found is None or not found.is_split:
                where, fix = f"{app} in {environment}", f"setpoint rollback {app} {environment} takes back what is rolled out"
                raise ConflictError("SP656", "no canary is under way, so there is nothing to abort", where=where, fix=fix)
            reason = DeployReason("ABORTED", "canary", f"sent back by {names.actor(actor)}: {message}", "", "problem")
            return self.save(decide.returned(found, (reason,), self._clock.now(), message), actor)

    def answer(self, rollout: Rollout, rollback: str) -> None:
        """Note what became of the rollback of a returned release."""
        with self.locked((rollout.app, rollout.environment)):
            newest = self.current((rollout.app, rollout.environment))
            if newest is not None and newest.rollout == rollout.rollout and newest.phase is Phase.RETURNED:
                self.save(Step(replace(newest, rollback=rollback), "rollout.returned"))


def _look(app: str, environment: str) -> str:
    return f"setpoint rollout {app} {environment} shows where it is"
