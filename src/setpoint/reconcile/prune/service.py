"""Keeps inventories and removes what they name: the superset first, then what is new, what is gone last (law 7).

Called by targets around every step, and by the API for a person's word. What may not be removed stays desired, as the pin
that wanted it last defined it. It stops nothing itself: what is no longer desired is drained and stopped by the rollout.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from setpoint.core import records
from setpoint.core.errors import ConflictError, NotFoundError
from setpoint.ground.hold.decide import words
from setpoint.ground.hold.model import Hold
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.model import Pin
from setpoint.promotion.people import require_responsible
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.reconcile.model import DeployReason, DesiredState, Identity, Release, ReplicaStatus
from setpoint.reconcile.ports import DeploymentRecords
from setpoint.reconcile.prune import decide
from setpoint.reconcile.prune.model import Held, Inventory, Prunable, set_of
from setpoint.reconcile.prune.ports import InventoryRecords
from setpoint.reconcile.rendering import Rendering

Place = tuple[str, str]
"""(application, environment)"""


@dataclass(frozen=True, slots=True)
class PruneParts:
    """What the service works with."""

    records: InventoryRecords
    deployments: DeploymentRecords
    recorder: Recorder
    reader: DeliveryReader
    rendering: Rendering
    replicas: Callable[[], list[ReplicaStatus]]
    approved: Callable[[str], Collection[str]]
    """promotion -> the objects whose removal people approved with it"""
    leases: Callable[[str, str], Sequence[Hold]] = lambda _environment, _app: ()
    """(environment, application) -> the break-glass leases in force there: nothing is removed under one"""


class PruneService:
    """All inventories of a home; safe to call from several threads."""

    def __init__(self, parts: PruneParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._known: dict[Place, Inventory] | None = None

    def keep(self, delivery: Delivery, pin: Pin, desired: DesiredState, *, whole: bool) -> tuple[DesiredState, tuple[DeployReason, ...]]:
        """Return the desired state with what must not be removed, and the reasons; writes the inventory before anything is started.

        Without `whole` (the pin at HEAD was refused) nothing is removed and nothing is said.

        Raises:
            UserError: something must be kept, and the pin that wanted it cannot be rendered any more; then nothing may be touched.
        """
        place = (desired.app, desired.environment)
        found, before = self.settle(delivery, pin, decide.objects_of(desired), whole=whole)
        kept = [self._definition(delivery, place, name, before.objects[name]) for name in found.keep]
        return _with(desired, kept), decide.reasons(found, *place) if whole else ()

    def settle(
        self, delivery: Delivery, pin: Pin, wanted: Sequence[str], *, whole: bool, retired: Collection[str] = ()
    ) -> tuple[decide.Decision, Inventory]:
        """Return what of the inventory is removed and kept, and the inventory of before; the new one, a superset, is written first.

        Retired is what goes because its revision is over.
        """
        place = (pin.candidate.app, pin.candidate.environment)
        with self._lock:
            before = self._all().get(place, Inventory(*place))
            gone = tuple(sorted(set(before.objects) - set(wanted)))
            found = decide.Decision(keep=gone)
            leases = self._parts.leases(place[1], place[0]) if whole and gone else ()
            if leases:
                found = decide.Decision(keep=gone, held=before.held, waits=f"{words(leases[0])}, so nothing is removed")
            elif whole and gone:
                budget = delivery.environment(place[1]).prune.budget
                found = decide.decide_all(before, wanted, pin.commit, budget, self._parts.approved(pin.promotion), retired)
            objects = {**before.objects, **dict.fromkeys(wanted, pin.commit)}
            after = replace(before, objects=objects)
            if whole:
                going_on = bool(found.remove) and bool(before.confirmed)
                after = replace(after, held=before.held if going_on else found.held, confirmed=before.confirmed if going_on else "")
            if after.held is not None and after.held != before.held:
                self._put(after, "prune.held", records.encode(after.held))
            elif after != before:
                self._put(after, "inventory.written", {})
        return found, before

    def approved(self, pin: Pin) -> Collection[str]:
        """Return the objects whose loss people approved with a pin's promotion."""
        return self._parts.approved(pin.promotion)

    def leases(self, app: str, environment: str) -> tuple[Hold, ...]:
        """Return the break-glass leases under which nothing of an application is removed."""
        return tuple(self._parts.leases(environment, app))

    def forget(self, pin: Pin, gone: Sequence[str]) -> None:
        """Note objects that are gone, for who knows it."""
        place = (pin.candidate.app, pin.candidate.environment)
        with self._lock:
            inventory = self._all().get(place)
            if inventory is None or not gone:
                return
            left = {name: commit for name, commit in inventory.objects.items() if name not in gone}
            body = {"app": place[0], "environment": place[1], "objects": sorted(gone), "pin": pin.commit}
            self._put(replace(inventory, objects=left), "prune.done", body)

    def inventory(self, app: str, environment: str) -> Inventory:
        """Return what was made of an application in an environment."""
        with self._lock:
            return self._all().get((app, environment), Inventory(app, environment))

    def done(self, pin: Pin, desired: DesiredState) -> None:
        """Note what is gone: objects of the inventory that are not desired, once no replica of theirs is left."""
        place = (desired.app, desired.environment)
        with self._lock:
            inventory = self._all().get(place)
            gone = sorted(set(inventory.objects) - set(decide.objects_of(desired))) if inventory is not None else []
            if inventory is None or not gone:
                return
            running = {f"Deployment/{r.spec.workload}" for r in self._parts.replicas() if _place(r) == place and r.spec.job is None}
            if running & set(gone):
                return
            left = {name: commit for name, commit in inventory.objects.items() if name not in gone}
            self._put(Inventory(*place, left), "prune.done", {"app": place[0], "environment": place[1], "objects": gone, "pin": pin.commit})

    # Applications that are no longer in setpoint.yaml

    def orphans(self, delivery: Delivery) -> list[Prunable]:
        """Return what still runs of applications or environments that the delivery repository no longer has."""
        with self._lock:
            known = {place: one for place, one in self._all().items() if one.objects}
        for seen in self._parts.deployments.deployments():
            if seen.pin_commit:
                known.setdefault((seen.app, seen.environment), Inventory(seen.app, seen.environment))
        found = []
        for (app, environment), inventory in sorted(known.items()):
            if delivery.runs(app, environment):
                continue
            objects = tuple(sorted(inventory.objects)) or ("Deployment/*",)
            why = _why_orphaned(delivery, app, environment)
            found.append(Prunable(app, environment, orphaned=True, held=Held(objects, "", why, set_of(objects, ""))))
        return found

    def retiring(self, delivery: Delivery, environment: str) -> list[Release]:
        """Return releases without anything, for orphans of an environment whose removal a person confirmed, or of a preview that ends."""
        with self._lock:
            confirmed = {place: one.confirmed for place, one in self._all().items() if one.confirmed and place[1] == environment}
        ends = _ends(delivery, environment)
        if not ends and not any(not delivery.runs(app, environment) for app, _ in confirmed):
            return []
        every = [one for one in self.orphans(delivery) if one.environment == environment]
        return [
            Release(DesiredState(one.app, environment, (), (), ""), Identity(one.app, environment, "", "", ""))
            for one in every
            if ends or confirmed.get((one.app, environment)) == one.held.set
        ]

    def retired(self, release: Release) -> None:
        """Forget an orphan once nothing of it runs."""
        place = (release.app, release.desired.environment)
        if any(_place(replica) == place for replica in self._parts.replicas()):
            return
        with self._lock:
            inventory = self._all().get(place, Inventory(*place))
            body = {"app": place[0], "environment": place[1], "objects": sorted(inventory.objects), "pin": ""}
            self._put(Inventory(*place), "prune.done", body)
        self._parts.recorder.record(
            "deployment.observed", "/".join(place), "setpoint", {"app": place[0], "environment": place[1], "gone": True}
        )

    # A person's word

    def held(self, app: str, environment: str) -> Held | None:
        """Return the removal of an application's objects that waits for a confirmation."""
        with self._lock:
            inventory = self._all().get((app, environment))
        return inventory.held if inventory is not None else None

    def prunable(self, delivery: Delivery, app: str, environment: str) -> Prunable:
        """Return what waits for a confirmation.

        Raises:
            NotFoundError: nothing does (SP661).
        """
        held = self.held(app, environment)
        if held is not None and delivery.runs(app, environment):
            return Prunable(app, environment, orphaned=False, held=held)
        for orphan in self.orphans(delivery):
            if (orphan.app, orphan.environment) == (app, environment):
                return orphan
        fix = f"setpoint why {app} {environment}"
        raise NotFoundError("SP661", "nothing waits to be removed there", where=f"{app} in {environment}", fix=fix)

    def confirm(self, delivery: Delivery, place: Place, principal: Principal, wanted: str, message: str) -> Prunable:
        """Confirm the removal of exactly a set, which the next pass makes.

        Raises:
            NotAllowedError: only owners, approvers and the operator (SP514).
            NotFoundError: nothing waits (SP661).
            ConflictError: it is another set by now (SP662).
        """
        require_responsible(delivery, place[1], principal)
        found = self.prunable(delivery, *place)
        if found.held.set != wanted:
            what = f"what would be removed changed: now {', '.join(found.held.objects)}"
            raise ConflictError("SP662", what, where=f"{place[0]} in {place[1]}", fix="look again: setpoint prune shows it")
        with self._lock:
            inventory = self._all().get(place, Inventory(*place))
            body = {**records.encode(found.held), "message": message}
            self._put(replace(inventory, confirmed=wanted), "prune.confirmed", body, principal.actor)
        return found

    def _definition(self, delivery: Delivery, place: Place, name: str, commit: str) -> DesiredState:
        """Return the part of an earlier desired state that an object is."""
        pin = self._parts.reader.pin_at(delivery.repository, commit, place[1], place[0])
        if pin is None:
            what = f"the pin that wanted {name} cannot be read any more, so it is left alone together with everything else"
            raise NotFoundError("SP663", what, where=f"{place[0]} in {place[1]}", fix="restore the history of the delivery repository")
        state = self._parts.rendering.desired(pin.candidate, delivery.repository)
        return replace(
            state,
            workloads=tuple(one for one in state.workloads if f"Deployment/{one.name}" == name),
            jobs=tuple(one for one in state.jobs if f"Job/{one.name}" == name),
            routes=tuple(one for one in state.routes if f"HTTPRoute/{one.name}" == name),
        )

    def _all(self) -> dict[Place, Inventory]:
        if self._known is None:
            self._known = {(one.app, one.environment): one for one in self._parts.records.inventories()}
        return self._known

    def _put(self, inventory: Inventory, kind: str, body: Mapping[str, object], actor: str = "setpoint") -> None:
        """Journal a change of an inventory: every entry carries the whole of it."""
        subject = f"{inventory.app}/{inventory.environment}"
        self._parts.recorder.record(kind, subject, actor, {**body, "inventory": records.encode(inventory)})
        self._all()[inventory.app, inventory.environment] = inventory


