"""Runs the hooks of a version: before its objects are applied, after they are well, or after a hook failed; each once, whatever crashes.

Called by the target around the step of an application. What is to be made is journalled before it is made, and a live object carries the
run that made it: a server that comes back finds its object, or that it was never made. What was made and is gone is `lost`, and is not run
again by itself. A new version waits for a hook that works, and takes the place of one that is stuck. What hooks made is in no inventory:
the journal's newest set of hooks names it, and no budget counts it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from setpoint.core import clock, records
from setpoint.core.errors import NotFoundError, SetpointError, UserError
from setpoint.ground.journal.ports import Recorder
from setpoint.reconcile.cluster.applying import Taken
from setpoint.reconcile.cluster.hook_runs import RUN, Hook, HookRecords, HookRun, HookSet, begun, has_pod, is_of, judged, waves
from setpoint.reconcile.cluster.hooks import DeletePolicy, Phase, place
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.ports import Cluster, Deletion
from setpoint.reconcile.model import DeployReason

Naming = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""A manifest -> as it is applied, with its owner and identity, and opened"""


@dataclass(frozen=True, slots=True)
class Version:
    """Whose hooks are run, and what they are made with."""

    app: str
    environment: str
    candidate: str
    fresh: bool
    """Nothing of the application was seen there before."""
    manifests: Sequence[dict[str, Any]]
    cluster: Cluster
    naming: Naming


@dataclass(frozen=True, slots=True)
class Hooking:
    """The hooks of one home."""

    records: HookRecords
    recorder: Recorder
    clock: clock.Clock

    def begin(self, version: Version) -> None:
        """Note a version before its inventory is written: what was there before tells installs from upgrades."""
        self._current(version, Taken())

    def leave(self, cluster: Cluster, app: str, environment: str) -> bool:
        """Delete what hooks left of an application that is removed, and forget its versions: one that comes back is installed anew.

        Returns whether that is done: not while one of them cannot be looked at.
        """
        known = self.records.hook_set(app, environment)
        if known is None or not known.candidate:
            return True
        looks = cluster.look({ObjectKey.parse(run.hook): run.api_version for run in known.runs})
        left = False
        for key, live in looks.items():
            if isinstance(live, SetpointError):
                left = left or not _is_unserved(live)
            elif live is not None and RUN in ((live.get("metadata") or {}).get("annotations") or {}):
                _delete(cluster, key, live)
        if not left:
            self._note("hooks.begun", HookSet(app, environment, "", first=False))
        return not left

    def run(self, version: Version, phase: Phase) -> Taken:
        """Take the hooks of a phase one step on, wave by wave; what it returns empty has done its work."""
        taken = Taken()
        current = self._current(version, taken)
        if current is None:
            return taken
        hooks = [self._hook(one, current) for one in version.manifests]
        taken.faults += [DeployReason(r.code, r.subject, r.found, r.fix, "problem") for one in hooks for r in one.placement.problems]
        for wave in [] if taken.faults else waves(hooks, phase):
            for hook in wave:
                current = self._advanced(version, current, hook, phase, taken)
            if taken.faults or taken.waits:
                break
        if taken.faults and phase is not Phase.SYNC_FAIL and not taken.waits:
            taken.waits += self.run(version, Phase.SYNC_FAIL).waits
        return taken

    def _current(self, version: Version, taken: Taken) -> HookSet | None:
        """Return the set of hooks that this version has to run; None when it has had its own, or waits for those of the version before."""
        known = self.records.hook_set(version.app, version.environment)
        if not version.manifests and (known is None or not known.runs):
            return None
        if known is not None and (known.candidate == version.candidate or version.candidate in known.done):
            return known if known.candidate == version.candidate else None
        if known is None or not known.candidate:
            fresh = HookSet(version.app, version.environment, version.candidate, first=version.fresh)
            return self._note("hooks.begun", fresh)
        if self._clears(version, known, taken):
            return self._note("hooks.begun", known.next(version.candidate))
        return None

    def _clears(self, version: Version, known: HookSet, taken: Taken) -> bool:
        """Say whether the hooks of the version before are out of the way.

        One that works is waited for; one that is stuck is deleted, and so is what is no hook of this version.
        """
        kept = {str(ObjectKey.of(one)) for one in version.manifests}
        left = {ObjectKey.parse(run.hook): run for run in known.runs if run.state in ("started", "made") or run.hook not in kept}
        looks = version.cluster.look({key: run.api_version for key, run in left.items()}) if left else {}
        for key, run in left.items():
            live = looks[key]
            if isinstance(live, SetpointError):
                if not _is_unserved(live):
                    found = f"whether the version before still runs this hook cannot be looked at: {live.what}"
                    taken.waits.append(DeployReason("HOOK_RUNS", key.subject, found, live.fix))
                continue
            if live is None or not is_of(live, known.name(Phase(run.phase))):
                continue
            if run.state in ("started", "made") and has_pod(live) and clock.to_text(self.clock.now()) <= run.until:
                found = f"the version before still runs this hook, until {clock.spoken(run.until)} at the latest"
                taken.waits.append(DeployReason("HOOK_RUNS", key.subject, found))
            else:
                _delete(version.cluster, key, live)
        return not taken.waits

    def _hook(self, manifest: dict[str, Any], current: HookSet) -> Hook:
        return Hook(ObjectKey.of(manifest), manifest, place(manifest, first=current.first))

    def _advanced(self, version: Version, current: HookSet, hook: Hook, phase: Phase, taken: Taken) -> HookSet:
        """Take one hook one step on, and return what is known of all of them."""
        run, seen = current.run(hook, phase), version.cluster.seen([hook.key])[hook.key]
        if run is not None and run.state == "succeeded":
            return current
        if run is not None and run.state in ("failed", "lost"):
            fix = "push a mended version; what runs goes on"
            taken.faults.append(DeployReason("HOOK_FAILED", hook.key.subject, f"{phase} hook: {run.found}", fix, "problem"))
            return current
        if not seen.known or seen.stale_since:
            taken.waits.append(DeployReason("HOOK_RUNS", hook.key.subject, f"{phase} hook: it cannot be looked at: {seen.stale_reason}"))
            return current
        if run is None:
            run = begun(hook, phase, self.clock.now())
            current = self._note("hook.started", current.put(run))
        if run.state == "started":
            return self._made(version, current, (hook, run), seen.live, taken)
        return self._looked(version, current, (hook, run), seen.live, taken)

    def _made(self, version: Version, current: HookSet, which: tuple[Hook, HookRun], live: Object | None, taken: Taken) -> HookSet:
        """Make a hook's object, once what another run left is gone; one that is there already was made before a crash."""
        (hook, run), name = which, current.name(Phase(which[1].phase))
        if live is not None and not is_of(live, name):
            taken.waits.append(DeployReason("HOOK_RUNS", hook.key.subject, f"{run.phase} hook: what an earlier run left is deleted first"))
            _delete(version.cluster, hook.key, live)
            return current
        if live is None:
            result = version.cluster.apply([version.naming(_marked(hook.manifest, name))])[hook.key]
            if isinstance(result, UserError):
                failed = replace(run, state="failed", found=f"it cannot be made: {result.what}")
                return self._ended(version, current, (hook, failed), None, taken)
            if isinstance(result, SetpointError):
                taken.waits.append(DeployReason("HOOK_RUNS", hook.key.subject, f"{run.phase} hook: {result.what}", result.fix))
                return current
        found = f"{run.phase} hook: it runs, until {clock.spoken(run.until)} at the latest"
        taken.waits.append(DeployReason("HOOK_RUNS", hook.key.subject, found))
        return self._note("hook.started", current.put(replace(run, state="made")))

    def _looked(self, version: Version, current: HookSet, which: tuple[Hook, HookRun], live: Object | None, taken: Taken) -> HookSet:
        """Look how a hook stands that was made."""
        hook, run = which
        mine = live if live is not None and is_of(live, current.name(Phase(run.phase))) else None
        after = judged(run, mine, self.clock.now())
        if after.state == "made":
            found = f"{run.phase} hook: it runs, until {clock.spoken(run.until)} at the latest"
            taken.waits.append(DeployReason("HOOK_RUNS", hook.key.subject, found))
            return current
        if after.state == "failed":
            said = version.cluster.said(hook.key)
            after = replace(after, found=f"{after.found}; it said last: {said}" if said else after.found)
        return self._ended(version, current, (hook, after), mine, taken)

    def _ended(self, version: Version, current: HookSet, which: tuple[Hook, HookRun], live: Object | None, taken: Taken) -> HookSet:
        """Journal how a hook ended, and delete its object where its policy says so; what did not end in time is deleted always."""
        hook, run = which
        current = self._note("hook.finished", current.put(run))
        policy = DeletePolicy.SUCCEEDED if run.state == "succeeded" else DeletePolicy.FAILED
        if live is not None and (policy in hook.placement.deletion or (run.state == "failed" and has_pod(live))):
            _delete(version.cluster, hook.key, live)
        if run.state != "succeeded":
            fix = "push a mended version; what runs goes on"
            taken.faults.append(DeployReason("HOOK_FAILED", hook.key.subject, f"{run.phase} hook: {run.found}", fix, "problem"))
        return current

    def _note(self, kind: str, current: HookSet) -> HookSet:
        self.recorder.record(kind, f"{current.app}/{current.environment}", "setpoint", records.encode(current))
        return current


