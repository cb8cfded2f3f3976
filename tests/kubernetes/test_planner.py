"""The planner against a real API server: what is no difference for Kubernetes is none here; what one writer changes is one, with its name.

`kubectl diff --server-side` is the peer that has to agree.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubernetes_world import World
from setpoint.adapters.kubernetes.client import Client, Manifest
from setpoint.core.errors import NotFoundError, SetpointError, UserError
from setpoint.reconcile.cluster import autoscale
from setpoint.reconcile.cluster.difference import compare, examine
from setpoint.reconcile.cluster.ignore import IgnoreRule, sift, to_apply
from setpoint.reconcile.cluster.immutable import is_refused_as_immutable
from setpoint.reconcile.cluster.model import Comparison, ObjectKey
from setpoint.reconcile.cluster.normalise import prepare
from setpoint.reconcile.cluster.order import order, prune_order
from setpoint.reconcile.cluster.takeover import former_managers, patch, taken
from setpoint.reconcile.manifests import load

CORPUS = Path(__file__).parent / "corpus.yaml"
MANAGER = "setpoint"
DIFF = ("diff", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "-f", "-")
BUSYBOX = {"name": "main", "image": "localhost/busybox:1", "imagePullPolicy": "Never", "command": ["sleep", "3600"]}


def deployment(world: World, **spec: Any) -> dict[str, Any]:
    """Return a prepared Deployment called web."""
    pod = {"terminationGracePeriodSeconds": 0, "containers": [BUSYBOX]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template} | spec
    return prepare({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": world.namespace}, "spec": spec})


async def apply(client: Client, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
    """Apply a manifest as Setpoint does."""
    kind = await client.kinds.of(manifest["apiVersion"], manifest["kind"])
    return await client.apply(kind, manifest, MANAGER, dry_run=dry_run, force=True)


async def read(client: Client, manifest: Manifest) -> Manifest:
    """Return the live object of a manifest."""
    kind = await client.kinds.of(manifest["apiVersion"], manifest["kind"])
    found = await client.get(kind, manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
    assert found is not None
    return found


async def until(client: Client, manifest: Manifest, said: Callable[[Manifest], bool]) -> Manifest:
    """Wait until a live object is so."""
    while not said(found := await read(client, manifest)):  # noqa: ASYNC110 (another process is waited for)
        await asyncio.sleep(0.1)
    return found


async def both(client: Client, manifest: Manifest) -> tuple[Comparison, Comparison]:
    """Return what is seen without and with the server's help, of one version of the object."""
    while True:
        live = await read(client, manifest)
        predicted = await apply(client, manifest, dry_run=True)
        again = await read(client, manifest)
        if live["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]:
            return examine(live, manifest, MANAGER), compare(live, predicted, MANAGER)


def told(found: Comparison) -> list[tuple[str, Any, Any, str]]:
    """Return differences as (path, live, desired, writer)."""
    return [(one.path, one.change.before, one.change.after, str(one.writer)) for one in found.differences]


async def established(client: Client) -> None:
    """Wait until the corpus' own kind is served."""
    while True:
        try:
            await client.kinds.refresh()
            await client.list(await client.kinds.of("corpus.example.com/v1", "Thing"))
        except (UserError, NotFoundError):
            await asyncio.sleep(0.1)
        else:
            return


def test_no_object_of_the_corpus_differs_from_what_was_applied(world: World) -> None:
    """Every built-in workload kind, and a custom one with defaults: once the server and the controllers have written, nothing differs.

    Both ways of looking agree, the certain one finds nothing besides, and so does kubectl's own diff.
    """
    values = [prepare(found.value) for found in load(CORPUS.read_bytes(), "corpus.yaml")]

    async def work(client: Client) -> tuple[dict[str, Any], list[Manifest]]:
        for step in order(values).steps:
            for key in step.keys:
                value = next(value for value in values if ObjectKey.of(value) == key)
                kind = await client.kinds.of(value["apiVersion"], value["kind"])
                if kind.namespaced:
                    value["metadata"]["namespace"] = world.namespace
            # The namespace is no part of the key until here, so the step is looked up by name again.
            wanted = {(key.kind, key.name) for key in step.keys}
            await asyncio.gather(*(apply(client, v) for v in values if (v["kind"], v["metadata"]["name"]) in wanted))
            if step.wait == "established":
                await established(client)
        web = next(value for value in values if value["kind"] == "Deployment")
        await until(client, web, lambda found: found.get("status", {}).get("readyReplicas", 0) == 1)
        wrong: dict[str, Any] = {}
        for value in values:
            seen, sure = await both(client, value)
            # Only a custom kind's own defaults cannot be told from a change without asking the server.
            unknown = not seen.in_step and not (value["kind"] == "Thing" and not seen.sure)
            if unknown or not sure.in_step or sure.others:
                wrong[ObjectKey.of(value).subject] = (
                    told(seen),
                    seen.claims,
                    seen.releases,
                    told(sure),
                    sure.claims,
                    sure.releases,
                    sure.others,
                )
        return wrong, values

    try:
        wrong, values = world.run(work)
        assert not wrong, "\n".join(f"{name}: {found}" for name, found in wrong.items())
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": values})
        printed = world.kubectl(*DIFF, given=given, accepted=(0, 1)).splitlines()
        changed = [line[1:].strip() for line in printed if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        # kubectl sees the generation grow: where a value is merged as one and defaulted inside, an apply writes what was there already.
        assert [line for line in changed if not line.startswith("generation:")] == []
    finally:
        world.run(lambda client: _clear(client, values_of_cluster()))


def values_of_cluster() -> list[Manifest]:
    """Return the objects of the corpus that have no namespace."""
    values = [found.value for found in load(CORPUS.read_bytes(), "corpus.yaml")]
    return [value for value in values if value["metadata"]["name"].partition(".")[0].startswith(("cluster-", "things", "v1"))]


async def _clear(client: Client, values: list[Manifest]) -> None:
    """Delete objects in their order."""
    by_key = {ObjectKey.of(value): value for value in values}
    for step in prune_order(dict.fromkeys(by_key, 0)):
        for key in step.keys:
            kind = await client.kinds.of(by_key[key]["apiVersion"], key.kind)
            await client.delete(kind, None, key.name)


REPLICAS = "spec.replicas"
IMAGE = "spec.template.spec.containers[main].image"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["scale", "deployment/web", "--replicas=2"], (REPLICAS, 2, 1, "kubectl (scale)")),
        (
            ["set", "image", "deployment/web", "main=localhost/busybox:2"],
            (IMAGE, "localhost/busybox:2", "localhost/busybox:1", "kubectl-set"),
        ),
        (["patch", "deployment/web", "-p", '{"spec":{"paused":true}}'], ("spec.paused", True, False, "kubectl-patch")),
        (["label", "deployment/web", "team=x", "--overwrite"], ("metadata.labels.team", "x", "shop", "kubectl-label")),
        (["annotate", "deployment/web", "a.b/c=x", "--overwrite"], ('metadata.annotations["a.b/c"]', "x", "1", "kubectl-annotate")),
        (["edit", "deployment/web"], (REPLICAS, 3, 1, "kubectl-edit")),
        (
            ["patch", "deployment/web", "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels/team"}]'],
            ("metadata.labels.team", None, "shop", "None"),
        ),
        (
            ["patch", "deployment/web", "-p", '{"spec":{"template":{"spec":{"nodeSelector":{"x":"y"}}}}}'],
            ("spec.template.spec.nodeSelector.x", "y", None, "kubectl-patch"),
        ),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_one_change_by_hand_is_one_difference_with_the_name_of_its_writer(
    world: World, command: list[str], expected: tuple[str, Any, Any, str]
) -> None:
    """However a person changes a field, it is found, with what is desired and who wrote it; kubectl finds it too; correcting ends it."""
    manifest = deployment(world, replicas=1, paused=False)
    manifest["metadata"] |= {"labels": {"team": "shop"}, "annotations": {"a.b/c": "1"}}
    manifest["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/os": "linux"}
    world.run(lambda client: apply(client, manifest))
    world.kubectl(*command, KUBE_EDITOR="sed -i 's/^  replicas: 1/  replicas: 3/'")

    async def work(client: Client) -> None:
        seen, sure = await both(client, manifest)
        assert told(sure) == [expected]
        assert told(seen) == [expected]

    world.run(work)
    assert world.kubectl(*DIFF, given=json.dumps(manifest), accepted=(1,)) != ""

    async def correct(client: Client) -> None:
        await apply(client, manifest)
        seen, sure = await both(client, manifest)
        assert (seen.in_step, sure.in_step) == (True, True)

    world.run(correct)


