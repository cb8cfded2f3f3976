"""Adopts drift into Git: finds the place, journals what it is about to write, has the commit signed, and puts it on a branch of its own.

Called by the API for a person, and by the reconciler for leases that said so. Nothing goes onto the delivery branch: a person merges, and
the gates decide. While the branch waits the case is held; what became of it is found out by looking at Git (level-triggered).
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, get_args

from setpoint.core import clock, ids, records
from setpoint.core.errors import ConflictError, NotFoundError, SetpointError, UserError, WorldError
from setpoint.evidence.ports import Signer
from setpoint.ground.hold.service import Holds
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.model import Fact
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.people import require_responsible
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile.adopt import commit
from setpoint.reconcile.adopt.model import AdoptedField, Adoption, AdoptionState, Edit
from setpoint.reconcile.adopt.ports import AdoptionRecords, LiveRows
from setpoint.reconcile.adopt.search import Search
from setpoint.reconcile.adopt.standing import Standing
from setpoint.reconcile.adopt.trial import Trials
from setpoint.reconcile.cluster import paths
from setpoint.reconcile.cluster.live_field import LiveField, find
from setpoint.reconcile.drift.model import Drift, DriftState, Kind
from setpoint.reconcile.drift.service import DriftService
from setpoint.reconcile.renders import Renders
from setpoint.source.ports import GitStore

log = logging.getLogger(__name__)

_REFUSED: Final = "SP576"
_ON_HOST: Final = {
    "replica": "a process is no field of a file: it is started again by itself",
    "proxy": "what the proxy does follows from routes and rollouts, and no file holds it",
    "image": "files of an image are made by its build: change them in the source, and push",
}


@dataclass(frozen=True, slots=True)
class AdoptParts:
    """What adoption works with."""

    reader: DeliveryReader
    git: GitStore
    renders: Renders
    rows: LiveRows
    drift: DriftService
    records: AdoptionRecords
    recorder: Recorder
    signer: Signer
    holds: Holds


class AdoptionService:
    """All adoptions of a home; one is made at a time."""

    def __init__(self, parts: AdoptParts) -> None:
        self._parts = parts
        self._standing = Standing(parts.reader, parts.git)
        self._making = threading.Lock()

    def adopt(self, drifts: Sequence[str], principal: Principal, message: str) -> Adoption:
        """Write the live values of some cases, all of one object, onto a branch.

        Raises:
            NotFoundError: no open case has such an id (SP575).
            UserError: what cannot be adopted, and why (SP576); no place is proven (SP577), or only one of several environments (SP578).
            ConflictError: it waits on a branch already, or what is live or desired is another by now (SP579).
            NotAllowedError: only owners, approvers and the operator (SP514).
        """
        cases = [self._case(name) for name in dict.fromkeys(drifts)]
        if not cases:
            raise NotFoundError("SP575", "no drift is named", fix="setpoint drift lists what is known, with ids")
        first = cases[0]
        delivery = self._parts.reader.require_environment(first.environment)
        require_responsible(delivery, first.environment, principal)
        return self._adopt(delivery, cases, principal.actor, message.strip())

    def settle(self, delivery: Delivery, environment: str) -> None:
        """Go on with what a crash left, find out what became of branches, and adopt what leases that are over left to that.

        Delivery is what the pass goes by: a merge that came since is the next one's, else what it brings would be corrected once more.
        What goes wrong is tried again at the next pass: nobody else waits for it.
        """
        for adoption in self._parts.records.adoptions(environment=environment):
            with _going_on(f"{adoption.adoption} of {environment}"):
                if adoption.state is AdoptionState.INTENDED:
                    self._publish(adoption)
                else:
                    self._look(adoption, delivery)
        groups: dict[tuple[str, str, str, str], list[Drift]] = {}
        for kind in get_args(Kind):
            for case in self._parts.drift.cases(environment, kind):
                if case.state is DriftState.HELD and case.then == "adopt":
                    groups.setdefault((kind, case.app, case.held_by, case.subject), []).append(case)
        for (_kind, _app, lease, subject), cases in groups.items():
            with _going_on(f"{subject} of {environment}, which {lease} held"):
                self._end_of_lease(delivery, environment, lease, cases)

    def listed(self, app: str | None, environment: str | None, *, ended: bool = False) -> Sequence[Adoption]:
        """Return adoptions that wait; with `ended` also those of the past."""
        return self._parts.records.adoptions(app, environment, ended=ended)

    def _end_of_lease(self, delivery: Delivery, environment: str, lease: str, cases: Sequence[Drift]) -> None:
        """Adopt what a lease held, in the name of who broke the glass; what cannot be is left to a person."""
        hold = self._parts.holds.named(lease)
        if hold is None or environment not in delivery.environments:
            return
        for case in cases:
            try:
                self._adopt(delivery, [case], hold.by, hold.why)
            except WorldError:
                return  # tried again at the next pass
            except SetpointError as error:
                self._parts.drift.leave(case.key, f"the lease is over, and it cannot be adopted: {error.what} ({error.code})")

    def _case(self, name: str) -> Drift:
        found = self._parts.drift.named(name)
        if found is None:
            raise NotFoundError(
                "SP575", f"no open case of drift is called `{name[:40]}`", fix="setpoint drift lists what is known, with ids"
            )
        return found

    def _adopt(self, delivery: Delivery, cases: Sequence[Drift], actor: str, why: str) -> Adoption:
        first = cases[0]
        strange = [case for case in cases if (case.app, case.environment, case.subject) != (first.app, first.environment, first.subject)]
        if strange:
            raise UserError(_REFUSED, "one adoption is about one object", where=strange[0].subject, fix="adopt them one after the other")
        with self._making:
            waiting = {key: one for one in self._parts.records.adoptions(first.app, first.environment) for key in one.cases()}
            for case in cases:
                if case.key in waiting:
                    branch = waiting[case.key].branch
                    raise ConflictError("SP579", f"it waits on {branch} already", where=case.drift, fix="merge that branch, or delete it")
            fields = self._fields(delivery, cases)
            trials = Trials(delivery, first.app, self._parts.git, self._parts.renders)
            search = Search(trials, first.environment)
            for one in fields:
                self._refuse_moved(trials, first.environment, one)
                trials.edits.update(search.find(one))
            adoption = self._intend(delivery, (cases, fields), trials, actor, why)
            return self._publish(adoption)

    def _fields(self, delivery: Delivery, cases: Sequence[Drift]) -> list[LiveField]:
        """Return the live fields of some cases, each as something that can be written into a file."""
        first = cases[0]
        if first.kind != "object":
            raise UserError(
                _REFUSED, _ON_HOST[first.kind], where=first.subject, fix=f"setpoint heal {first.app or 'APP'} {first.environment}"
            )
        delivery.check_app(first.app)
        template = delivery.template(first.environment)
        if template != first.environment:
            what = f"a generator made {first.environment}: it has the files of {template}, and so have others"
            raise UserError(_REFUSED, what, where=first.subject, fix=f"setpoint heal {first.app} {first.environment}")
        pin = self._parts.reader.pin(delivery, first.environment, first.app)
        if pin is None:
            raise ConflictError("SP579", "nothing is pinned there", where=f"{first.app} in {first.environment}")
        rows = self._parts.rows(delivery, first.environment, pin)
        found = []
        for case in cases:
            one = find(rows, case.subject, case.field)
            if one is None and case.field != "object":
                fix = "setpoint drift lists what differs now"
                raise ConflictError(
                    "SP579", "neither what is live nor what is rendered has it by itself any more", where=case.field, fix=fix
                )
            found.append(_adoptable(case, one))
        return found

    def _refuse_moved(self, trials: Trials, environment: str, one: LiveField) -> None:
        """Refuse a field that the head of the delivery branch sets to something else than what is pinned: a merge would undo that."""
        rendered = trials.render(environment)
        value = next((value for value in rendered.objects if _is(value, one)), None)
        desired = _at(value, one) if value is not None else None
        if desired != one.desired:
            what = f"{trials.delivery.branch} has another value by now: {desired if desired is not None else 'none'}"
            raise ConflictError("SP579", what, where=f"{one.key.subject} {one.text}", fix="let that be promoted first")

    def _intend(
        self, delivery: Delivery, about: tuple[Sequence[Drift], Sequence[LiveField]], trials: Trials, actor: str, why: str
    ) -> Adoption:
        first = about[0][0]
        git, repository = self._parts.git, delivery.repository
        edits = []
        for path, data in sorted(trials.edits.items()):
            old = git.read(repository, delivery.head, path)
            before = git.tree_id(repository, delivery.head, path) or ""
            edits.append(Edit.between(path, before, (old or b"").decode(), data.decode()))
        since = clock.to_text(self._parts.holds.journal_now())
        fields = tuple(AdoptedField(case.drift, case.subject, case.field, str(one.live)[:300]) for case, one in zip(*about, strict=True))
        name = ids.identifier("a", first.app, first.environment, *(case.drift for case in about[0]), since)
        adoption = Adoption(name, first.app, first.environment, fields, actor, why, repository, delivery.head, tuple(edits), since)
        commit.check_paths(adoption)
        self._parts.recorder.record("adoption.intended", name, actor, records.encode(adoption))
        return adoption

    def _publish(self, adoption: Adoption) -> Adoption:
        """Have the commit signed and put it on its branch; done again after a crash it makes the same commit."""
        parts = self._parts
        (signed,) = parts.signer.sign("adoption", adoption.adoption)
        name = parts.git.write_signed_commit(adoption.repository, signed.payload, signed.signature)
        there = parts.git.heads(adoption.repository).get(adoption.branch)
        if there is None:
            parts.git.advance(adoption.repository, adoption.branch, None, name)
        body = {"app": adoption.app, "environment": adoption.environment, "commit": name}
        parts.recorder.record("adoption.opened", adoption.adoption, "setpoint", body)
        return replace(adoption, state=AdoptionState.OPEN, commit=name)

    def _look(self, adoption: Adoption, delivery: Delivery) -> None:
        """Journal what became of a branch since the last look."""
        state, why = self._standing.of(adoption, delivery)
        if state is adoption.state:
            return
        body = {"app": adoption.app, "environment": adoption.environment, "why": why}
        kind = "adoption.merged" if state is AdoptionState.MERGED else "adoption.ended"
        facts = [Fact(kind, adoption.adoption, "setpoint", body | ({"state": state.value} if kind == "adoption.ended" else {}))]
        self._parts.recorder.record_all(facts)


@contextmanager
def _going_on(about: str) -> Iterator[None]:
    """Log what goes wrong with one adoption, whatever it is: neither the others nor the pass of the environment wait for it."""
    try:
        yield
    except SetpointError as error:
        log.warning("adopting %s: %s", about, error.render())
    except Exception:
        log.exception("adopting %s failed", about)


def _adoptable(case: Drift, one: LiveField | None) -> LiveField:
    """Return the field, or refuse what is not written into files."""
    where, fix = f"{case.subject} {case.field}", f"setpoint heal {case.app} {case.environment}, or change the files yourself"
    if one is None:
        raise UserError(_REFUSED, "an object that somebody deleted is left out of the files by a person", where=where, fix=fix)
    if one.secret:
        raise UserError(_REFUSED, "a secret's value is never written into Git in clear", where=where, fix="change it with sops, and push")
    if one.live is None:
        what = "what somebody took away is taken out of the files by a person"
        raise UserError(_REFUSED, what, where=where, fix=fix)
    if isinstance(one.live, dict | list):
        raise UserError(_REFUSED, "a list or mapping that counts as one value is changed by a person", where=where, fix=fix)
    return one


def _is(value: object, one: LiveField) -> bool:
    meta = value.get("metadata") if isinstance(value, dict) else None
    return isinstance(value, dict) and isinstance(meta, dict) and (value.get("kind"), meta.get("name")) == (one.key.kind, one.key.name)


def _at(value: object, one: LiveField) -> object:
    """Return what a rendered object has at a field; None when it has none."""
    found = value
    for element in one.path:
        found = paths.find(found, element)
    return found
