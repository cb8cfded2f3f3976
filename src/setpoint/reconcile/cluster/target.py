"""A namespace of a Kubernetes cluster as a target: one pass compares, writes the inventory, applies in order, prunes and judges health.

Called by the reconcile service through its port. Level-triggered, and without memory but for the server's own answers: an unchanged world
costs no call and no write. A cluster that cannot be looked at is a state with its reason, and nothing is done there meanwhile (law 7).
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from setpoint.artifact.copies import Copies
from setpoint.core.errors import ConflictError, SetpointError, UserError
from setpoint.promotion.model import Pin
from setpoint.promotion.repository import Delivery, DeliveryReader
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster import applying, ignoring
from setpoint.reconcile.cluster.at_once import at_once
from setpoint.reconcile.cluster.comparing import ObjectPlan, Who, deviations, difference_of, plan
from setpoint.reconcile.cluster.decide import Action, ObjectVerdict, Verdicts
from setpoint.reconcile.cluster.desired import waves
from setpoint.reconcile.cluster.hooking import Hooking, Version, unrun
from setpoint.reconcile.cluster.hooks import Phase
from setpoint.reconcile.cluster.inventories import Inventories
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.order import order
from setpoint.reconcile.cluster.owner import Made, Owner
from setpoint.reconcile.cluster.placing import Placing, Wanted
from setpoint.reconcile.cluster.ports import Cluster, Clusters
from setpoint.reconcile.cluster.resting import Rested, Resting
from setpoint.reconcile.cluster.retiring import Retiring
from setpoint.reconcile.cluster.secrets import Opening
from setpoint.reconcile.cluster.seeing import observed, unreachable
from setpoint.reconcile.cluster.shapes import Shapes, with_rollout
from setpoint.reconcile.cluster.shaping import RevisionRollout, Shaped
from setpoint.reconcile.drift.model import Deviation
from setpoint.reconcile.drift.service import DriftService
from setpoint.reconcile.effective import Effective
from setpoint.reconcile.model import Deployment, DeployReason, Difference, Health
from setpoint.reconcile.ports import DeploymentRecords
from setpoint.reconcile.prune import decide as pruning
from setpoint.reconcile.prune.service import PruneService
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.target import Observed, TargetLook

_WELL_S: Final = 10.0
_SOON_S: Final = 1.0
_NOT_LOOKED: Final = "it was not"
"""How a picture begins its reason while it is being made."""


@dataclass(frozen=True, slots=True)
class ClusterParts:
    """What the cluster's environments are kept with."""

    home: str
    """Id of this home: two of them on one cluster know their objects apart."""
    clusters: Clusters
    reader: DeliveryReader
    rendering: Rendering
    records: DeploymentRecords
    drift: DriftService
    prune: PruneService
    copies: Copies
    open: Opening
    needs_host: Callable[[str, str], bool]
    """(OCI repository, digest) -> whether an image is built on the machine of this home, and runs nowhere else"""
    rollout: RevisionRollout
    hooking: Hooking
    refers: Callable[[KubernetesTarget], tuple[str, str] | None] = lambda _target: None
    """target -> (registry, pull secret that its pods have to name)"""