def _marked(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a hook's manifest with the run that makes it.

    A Job keeps no time to live: its delete policy says when it goes, and one that the cluster took away before it was seen to be made
    would be made, and run, once more.
    """
    meta = manifest["metadata"]
    marked = {**manifest, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), RUN: name}}}
    if manifest.get("kind") == "Job" and isinstance(manifest.get("spec"), Mapping):
        marked["spec"] = {key: value for key, value in manifest["spec"].items() if key != "ttlSecondsAfterFinished"}
    return marked


def _is_unserved(error: SetpointError) -> bool:
    """Say whether a look failed because the cluster serves no such kind any more: its objects went with it."""
    return isinstance(error, NotFoundError) or error.code == "SP687"


def _delete(cluster: Cluster, key: ObjectKey, live: Object) -> None:
    if not (live.get("metadata") or {}).get("deletionTimestamp"):
        cluster.delete([Deletion(key, str(live.get("apiVersion", "")), str((live.get("metadata") or {}).get("uid", "")))])


def unrun(manifests: Sequence[dict[str, Any]]) -> Iterator[DeployReason]:
    """Yield hooks that are never run: those of a removal."""
    for one in manifests:
        phases = place(one, first=False).phases
        if phases and set(phases) <= {Phase.PRE_DELETE, Phase.POST_DELETE}:
            found = f"it is a hook ({', '.join(phases)}), and a removal runs none"
            yield DeployReason("HOOK_NOT_RUN", ObjectKey.of(one).subject, found, "do by hand what it does, before the removal")


def split(manifests: Sequence[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """Return what is applied and stays, and hooks; what is neither (a chart's tests) is left out."""
    kept, hooks = [], []
    for one in manifests:
        found = [place(one, first=first) for first in (True, False)]
        if not found[1].hook and found[1].phases:
            kept.append(one)
        elif any(placement.phases or placement.problems for placement in found):
            hooks.append(one)
    return tuple(kept), tuple(hooks)
