"""Steps of an application in a cluster, on a cluster in memory: order, owners, what is not wanted any more, and what is only reported."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from setpoint.core.errors import CredentialError, SetpointError, UnreachableError, WorldError
from setpoint.reconcile.cluster import applying
from setpoint.reconcile.cluster.comparing import ObjectPlan, Who, deviations, plan
from setpoint.reconcile.cluster.decide import Action, Seen, Verdicts
from setpoint.reconcile.cluster.hooks import Phase
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.normalise import prepare
from setpoint.reconcile.cluster.order import order
from setpoint.reconcile.cluster.owner import MANAGER, Made, Owner
from setpoint.reconcile.cluster.ports import Deletion
from setpoint.reconcile.cluster.secrets import opened
from setpoint.reconcile.cluster.seeing import unreachable
from setpoint.reconcile.model import Health, SealedSecret

SHOP, OTHER = Owner("h-1", "shop", "cloud"), Owner("h-1", "other", "cloud")


def _fields(value: Mapping[str, Any]) -> dict[str, Any]:
    return {f"f:{key}": _fields(item) if isinstance(item, dict) else {} for key, item in value.items()}


class Memory:
    """A cluster that takes everything as it is given, and notes each call."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.down = False
        self.why = "SP682"

    def reach(self) -> None:
        """It is there."""

    def is_namespaced(self, api_version: str, kind: str) -> bool:
        """Say yes."""
        return bool(api_version and kind)

    def follow(self, place: str, objects: Mapping[ObjectKey, str]) -> None:
        """Follow everything."""
        del place, objects

    def marks(self, keys: Sequence[ObjectKey]) -> tuple[object, ...] | None:
        """Nothing rests here."""
        del keys
        return None

    def seen(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Seen]:
        """Return what is there."""
        return {key: Seen(self.objects.get(key), known=True, digest=str(self.objects.get(key))) for key in keys}

    def look(self, objects: Mapping[ObjectKey, str]) -> dict[ObjectKey, Object | SetpointError | None]:
        """Return what is there."""
        return {key: self.objects.get(key) for key in objects}

    def apply(self, manifests: Sequence[Object], *, dry_run: bool = False) -> dict[ObjectKey, Object | SetpointError]:
        """Take objects, or be busy."""
        if self.down:
            return {ObjectKey.of(one): WorldError(self.why, "busy") for one in manifests}
        found: dict[ObjectKey, Object | SetpointError] = {}
        for one in manifests:
            owned = {name: item for name, item in one.items() if name not in ("apiVersion", "kind", "metadata")}
            meta = {name: item for name, item in one["metadata"].items() if name in ("labels", "annotations")}
            row = {"manager": MANAGER, "operation": "Apply", "apiVersion": one["apiVersion"], "fieldsType": "FieldsV1"}
            row["fieldsV1"] = _fields({**owned, "metadata": meta})
            live = {**one, "metadata": {**one["metadata"], "uid": "u", "managedFields": [row]}}
            found[ObjectKey.of(one)] = live
            if not dry_run:
                self.objects[ObjectKey.of(one)] = live
                self.calls.append(f"apply {ObjectKey.of(one).subject}")
        return found

    def take_over(self, key: ObjectKey, api_version: str, patch: Mapping[str, Any]) -> Object:
        """Note it."""
        del api_version, patch
        self.calls.append(f"take over {key.subject}")
        return self.objects[key]

    def said(self, key: ObjectKey) -> str:
        """Return nothing: no pod ever ran."""
        del key
        return ""

    def delete(self, deletions: Sequence[Deletion]) -> dict[ObjectKey, SetpointError | None]:
        """Note it; the object stays, as behind a finalizer."""
        self.calls += [f"delete {one.key.subject}" for one in deletions]
        return {one.key: None for one in deletions}


def _object(kind: str, name: str, wave: str = "", **more: Any) -> dict[str, Any]:
    version = {"Job": "batch/v1"}.get(kind, "v1")
    notes = {"annotations": {"setpoint.dev/wave": wave}} if wave else {}
    return prepare({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "n", **notes}, **more})


def _plans(cluster: Memory, manifests: Sequence[Object], owner: Owner = SHOP, *, settled: bool = False) -> list[ObjectPlan]:
    who = Who(owner, Made("p-1", "abc", "1"), lambda _secret: {})
    kept = Verdicts()
    keys = [ObjectKey.of(one) for one in manifests]
    return applying.asked(cluster, plan(manifests, cluster.seen(keys), who, kept, settled=settled), kept)


def _pass(cluster: Memory, manifests: Sequence[Object], owner: Owner = SHOP) -> applying.Taken:
    plans = {one.key: one for one in _plans(cluster, manifests, owner)}
    return applying.apply(cluster, order(manifests).of(Phase.SYNC), plans)


def test_a_second_pass_over_what_was_applied_calls_nobody() -> None:
    """Everything is made once; after that the world is as rendered."""
    cluster, manifests = Memory(), [_object("ConfigMap", "a", data={"x": "1"}), _object("ConfigMap", "b", data={"y": "2"})]
    _pass(cluster, manifests)
    assert sorted(cluster.calls) == ["apply ConfigMap/a", "apply ConfigMap/b"]
    cluster.calls.clear()
    assert (_pass(cluster, manifests).faults, cluster.calls) == ([], [])