class ClusterTarget:
    """Namespaces of registered clusters."""

    def __init__(self, parts: ClusterParts) -> None:
        self._parts = parts
        self.shapes = Shapes(parts.rollout, parts.reader, parts.rendering, parts.records, parts.prune)
        """What the objects of applications are while they roll out, and in the end."""
        self._placing = Placing(
            parts.home, parts.rendering, parts.copies, parts.needs_host, self.shapes, parts.prune.approved, parts.refers
        )
        self._resting = Resting(parts.prune, self._placing, time.monotonic)
        self._inventories = Inventories(parts.reader, parts.rendering, parts.prune)
        self._retiring = Retiring(parts.home, parts.prune, self._inventories, parts.hooking)
        self._applied: dict[Owner, str] = {}
        """The stamp of which everything was there once: what is missing since was taken away."""
        self._kept: dict[Owner, Verdicts] = {}
        """What the server said, for as long as manifest and live object stay as they were."""

    def advance(self, delivery: Delivery, environment: str, found: Mapping[str, Effective]) -> TargetLook:
        """Take one step towards what should run (see the port)."""
        target, config = _target(delivery, environment), delivery.environment(environment)
        self._parts.drift.remember(environment, config.drift.mode)
        seen: dict[str, Observed] = {}
        try:
            cluster = self._parts.clusters.of(target.cluster)
            cluster.reach()
            resting = self._resting.now(delivery, environment, (cluster, target), found)
            wanted = self._wanted(delivery, environment, (cluster, target), found, (seen, resting))
            followed = {key: version for one in wanted.values() for key, version in one.versions.items()}
            self._refuse_twice(wanted, resting, seen)
            seen |= {app: one.observed for app, one in resting.items() if app not in seen}
            gone = self._gone(delivery, environment, {app: one for app, one in wanted.items() if app not in resting}, seen)
            retiring = self._retiring.found(delivery, environment)
            left = {key: version for _one, objects in retiring for key, version in objects.items()}
            cluster.follow(environment, {**left, **gone, **followed})
            for release, objects in retiring:
                self._retiring.retire(cluster, release, objects)
            marks = {app: cluster.marks([*one.versions]) for app, one in wanted.items() if app not in seen}
            plans = self._plans(cluster, wanted, seen)
            told = ignoring.told(config, {app: one.manifests for app, one in wanted.items()}, plans)
            allowed = self._drifted(environment, wanted, plans)
            rows = {app: _held(mine, wanted[app].owner, allowed) for app, mine in plans.items()}
            steps = {
                app: partial(self._step, delivery, (cluster, target), wanted[app].also(told.get(app, ())), mine, gone)
                for app, mine in rows.items()
            }
            at_once(steps, {app for app, mine in rows.items() if not all(row.rests for row in mine)}, seen)
            drifting = {case.app for case in self._parts.drift.cases(environment, "object")}
            looked = {app: (wanted[app], mine, seen[app]) for app, mine in plans.items() if app not in drifting}
            self._resting.note(delivery, cluster, looked, marks)
            for app in plans:
                self._parts.rollout.applied(app, environment, wanted[app].effective.pin.commit)
        except SetpointError as error:
            for app, effective in found.items():
                if app not in seen:
                    seen[app] = unreachable(error, self._before(effective))
            return TargetLook(seen, _SOON_S)
        well = not retiring and all(one.health is Health.HEALTHY and not one.faults for one in seen.values())
        return TargetLook(seen, _WELL_S if well else _SOON_S)

    def differences(self, delivery: Delivery, environment: str, pin: Pin) -> list[Difference]:
        """Return how the live objects of a pin differ from it, for `diff`; changes nothing.

        Raises:
            SetpointError: as `advance` tells of an application.
        """
        commit = self._passed(environment, pin)
        if commit != pin.commit:
            # Only what was admitted is opened, copied, or shown to the cluster's webhooks.
            return [Difference("pin", "commit", pin.commit[:12], commit[:12] or "none")]
        found: list[Difference] = []
        for row in self.rows(delivery, environment, pin):
            if row.verdict.action is Action.CREATE:
                found.append(Difference(row.key.subject, "object", "there", "not there"))
            elif row.verdict.action is Action.WAIT:
                why = "; ".join(reason.found for reason in row.verdict.reasons)
                found.append(Difference(row.key.subject, "object", "as rendered", why))
            found += [difference_of(row.key, change) for change in row.comparison.differences]
        return found

    def rows(self, delivery: Delivery, environment: str, pin: Pin) -> list[ObjectPlan]:
        """Return the objects of a pin that was passed, each beside what is live; changes nothing.

        Raises:
            ConflictError: another pin was passed last (SP580).
            SetpointError: as `advance` tells of an application.
        """
        if self._passed(environment, pin) != pin.commit:
            where = f"{pin.candidate.app} in {environment}"
            raise ConflictError(
                "SP580", "what is pinned is not what runs", where=where, fix="wait until it is, or until a rollback is over"
            )
        target = _target(delivery, environment)
        cluster = self._parts.clusters.of(target.cluster)
        effective = Effective(pin, self._parts.rendering.desired(pin.candidate, delivery.repository), ())
        return self._plan(cluster, self._placing.placed(delivery, environment, (cluster, target), effective, step=False))

    def _passed(self, environment: str, pin: Pin) -> str:
        """Return the commit of the pin that was passed last; empty for none."""
        before = self._parts.records.deployment(pin.candidate.app, environment)
        return before.pin_commit if before is not None else ""

    # One pass

    def _wanted(
        self,
        delivery: Delivery,
        environment: str,
        where: tuple[Cluster, KubernetesTarget],
        found: Mapping[str, Effective],
        known: tuple[dict[str, Observed], Mapping[str, Rested]],
    ) -> dict[str, Wanted]:
        """Return what can be placed; what cannot is observed with its fault, and left as it is. What rests is placed already."""
        wanted, (seen, resting) = dict[str, Wanted](), known
        for app, effective in found.items():
            try:
                wanted[app] = (
                    resting[app].wanted if app in resting else self._placing.placed(delivery, environment, where, effective, step=True)
                )
            except UserError as error:
                seen[app] = _faulty(effective, error)
        return wanted

    def _gone(self, delivery: Delivery, environment: str, wanted: Mapping[str, Wanted], seen: dict[str, Observed]) -> dict[ObjectKey, str]:
        """Return the objects of inventories that are no longer wanted, with the version they were rendered in.

        Where that cannot be found out, the application alone is left as it is, and told so.
        """
        found: dict[ObjectKey, str] = {}
        for app, one in wanted.items():
            inventory = self._parts.prune.inventory(app, environment)
            names = inventory.objects.keys() - {str(ObjectKey.of(manifest)) for manifest in one.manifests}
            try:
                found |= self._inventories.named(delivery, environment, app, names)
            except UserError as error:
                seen[app] = _faulty(one.effective, error)
        return found

    def _plans(self, cluster: Cluster, wanted: Mapping[str, Wanted], seen: dict[str, Observed]) -> dict[str, list[ObjectPlan]]:
        """Return what the objects of every application want that nothing stands against yet."""
        found = {}
        for app, one in wanted.items():
            if app in seen:
                continue
            try:
                found[app] = self._plan(cluster, one)
            except UserError as error:
                seen[app] = _faulty(one.effective, error)
        return found

    def _refuse_twice(self, wanted: Mapping[str, Wanted], resting: Collection[str], seen: dict[str, Observed]) -> None:
        """Refuse applications that want an object which one before them wants too, and those whose objects lie in another place."""
        holders: dict[ObjectKey, str] = {}
        for app, one in wanted.items():
            keys = one.versions
            twice = [key for key in keys if holders.setdefault(key, app) != app]
            elsewhere = self._elsewhere(one, {key.namespace for key in keys}) if app not in resting else None
            if twice:
                found = f"{holders[twice[0]]} and {app} both want it; {app} is left as it is"
                fix = f"give it another name in {app} or in {holders[twice[0]]}, or remove it from one of them"
                reason = DeployReason("OBJECT_TAKEN", twice[0].subject, found, fix, "problem")
                seen[app] = Observed(Health.DEGRADED, one.effective.notes, (reason,), render=one.effective.desired.digest)
            elif elsewhere is not None:
                seen[app] = Observed(Health.DEGRADED, one.effective.notes, (elsewhere,), render=one.effective.desired.digest)

    def _elsewhere(self, one: Wanted, namespaces: set[str]) -> DeployReason | None:
        """Return why nothing is done: what was made before lies on the host, or in another namespace, and nobody would remove it."""
        names = self._parts.prune.inventory(one.owner.app, one.owner.environment).objects
        strange = sorted(name for name in names if name.count("/") != 3 or ObjectKey.parse(name).namespace not in namespaces)
        if not strange or not namespaces:
            return None
        found = f"the target changed, and {', '.join(strange[:5])} of before is still where it was: nothing is done until it is gone"
        fix = "name the old target again, and begin an environment of another name for the new one"
        return DeployReason("TARGET_CHANGED", f"target of {one.owner.environment}", found, fix, "problem")

    def _plan(self, cluster: Cluster, one: Wanted) -> list[ObjectPlan]:
        before, pin = self._before(one.effective), one.effective.pin
        keys = [ObjectKey.of(manifest) for manifest in one.manifests]
        known = (
            one.shape is None
            or {str(key) for key in keys} <= self._parts.prune.inventory(one.owner.app, one.owner.environment).objects.keys()
        )
        settled = self._applied.get(one.owner) == one.stamp
        settled = settled or (before is not None and before.pin_commit == pin.commit and before.health is Health.HEALTHY and known)
        others = one.shape.made() if one.shape is not None else {}
        who = Who(one.owner, Made(pin.promotion, pin.source_revision, pin.version), self._parts.open, one.approved, others)
        kept = self._kept.setdefault(one.owner, Verdicts())
        kept.forget_but(dict.fromkeys(keys))
        return applying.asked(cluster, plan(one.manifests, cluster.seen(keys), who, kept, settled=settled, declared=one.rules), kept)

    def _drifted(self, environment: str, wanted: Mapping[str, Wanted], plans: Mapping[str, Sequence[ObjectPlan]]) -> frozenset[Difference]:
        """Record what somebody else changed, and return what of it is corrected now."""
        found: list[Deviation] = []
        unseen = {app for app in wanted if app not in plans or any(_is_unlooked(row) for row in plans[app])}
        for app, rows in plans.items():
            if app not in unseen:
                found += [one for mine in deviations(rows, wanted[app].owner).values() for one in mine]
        # What cannot be looked at now is neither over nor new: its cases stay as they are.
        for case in self._parts.drift.cases(environment, "object"):
            if case.app in unseen or case.app not in wanted:
                lasting = Difference(case.subject, case.field, case.desired, case.live)
                found.append(Deviation(case.app, environment, "object", lasting, case.writer))
        return self._parts.drift.judge(environment, "object", found)

    def _step(
        self,
        delivery: Delivery,
        where: tuple[Cluster, KubernetesTarget],
        one: Wanted,
        plans: Sequence[ObjectPlan],
        gone: Mapping[ObjectKey, str],
    ) -> Observed:
        """Bring one application a step further and say how it is."""
        cluster = where[0]
        effective, whole = one.effective, not one.effective.faults
        unlooked = [row for row in plans if _is_unlooked(row)]
        if unlooked:
            unknown = not unlooked[0].seen.stale_reason.startswith(_NOT_LOOKED)
            last = self._before(effective)
            if not unknown and last is not None and last.pin_commit == effective.pin.commit:
                return Observed(last.health, last.reasons, (), last.url, last.replicas_ready, last.replicas_wanted, last.render)
            return observed(effective, plans, where, applying.Taken(waits=[_stale(unlooked[0])]), unknown=unknown)
        ordered = order(one.manifests)
        faults = [DeployReason(r.code, r.subject, r.found, r.fix, "problem") for r in ordered.problems]
        if faults:
            return observed(effective, plans, where, applying.Taken(faults))
        version = self._version(cluster, one)
        if whole and not effective.held:
            self._parts.hooking.begin(version)
        wanted = [str(row.key) for row in plans]
        shaped = one.shape.shaped if one.shape is not None else Shaped(())
        decision, _before = self._parts.prune.settle(delivery, effective.pin, wanted, whole=whole, retired=shaped.retired)
        taken = self._parts.hooking.run(version, Phase.PRE_SYNC) if whole and not effective.held else applying.Taken()
        if taken.faults or taken.waits:
            return with_rollout(observed(effective, plans, where, taken), one.shape)
        rest = applying.ahead(cluster, plans, shaped.first, taken)
        taken.add(applying.apply(cluster, ordered.of(Phase.SYNC), {row.key: row for row in rest}))
        applying.end(cluster, shaped.stuck, taken)
        if all(row.rests for row in plans):
            self._applied[one.owner] = one.stamp
        removing = {ObjectKey.parse(name) for name in decision.remove if name not in shaped.stays}
        if removing:
            self._pruned(cluster, (one, plans), waves(ordered), gone.keys() & removing, taken)
        if whole and not effective.held and one.hooks and not taken.faults and not taken.waits and all(row.rests for row in plans):
            self._afterwards(version, [row.key for row in plans], taken)
        notes = pruning.reasons(decision, effective.pin.candidate.app, effective.pin.candidate.environment) if whole else ()
        effective = replace(effective, notes=(*effective.notes, *notes, *unrun(one.hooks)))
        return with_rollout(observed(effective, plans, where, taken), one.shape)

    def _pruned(
        self,
        cluster: Cluster,
        which: tuple[Wanted, Sequence[ObjectPlan]],
        order_of: Mapping[ObjectKey, int],
        removing: Collection[ObjectKey],
        taken: applying.Taken,
    ) -> None:
        """Delete what is no longer wanted, once everything else is done and well; note what is gone."""
        one, plans = which
        unready = list(applying.unready_of(cluster, [row.key for row in plans if row.live is not None or not row.rests]))
        if unready:
            found = f"{'; '.join(unready[:3])}: what is no longer wanted stays until then"
            taken.waits.append(DeployReason("PRUNE_WAITS", "prune", found))
        if not taken.faults and not taken.waits:
            pruned, absent = applying.prune(cluster, cluster.seen([*removing]), order_of, one.owner)
            taken.add(pruned)
            # What nobody can name a version of was never made, or its pin is gone from history: nothing is known of it.
            self._parts.prune.forget(one.effective.pin, [str(key) for key in absent])

    def _version(self, cluster: Cluster, one: Wanted) -> Version:
        """Return what the hooks of an application are run with."""
        pin, owner = one.effective.pin, one.owner
        inventory = self._parts.prune.inventory(owner.app, owner.environment)
        fresh = all(commit == pin.commit for commit in inventory.objects.values())
        who = Who(owner, Made(pin.promotion, pin.source_revision, pin.version), self._parts.open)
        return Version(owner.app, owner.environment, pin.candidate.digest, fresh, one.hooks, cluster, lambda value: who.names(value, None))

    def _afterwards(self, version: Version, keys: Sequence[ObjectKey], taken: applying.Taken) -> None:
        """Run what comes once everything is there and well."""
        if any(applying.unready_of(version.cluster, keys)):
            return
        for phase in (Phase.SYNC, Phase.POST_SYNC):
            if not taken.faults and not taken.waits:
                taken.add(self._parts.hooking.run(version, phase))

    def _before(self, effective: Effective) -> Deployment | None:
        candidate = effective.pin.candidate
        return self._parts.records.deployment(candidate.app, candidate.environment)