def test_what_nobody_declares_is_not_touched_and_no_difference(world: World) -> None:
    """A sidecar, a label and a number of replicas that others set stay out of every comparison, and out of every apply."""
    manifest = deployment(world)
    world.run(lambda client: apply(client, manifest))
    world.kubectl("scale", "deployment/web", "--replicas=0")
    world.kubectl("label", "deployment/web", "x=y")
    sidecar = {"spec": {"template": {"spec": {"containers": [BUSYBOX | {"name": "sidecar"}]}}}}
    world.kubectl("patch", "deployment/web", "-p", json.dumps(sidecar))

    async def work(client: Client) -> None:
        seen, sure = await both(client, manifest)
        assert (seen.in_step, sure.in_step, sure.others) == (True, True, ())
        after = await apply(client, manifest)
        assert after["spec"]["replicas"] == 0
        assert after["metadata"]["labels"] == {"x": "y"}
        assert len(after["spec"]["template"]["spec"]["containers"]) == 2

    world.run(work)


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "helm"])
def test_a_key_that_another_tool_set_is_removed_after_its_take_over(world: World, manager: str) -> None:
    """What `kubectl apply` or Helm made is ours after one patch that changes no value; then what the manifest leaves out really goes."""
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"kept": "1", "old": "x"}}
    world.kubectl("apply", f"--field-manager={manager}", "-f", "-", given=json.dumps(old))
    wanted = prepare(old | {"metadata": {"name": "c", "namespace": world.namespace}, "data": {"kept": "1"}})

    async def work(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        live = await read(client, wanted)
        assert [writer.manager for writer in former_managers(live, MANAGER)] == [manager]
        assert told(examine(live, wanted, MANAGER)) == []
        assert [row[:3] for row in told(examine(taken(live, MANAGER), wanted, MANAGER))] == [("data.old", "x", None)]
        change = patch(live, MANAGER)
        assert change is not None
        after = await client.patch(kind, world.namespace, "c", change)
        assert after["data"] == live["data"]
        assert former_managers(after, MANAGER) == ()
        sure = (await both(client, wanted))[1]
        assert [row[:3] for row in told(sure)] == [("data.old", "x", None)]
        assert (await apply(client, wanted))["data"] == {"kept": "1"}
        # kubectl's copy of the manifest went too: it would bring old keys back, and holds the values of Secrets.
        assert "annotations" not in (await read(client, wanted))["metadata"]
        with pytest.raises(SetpointError) as caught:
            await client.patch(kind, world.namespace, "c", change)
        assert caught.value.code == "SP685"

    world.run(work)


def test_without_a_take_over_the_removed_key_would_stay(world: World) -> None:
    """The reason for all of this: an apply alone leaves the key to its old manager."""
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"kept": "1", "old": "x"}}
    world.kubectl("apply", "-f", "-", given=json.dumps(old))
    wanted = prepare(old | {"metadata": {"name": "c", "namespace": world.namespace}, "data": {"kept": "1"}})
    assert world.run(lambda client: apply(client, wanted))["data"] == {"kept": "1", "old": "x"}


