"""Hooks of a version on a cluster in memory: once, in order, with intent before effect; a failure stops, and a stuck one goes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from setpoint.core.errors import NotAllowedError, SetpointError, UserError, WorldError
from setpoint.core.records import decode
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.hook_runs import HookSet, limit_s
from setpoint.reconcile.cluster.hooking import Hooking, Version, split, unrun
from setpoint.reconcile.cluster.hooks import Phase
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.ports import Cluster, Deletion

DONE = {"conditions": [{"type": "Complete", "status": "True"}], "startTime": "x"}
FAILED = {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}


class Place:
    """A cluster, a journal and a clock in memory."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.kinds: list[str] = []
        self.known: HookSet | None = None
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self.refuses = ""
        self.hides: SetpointError | None = None
        self.hooking = Hooking(self, cast("Any", self), cast("Any", self))

    def now(self) -> datetime:
        """Return the time."""
        return self.at

    def hook_set(self, app: str, environment: str) -> HookSet | None:
        """Return what was journalled last."""
        assert (app, environment) == ("shop", "cloud")
        return self.known

    def record(self, kind: str, subject: str, actor: str, body: Mapping[str, Any]) -> None:
        """Take a journal entry, as it is read again."""
        assert (subject, actor) == ("shop/cloud", "setpoint")
        self.kinds.append(kind)
        self.known = decode(HookSet, dict(body))

    def seen(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Seen]:
        """Return what is there."""
        return {key: Seen(self.objects.get(key), known=True) for key in keys}

    def look(self, objects: Mapping[ObjectKey, str]) -> dict[ObjectKey, Object | SetpointError | None]:
        """Return what is there."""
        return {key: self.hides or self.objects.get(key) for key in objects}

    def apply(self, manifests: Sequence[Object], *, dry_run: bool = False) -> dict[ObjectKey, Object | SetpointError]:
        """Make objects."""
        assert not dry_run
        assert self.kinds[-1] in ("hook.started", "hooks.begun"), "the intent comes first"
        found: dict[ObjectKey, Object | SetpointError] = {}
        for one in manifests:
            key = ObjectKey.of(one)
            self.calls.append(f"make {key.name}")
            if self.refuses:
                found[key] = UserError("SP686", self.refuses)
            else:
                self.objects[key] = {**one, "metadata": {**one["metadata"], "uid": "u"}}
                found[key] = self.objects[key]
        return found

    def delete(self, deletions: Sequence[Deletion]) -> dict[ObjectKey, SetpointError | None]:
        """Delete objects at once."""
        for one in deletions:
            self.calls.append(f"delete {one.key.name}")
            self.objects.pop(one.key, None)
        return {one.key: None for one in deletions}

    def said(self, key: ObjectKey) -> str:
        """Return a log."""
        return f"{key.name}: no such table"

    def status(self, name: str, status: dict[str, Any]) -> None:
        """Give an object a status."""
        (key,) = [key for key in self.objects if key.name == name]
        self.objects[key] = {**self.objects[key], "status": status}

    def version(self, candidate: str, *hooks: dict[str, Any], fresh: bool = False) -> Version:
        """Return a version with hooks."""
        return Version("shop", "cloud", f"sha256:{candidate * 64}", fresh, hooks, cast("Cluster", self), dict)


