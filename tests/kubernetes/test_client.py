"""The Kubernetes client against a real API server: reads, server-side apply, conflicts, deletes, watches, logs."""

import asyncio
from typing import Any

import pytest

from kubernetes_world import World
from setpoint.adapters.kubernetes.client import Client
from setpoint.core.errors import ConflictError, NotAllowedError, UserError


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_the_server_says_its_version(world: World) -> None:
    """The client reaches the server with the kubeconfig's token and authority."""
    assert world.run(lambda client: client.version()).startswith("v1.")


def test_apply_creates_changes_and_a_dry_run_changes_nothing(world: World) -> None:
    """A server-side apply creates, then changes; a dry run tells what would be and leaves the object alone."""

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        made = await client.apply(kind, config_map("a", world.namespace, x="1"), "setpoint")
        tried = await client.apply(kind, config_map("a", world.namespace, x="2"), "setpoint", dry_run=True)
        kept = await client.get(kind, world.namespace, "a")
        assert (made["data"], tried["data"]) == ({"x": "1"}, {"x": "2"})
        assert kept is not None
        assert kept["data"] == {"x": "1"}
        changed = await client.apply(kind, config_map("a", world.namespace, x="3"), "setpoint")
        assert changed["metadata"]["uid"] == made["metadata"]["uid"]
        assert await client.get(kind, world.namespace, "nobody") is None

    world.run(play)


def test_a_field_of_another_manager_is_a_conflict_that_names_it(world: World) -> None:
    """Without force a field that somebody else applied is not taken over, and the error says whose it is."""

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        await client.apply(kind, config_map("a", world.namespace, x="1"), "kubectl")
        with pytest.raises(ConflictError) as caught:
            await client.apply(kind, config_map("a", world.namespace, x="2"), "setpoint")
        assert caught.value.code == "SP685"
        assert '"kubectl"' in caught.value.what
        assert ".data.x" in caught.value.what
        assert (await client.apply(kind, config_map("a", world.namespace, x="2"), "setpoint", force=True))["data"] == {"x": "2"}

    world.run(play)


def test_what_the_schema_does_not_know_is_refused(world: World) -> None:
    """A misspelt field is an error of the server's own words, never dropped in silence."""

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        manifest = config_map("a", world.namespace) | {"dta": {"x": "1"}}
        with pytest.raises(UserError) as caught:
            await client.apply(kind, manifest, "setpoint")
        assert caught.value.code == "SP686"
        assert "dta" in caught.value.what

    world.run(play)


def test_an_unknown_kind_is_named_and_a_new_one_is_found(world: World) -> None:
    """A kind that the cluster does not serve is an error; once its CRD is established it is there without a restart."""

    async def play(client: Client) -> None:
        with pytest.raises(UserError) as caught:
            await client.kinds.of("apps/v1", "Deploymnt")
        assert caught.value.code == "SP687"
        assert "Deployment" in caught.value.fix
        crds = await client.kinds.of("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        plural = f"things{world.namespace.replace('-', '')}"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        versions = [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
        names = {"plural": plural, "singular": plural[:-1], "kind": "Thing"}
        spec = {"group": f"{world.namespace}.example", "scope": "Namespaced", "names": names, "versions": versions}
        name = f"{plural}.{world.namespace}.example"
        manifest = {"apiVersion": crds.api_version, "kind": crds.name, "metadata": {"name": name}, "spec": spec}
        await client.apply(crds, manifest, "setpoint")
        while True:
            found = await client.get(crds, None, name)
            conditions = (found or {}).get("status", {}).get("conditions") or []  # null until a controller has seen it
            if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                break
            await asyncio.sleep(0.05)
        kind = await client.kinds.of(f"{world.namespace}.example/v1", "Thing")
        assert kind.plural == plural
        await client.delete(crds, None, name)

    world.run(play)


def test_a_list_comes_in_pages_and_is_whole(world: World) -> None:
    """More objects than one page holds are all there, each with its kind."""

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        slots = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with slots:
                await client.apply(kind, config_map(f"c{number}", world.namespace), "setpoint")

        await asyncio.gather(*(one(number) for number in range(520)))
        listed = await client.list(kind, world.namespace)
        names = {item["metadata"]["name"] for item in listed.objects if item["metadata"]["name"].startswith("c")}
        assert names == {f"c{number}" for number in range(520)}
        assert {item["kind"] for item in listed.objects} == {"ConfigMap"}

    world.run(play)


def test_a_delete_means_the_object_that_was_looked_at(world: World) -> None:
    """With a uid only that very object goes; one that is gone already is no error."""

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        made = await client.apply(kind, config_map("a", world.namespace), "setpoint")
        with pytest.raises(ConflictError):
            await client.delete(kind, world.namespace, "a", uid="00000000-0000-0000-0000-000000000000")
        assert await client.delete(kind, world.namespace, "a", uid=made["metadata"]["uid"])
        assert not await client.delete(kind, world.namespace, "a")

    world.run(play)


def test_a_watch_tells_every_change(world: World) -> None:
    """From a list's version on every change comes, in order."""

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "ConfigMap")
        listed = await client.list(kind, world.namespace)
        await client.apply(kind, config_map("a", world.namespace, x="1"), "setpoint")
        await client.apply(kind, config_map("a", world.namespace, x="2"), "setpoint")
        await client.delete(kind, world.namespace, "a")
        seen = []
        async for change in client.watch(kind, listed.resource_version, world.namespace):
            if change.object["metadata"].get("name") == "a":
                seen.append((change.what, change.object["data"]["x"]))
            if change.what == "DELETED":
                break
        assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]

    world.run(play)


def test_rights_of_another_user_are_asked_for_by_impersonation(cluster: Any, world: World) -> None:
    """Acting as a user without rights is refused as that user, with the verb in the message."""
    import dataclasses

    weak = World(dataclasses.replace(cluster, impersonate="nobody@example.com", impersonate_groups=("a", "b")), world.namespace)

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "Secret")
        with pytest.raises(NotAllowedError) as caught:
            await client.list(kind, world.namespace)
        assert caught.value.code == "SP683"
        assert "nobody@example.com" in caught.value.what

    weak.run(play)


def test_a_pod_runs_and_its_log_is_read(world: World) -> None:
    """A real pod on the test node prints, ends, and its whole log is there, followed or read back."""

    async def play(client: Client) -> None:
        kind = await client.kinds.of("v1", "Pod")
        container = {
            "name": "main",
            "image": "localhost/busybox:1",
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", "echo one; echo two"],
        }
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": world.namespace},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        }
        made = await client.apply(kind, manifest, "setpoint")
        async for change in client.watch(kind, made["metadata"]["resourceVersion"], world.namespace):
            if change.object.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                assert change.object["status"]["phase"] == "Succeeded"
                break
        assert await client.logs(world.namespace, "p", "main") == "one\ntwo\n"
        chunks = [chunk async for chunk in client.follow(world.namespace, "p", "main")]
        assert b"".join(chunks) == b"one\ntwo\n"

    world.run(play)