def test_replicas_of_an_autoscaler_are_its_own(world: World) -> None:
    """While it scales, a manifest without the number is in step; one with it is told, applied without it, and the number stays."""
    manifest = deployment(world, replicas=1)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 3}
    meta = {"name": "web", "namespace": world.namespace}
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": spec}
    rules = [one.rule for one in autoscale.scaled([scaler])]

    async def work(client: Client) -> None:
        await apply(client, manifest)
        await apply(client, prepare(scaler))
        live = await until(client, manifest, lambda found: found["spec"]["replicas"] == 2)
        seen, sure = await both(client, manifest)
        writer = "kube-controller-manager (scale)"
        assert told(sure) == told(seen) == [(REPLICAS, 2, 1, writer)]
        kept, ignored = sift(sure, ObjectKey.of(live), rules)
        assert (kept.differences, len(ignored)) == ((), 1)
        assert (await apply(client, to_apply(manifest, live, MANAGER, rules)))["spec"]["replicas"] == 2
        bare = deployment(world)
        seen, sure = await both(client, bare)
        assert (seen.differences, sure.differences) == ((), ())
        assert (await apply(client, bare))["spec"]["replicas"] == 2

    world.run(work)


def test_leaving_out_a_number_that_is_ours_alone_falls_back_unless_the_rule_keeps_it(world: World) -> None:
    """The trap that the rule is for: without it an apply that no longer declares replicas goes back to one at once."""
    rules = [IgnoreRule((REPLICAS,))]

    async def work(client: Client) -> None:
        bare = deployment(world)
        live = await apply(client, deployment(world, replicas=3))
        assert told((await both(client, bare))[1]) == [(REPLICAS, 3, 1, MANAGER)]
        kept = to_apply(bare, live, MANAGER, rules)
        assert (await apply(client, kept))["spec"]["replicas"] == 3
        assert (await apply(client, bare))["spec"]["replicas"] == 1

    world.run(work)