def _job(name: str, hook: str = "pre-sync", **notes: str) -> dict[str, Any]:
    prefixed = {f"setpoint.dev/{key.replace('_', '-')}": value for key, value in notes.items()}
    meta = {"name": name, "namespace": "n", "annotations": {"setpoint.dev/hook": hook, **prefixed}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": {}}}


def _codes(place: Place, version: Version, phase: Phase = Phase.PRE_SYNC) -> list[str]:
    taken = place.hooking.run(version, phase)
    return [one.code for one in (*taken.faults, *taken.waits)]


def test_hooks_run_once_wave_by_wave() -> None:
    """The second begins when the first is done; when both are, nothing is called any more, in any later pass."""
    place = Place()
    version = place.version("a", _job("first"), _job("second", wave="1"), _job("after", "post-sync"))
    assert _codes(place, version) == ["HOOK_RUNS"]
    assert _codes(place, version) == ["HOOK_RUNS"]
    assert place.calls == ["make first"]
    place.status("first", DONE)
    assert _codes(place, version) == ["HOOK_RUNS"]
    place.status("second", DONE)
    assert _codes(place, version) == []
    assert place.calls == ["make first", "make second"]
    place.calls.clear()
    place.objects.clear()
    assert (_codes(place, version), place.calls) == ([], [])
    assert _codes(place, version, Phase.POST_SYNC) == ["HOOK_RUNS"]
    assert place.calls == ["make after"]


@pytest.mark.parametrize("crash", ["before the object", "after the object"])
def test_a_crash_in_the_middle_neither_runs_twice_nor_skips(crash: str) -> None:
    """With the intent alone it is made; with its object there it is found again and not made."""
    place = Place()
    version = place.version("a", _job("migrate"))
    _codes(place, version)
    assert place.known is not None
    (run,) = place.known.runs
    place.known = place.known.put(replace(run, state="started"))
    place.calls.clear()
    if crash == "before the object":
        place.objects.clear()
    assert _codes(place, version) == ["HOOK_RUNS"]
    assert place.calls == (["make migrate"] if crash == "before the object" else [])
    place.status("migrate", DONE)
    assert _codes(place, version) == []


def test_one_that_was_taken_away_is_lost_and_is_not_run_again() -> None:
    """Nobody knows whether it did its work; a person does, and pushes the next version."""
    place = Place()
    version = place.version("a", _job("migrate"))
    _codes(place, version)
    place.objects.clear()
    place.calls.clear()
    assert _codes(place, version) == ["HOOK_FAILED"]
    assert _codes(place, version) == ["HOOK_FAILED"]
    assert place.calls == []


def test_a_failure_says_its_last_words_and_stops() -> None:
    """The hook of a failure runs then; a mended version begins anew, and deletes what the first one left."""
    place = Place()
    version = place.version("a", _job("migrate"), _job("tell", "sync-fail"))
    _codes(place, version)
    place.status("migrate", FAILED)
    taken = place.hooking.run(version, Phase.PRE_SYNC)
    assert [one.code for one in taken.faults] == ["HOOK_FAILED"]
    assert "no such table" in taken.faults[0].found
    assert place.calls == ["make migrate", "make tell"]
    place.status("tell", DONE)
    assert _codes(place, version) == ["HOOK_FAILED"]
    mended = place.version("b", _job("migrate"))
    assert _codes(place, mended) == ["HOOK_RUNS"]
    assert place.calls[2:] == ["delete tell", "delete migrate"]
    assert _codes(place, mended) == ["HOOK_RUNS"]
    assert place.calls[4:] == ["make migrate"]


def test_a_version_that_comes_back_has_had_its_hooks() -> None:
    """A rollback runs no migration again."""
    place = Place()
    for candidate in ("a", "b"):
        version = place.version(candidate, _job("migrate", hook_delete_policy="hook-succeeded"))
        _codes(place, version)
        place.status("migrate", DONE)
        assert _codes(place, version) == []
        assert place.objects == {}
    place.calls.clear()
    assert (_codes(place, place.version("a", _job("migrate"))), place.calls) == ([], [])


@pytest.mark.parametrize(("ready", "waits"), [(0, False), (1, True)])
def test_a_new_version_replaces_a_stuck_hook_and_waits_for_one_that_works(ready: int, waits: bool) -> None:  # noqa: FBT001 - a case
    """A pod that never started holds up nobody; one that runs is let finish, until its time is over."""
    place = Place()
    _codes(place, place.version("a", _job("old")))
    place.status("old", {"active": 1, "ready": ready})
    place.calls.clear()
    mended = place.version("b", _job("new"))
    assert _codes(place, mended) == ["HOOK_RUNS"]
    assert place.calls == ([] if waits else ["delete old", "make new"])
    place.at += timedelta(seconds=601)
    _codes(place, mended)
    assert "make new" in place.calls


def test_a_hook_that_cannot_be_looked_at_is_waited_for() -> None:
    """A busy server does not say that the hook before is out of the way; one that no longer serves the kind does."""
    place = Place()
    _codes(place, place.version("a", _job("old")))
    place.calls.clear()
    mended = place.version("b", _job("new"))
    for error in (WorldError("SP682", "too many requests"), NotAllowedError("SP683", "no")):
        place.hides = error
        assert (_codes(place, mended), place.calls) == (["HOOK_RUNS"], [])
        assert error.what in place.hooking.run(mended, Phase.PRE_SYNC).waits[0].found
    place.hides = UserError("SP687", "no such kind")
    assert (_codes(place, mended), place.calls) == (["HOOK_RUNS"], ["make new"])


def test_a_removal_forgets_no_hook_that_it_could_not_look_at() -> None:
    """The next pass has to find it again; what is of no served kind is gone."""
    place = Place()
    _codes(place, place.version("a", _job("old")))
    before, place.hides = place.known, WorldError("SP682", "too many requests")
    assert not place.hooking.leave(cast("Cluster", place), "shop", "cloud")
    assert place.known is before
    assert [key.name for key in place.objects] == ["old"]
    place.hides = None
    assert place.hooking.leave(cast("Cluster", place), "shop", "cloud")
    assert place.objects == {}
    assert place.hooking.leave(cast("Cluster", place), "shop", "cloud"), "it is done for good"


def test_a_hooks_job_has_no_time_to_live() -> None:
    """The cluster would take it away before anybody noted that it was made, and it would run twice; its delete policy is what counts."""
    place, job = Place(), _job("migrate")
    job["spec"] = {"template": {}, "ttlSecondsAfterFinished": 0, "backoffLimit": 2}
    _codes(place, place.version("a", job))
    (made,) = place.objects.values()
    assert made["spec"] == {"template": {}, "backoffLimit": 2}
    assert job["spec"]["ttlSecondsAfterFinished"] == 0, "what was rendered is not changed"


def test_one_that_takes_too_long_fails_and_is_ended() -> None:
    """Its time is in an annotation, or its Job's deadline, or ten minutes."""
    place = Place()
    version = place.version("a", _job("slow", hook_timeout="30s"))
    _codes(place, version)
    place.status("slow", {"active": 1, "ready": 1})
    place.at += timedelta(seconds=31)
    assert _codes(place, version) == ["HOOK_FAILED"]
    assert place.calls == ["make slow", "delete slow"]
    assert limit_s({"kind": "Job", "metadata": {}, "spec": {"activeDeadlineSeconds": 60}}) == 90
    assert limit_s({"kind": "Job", "metadata": {}, "spec": {}}) == 600


def test_one_that_the_cluster_refuses_failed() -> None:
    """A webhook's words are the reason."""
    place = Place()
    place.refuses = "a webhook denied the request"
    taken = place.hooking.run(place.version("a", _job("migrate")), Phase.PRE_SYNC)
    assert "a webhook denied the request" in taken.faults[0].found


def test_helms_installs_and_upgrades_are_told_apart() -> None:
    """What was there before the first pass decides, for all passes of the version; tests are never run, and removals run none."""
    notes = {"helm.sh/hook": "pre-install"}
    install = {**_job("install"), "metadata": {"name": "install", "namespace": "n", "annotations": notes}}
    upgrade = {**_job("upgrade"), "metadata": {"name": "upgrade", "namespace": "n", "annotations": {"helm.sh/hook": "pre-upgrade"}}}
    test = {**_job("test"), "metadata": {"name": "test", "namespace": "n", "annotations": {"helm.sh/hook": "test"}}}
    remove = {**_job("remove"), "metadata": {"name": "remove", "namespace": "n", "annotations": {"helm.sh/hook": "pre-delete"}}}
    kept, hooks = split([install, upgrade, test, remove, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}])
    assert [one["metadata"]["name"] for one in kept] == ["c"]
    assert [one["metadata"]["name"] for one in hooks] == ["install", "upgrade", "remove"]
    assert [one.code for one in unrun(hooks)] == ["HOOK_NOT_RUN"]
    place = Place()
    place.hooking.begin(place.version("a", *hooks, fresh=True))
    for _ in range(2):
        _codes(place, place.version("a", *hooks))
    assert place.calls == ["make install"]
    place.status("install", DONE)
    _codes(place, place.version("b", *hooks))
    assert "make upgrade" in place.calls


def test_what_is_no_hook_any_more_goes_and_a_removal_takes_all() -> None:
    """No inventory names what hooks made; an application that comes back after its removal is installed anew."""
    place = Place()
    version = place.version("a", _job("migrate"), _job("seed"))
    _codes(place, version)
    for name in ("migrate", "seed"):
        place.status(name, DONE)
    assert _codes(place, version) == []
    place.calls.clear()
    assert (_codes(place, place.version("b", _job("seed"))), place.calls) == (["HOOK_RUNS"], ["delete migrate", "delete seed"])
    assert _codes(place, place.version("b", _job("seed"))) == ["HOOK_RUNS"]
    place.status("seed", DONE)
    _codes(place, place.version("b", _job("seed")))
    place.calls.clear()
    assert (_codes(place, place.version("c")), place.calls) == ([], ["delete seed"])
    assert (_codes(place, place.version("d")), place.kinds[-1]) == ([], "hooks.begun")
    _codes(place, place.version("e", _job("seed")))
    place.hooking.leave(cast("Cluster", place), "shop", "cloud")
    assert place.objects == {}
    place.hooking.begin(place.version("a", _job("migrate"), fresh=True))
    assert place.known is not None
    assert place.known.first