def _held(plans: Sequence[ObjectPlan], owner: Owner, allowed: frozenset[Difference]) -> list[ObjectPlan]:
    """Return the plans without what drifted and is not to be corrected now."""
    found = deviations(plans, owner)
    rows = []
    for one in plans:
        mine = found.get(one.key, [])
        waits = bool(mine) and not all(deviation.difference in allowed for deviation in mine)
        rows.append(replace(one, verdict=ObjectVerdict(Action.NOTHING)) if waits else one)
    return rows


def _faulty(effective: Effective, error: UserError) -> Observed:
    fault = DeployReason(error.code, error.where or effective.pin.candidate.app, error.what, error.fix, "problem")
    return Observed(Health.DEGRADED, effective.notes, (fault,), render=effective.desired.digest)


def _is_unlooked(row: ObjectPlan) -> bool:
    return row.verdict.action is Action.WAIT and (bool(row.seen.stale_since) or not row.seen.known)


def _stale(one: ObjectPlan) -> DeployReason:
    if one.seen.stale_reason.startswith(_NOT_LOOKED) or not one.seen.stale_reason:
        return DeployReason("CLUSTER_LOOKED_AT", one.key.subject, "its kind is being listed")
    found = f"nothing is known of it since {one.seen.stale_since}: {one.seen.stale_reason}"
    fix = "what runs goes on; see address and credential of the cluster"
    return DeployReason("CLUSTER_UNREACHABLE", one.key.subject, found, fix, "problem")


def _target(delivery: Delivery, environment: str) -> KubernetesTarget:
    target = delivery.environment(environment).target.kubernetes
    assert target is not None, "an environment of another target"  # noqa: S101 - the service chooses the target by the same key
    return target