def test_a_field_with_a_second_owner_stays_when_we_leave_it_out(world: World) -> None:
    """Whether the other one applied or updated: the value keeps its other owner, and only the claim ends."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": world.namespace}, "data": {"a": "1"}}

    async def work(client: Client) -> None:
        await apply(client, manifest | {"data": {"a": "1", "b": "2", "c": "3"}})
        kind = await client.kinds.of("v1", "ConfigMap")
        await client.apply(kind, manifest | {"data": {"b": "2"}}, "other", force=True)
        await client.patch(kind, world.namespace, "c", {"data": {"c": "4"}})
        await apply(client, manifest | {"data": {"a": "1", "b": "2", "c": "4"}})
        seen, sure = await both(client, manifest)
        assert told(sure) == told(seen) == []
        assert set(sure.releases) == set(seen.releases) == {"data.b", "data.c"}
        assert (await apply(client, manifest))["data"] == {"a": "1", "b": "2", "c": "4"}

    world.run(work)


def _pod(**more: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [BUSYBOX], "terminationGracePeriodSeconds": 0} | more}


_STATEFUL = {"replicas": 0, "serviceName": "a", "selector": {"matchLabels": {"app": "x"}}, "template": _pod()}
_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("apps/v1 Deployment", {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": _pod()}}, {}),
    ("apps/v1 StatefulSet", {"spec": _STATEFUL}, {"spec": _STATEFUL | {"serviceName": "b"}}),
    ("batch/v1 Job", {"spec": {"template": _pod(restartPolicy="Never")}}, {}),
    ("v1 Service", {"spec": {"ports": [{"port": 80}]}}, {"spec": {"clusterIP": "None", "ports": [{"port": 80}]}}),
    ("v1 Secret", {"type": "a/b"}, {"type": "a/c"}),
    ("v1 Secret", {"immutable": True, "data": {"a": "Yg=="}}, {"immutable": True, "data": {"a": "Yw=="}}),
    ("v1 ConfigMap", {"immutable": True, "data": {"a": "b"}}, {"immutable": True, "data": {"a": "c"}}),
    ("rbac.authorization.k8s.io/v1 RoleBinding", {"roleRef": _ROLE}, {"roleRef": _ROLE | {"name": "b"}}),
    ("v1 Pod", {"spec": _pod()["spec"]}, {"spec": {"containers": [BUSYBOX | {"command": ["sleep", "1"]}]}}),
    (
        "v1 PersistentVolumeClaim",
        {"spec": {"storageClassName": "a", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        {"spec": {"storageClassName": "b", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    ),
]


@pytest.mark.parametrize(("what", "before", "after"), CHANGES, ids=[f"{position} {row[0]}" for position, row in enumerate(CHANGES)])
def test_what_the_server_refuses_to_change_is_said_beforehand(
    world: World, what: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """A change that means another object is marked before anything is tried, and the server's refusal is recognised for what it is."""
    api_version, kind = what.split(" ")
    if not after:
        after = json.loads(json.dumps(before).replace('"app": "x"', '"app": "y"'))
    base = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": world.namespace}}

    async def work(client: Client) -> None:
        await apply(client, prepare(base | before))
        live = await read(client, base)
        found = examine(live, prepare(base | after), MANAGER)
        assert [one.path for one in found.differences if one.replaces] != []
        with pytest.raises(UserError) as caught:
            await apply(client, prepare(base | after), dry_run=True)
        assert is_refused_as_immutable(caught.value.what), caught.value.what

    world.run(work)


def test_a_misspelt_field_is_refused_and_not_tried_again(world: World) -> None:
    """The server answers it with status 500; it is a fault of the manifest all the same."""
    manifest = deployment(world)
    manifest["spec"]["replcas"] = 1

    async def work(client: Client) -> None:
        with pytest.raises(UserError) as caught:
            await apply(client, manifest, dry_run=True)
        assert "replcas" in caught.value.what
        assert not is_refused_as_immutable(caught.value.what)

    world.run(work)