def _ends(delivery: Delivery, environment: str) -> bool:
    """Say whether an environment is a preview that ends: owners said when, with its file, and it is its own budget."""
    preview = delivery.generated.previews.get(environment)
    return preview is not None and bool(preview.life.ended)


def _why_orphaned(delivery: Delivery, app: str, environment: str) -> str:
    """Return why nothing wants an application in an environment any more."""
    if environment not in delivery.environments:
        return f"there is no environment {environment}"
    if _ends(delivery, environment):
        return f"the preview ends: {delivery.generated.previews[environment].life.ended}"
    made = delivery.generated.environments.get(environment)
    if made is not None and app in delivery.setpoint.apps:
        return f"{made.element} does not make {environment} any more"
    return f"{app} does not run in {environment} any more" if app in delivery.setpoint.apps else f"{app} is no longer in setpoint.yaml"


def _place(replica: ReplicaStatus) -> Place:
    return (replica.spec.identity.app, replica.spec.identity.environment)


def _with(desired: DesiredState, kept: list[DesiredState]) -> DesiredState:
    """Return a desired state with what is kept; an address that it serves itself stays its own."""
    mine = {(hostname, r.path_prefix, r.path_exact) for r in desired.routes for hostname in r.hostnames or ("",)}
    routes = [r for state in kept for r in state.routes if not {(h, r.path_prefix, r.path_exact) for h in r.hostnames or ("",)} & mine]
    workloads, jobs = [w for state in kept for w in state.workloads], [job for state in kept for job in state.jobs]
    if not kept:
        return desired
    return replace(
        desired,
        workloads=(*desired.workloads, *workloads),
        jobs=(*desired.jobs, *jobs),
        routes=(*desired.routes, *routes),
    )