def test_what_is_made_anew_ends_the_pass() -> None:
    """A Job of wave 0 that has to be replaced is not there as wanted yet, whatever the picture still shows: wave 1 waits."""
    template = {"spec": {"containers": [{"name": "m", "image": "one"}]}}
    cluster = Memory()
    job = _object("Job", "migrate", spec={"template": template})
    _pass(cluster, [job])
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    for live in cluster.objects.values():
        live["status"] = done
    cluster.calls.clear()
    changed = _object("Job", "migrate", spec={"template": {"spec": {"containers": [{"name": "m", "image": "two"}]}}})
    _pass(cluster, [changed, _object("ConfigMap", "after", "1", data={"x": "1"})])
    assert cluster.calls == ["delete Job/migrate"]


def test_an_object_of_another_application_is_not_touched() -> None:
    """Both owners are named, and nothing is called."""
    cluster, manifest = Memory(), _object("ConfigMap", "a", data={"x": "1"})
    _pass(cluster, [manifest], OTHER)
    cluster.calls.clear()
    taken = _pass(cluster, [{**manifest, "data": {"x": "2"}}])
    assert [(fault.code, cluster.calls) for fault in taken.faults] == [("OBJECT_TAKEN", [])]
    assert "other in cloud" in taken.faults[0].found
    assert "shop in cloud" in taken.faults[0].found


def test_a_hands_change_is_drift_and_a_new_manifest_is_none() -> None:
    """Only what differs from what was applied last, and is still wanted, was changed by somebody."""
    cluster, manifest = Memory(), _object("ConfigMap", "a", data={"x": "1"})
    _pass(cluster, [manifest])
    assert deviations(_plans(cluster, [{**manifest, "data": {"x": "2"}}]), SHOP) == {}
    (live,) = cluster.objects.values()
    live["data"] = {"x": "bye"}
    ((deviation,),) = deviations(_plans(cluster, [manifest]), SHOP).values()
    assert (deviation.difference.field, deviation.difference.desired, deviation.difference.live) == ("data.x", "1", "bye")
    cluster.objects.clear()
    assert [one.difference.live for rows in deviations(_plans(cluster, [manifest], settled=True), SHOP).values() for one in rows] == [
        "deleted"
    ]


def test_a_server_that_cannot_say_what_would_change_changes_nothing() -> None:
    """A dry run that is answered by a busy server leaves the object as it is."""
    cluster, manifest = Memory(), _object("ConfigMap", "a", data={"x": "1"})
    _pass(cluster, [manifest])
    (live,) = cluster.objects.values()
    live["data"] = {"x": "bye"}
    cluster.down = True
    (one,) = _plans(cluster, [manifest])
    assert one.verdict.action is Action.WAIT


def test_a_finished_job_that_the_cluster_cleared_away_is_not_run_again() -> None:
    """With ttlSecondsAfterFinished a Job that is gone after all was there is as wanted; without it, it was taken away."""
    kept = _object("Job", "a", spec={"template": {}, "ttlSecondsAfterFinished": 5})
    taken = _object("Job", "b", spec={"template": {}})
    plans = _plans(Memory(), [kept, taken], settled=True)
    assert [one.verdict.action for one in plans] == [Action.NOTHING, Action.CREATE]


@pytest.mark.parametrize(("owner", "gone"), [(SHOP, False), (OTHER, True)])
def test_prune_deletes_what_is_ours_and_nothing_else(owner: Owner, gone: bool) -> None:  # noqa: FBT001 - a case
    """What somebody else has by now is let go of, and stays."""
    cluster, manifest = Memory(), _object("ConfigMap", "a", data={"x": "1"})
    _pass(cluster, [manifest], owner)
    cluster.calls.clear()
    _taken, absent = applying.prune(cluster, cluster.seen([ObjectKey.of(manifest)]), {}, SHOP)
    assert (bool(absent), cluster.calls) == (gone, [] if gone else ["delete ConfigMap/a"])


def test_what_is_sealed_is_opened_as_it_was_sealed() -> None:
    """A Secret with stringData reaches whoever opens it as sops wrote it; no value is folded before."""
    asked: list[SealedSecret] = []

    def opening(secret: SealedSecret) -> dict[str, bytes]:
        asked.append(secret)
        return {"stringData:PASSWORD": b"open"}

    block = {"age": [{"enc": "stanza"}], "mac": "m"}
    sealed = _object("Secret", "s", stringData={"PASSWORD": "ENC[x]"}, sops=block)
    found = opened(sealed, opening)
    assert asked == [SealedSecret("s", ("stanza",), {"stringData:PASSWORD": "ENC[x]"})]
    assert found["data"] == {"PASSWORD": "b3Blbg=="}
    assert "sops" not in found
    assert "stringData" not in found


def test_a_busy_server_is_waited_for_and_a_broken_webhook_is_a_fault() -> None:
    """What passes by itself degrades nothing; and what comes in later waves is not sent to a server that takes nothing."""
    cluster = Memory()
    manifests = [_object("ConfigMap", "a", data={"x": "1"}), _object("ConfigMap", "b", "1", data={"x": "1"})]
    cluster.down = True
    taken = _pass(cluster, manifests)
    assert ([one.code for one in taken.waits], taken.faults, cluster.calls) == (["CLUSTER_BUSY"], [], [])
    cluster.why = "SP699"
    assert [one.code for one in _pass(cluster, manifests).faults] == ["SP699"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError("SP682", "refused", where="cluster prod"), "CLUSTER_UNREACHABLE"),
        (CredentialError("SP689", "it ended", where="cluster prod"), "CLUSTER_CREDENTIAL"),
        (WorldError("SP682", "busy"), "CLUSTER_BUSY"),
    ],
)
def test_why_a_cluster_cannot_be_asked_has_its_own_word(error: WorldError, code: str) -> None:
    """An application there is unknown, not degraded, whoever has to act."""
    seen = unreachable(error, None)
    assert (seen.health, [one.code for one in seen.reasons], seen.faults) == (Health.UNKNOWN, [code], ())
