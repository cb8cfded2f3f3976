"""Picture, decision and calls together on a real cluster: objects come, are corrected, taken over and replaced, and rest without a call."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from kubernetes_world import World
from setpoint.adapters.kubernetes.client import Client, Manifest
from setpoint.adapters.kubernetes.live import Live, LiveParts
from setpoint.core import canonical
from setpoint.core.digest import sha256
from setpoint.core.errors import UserError
from setpoint.reconcile.cluster.decide import Action, Allowed, Seen, Verdicts, decide, refused
from setpoint.reconcile.cluster.difference import compare
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.normalise import prepare
from setpoint.reconcile.cluster.order import order
from setpoint.reconcile.cluster.takeover import patch

MANAGER = "setpoint"


class Now:
    """The real time."""

    def now(self) -> datetime:
        """Return it."""
        return datetime.now(UTC)


class Passes:
    """The smallest reconciler: for each object look, decide, call; it counts its calls."""

    def __init__(self, client: Client, manifests: list[Manifest]) -> None:
        self.client = client
        self.manifests = {ObjectKey.of(value): value for value in manifests}
        self.woken = asyncio.Event()
        self.live = Live(LiveParts(client, self.woken.set, Now()))
        self.verdicts = Verdicts()
        self.calls: list[str] = []

    async def begin(self) -> None:
        """Look at everything once."""
        self.live.follow({key: value["apiVersion"] for key, value in self.manifests.items()})
        await self.live.fresh()

    async def rest(self) -> list[str]:
        """Take passes until nothing is to be done, and return the calls that were made."""
        self.calls = []
        while True:
            found = [await self._step(key, self.manifests[key]) for step in order(list(self.manifests.values())).steps for key in step.keys]
            if all(action is Action.NOTHING for action in found):
                return self.calls
            await asyncio.sleep(0.05)

    async def _step(self, key: ObjectKey, manifest: Manifest) -> Action:
        look, digest = self.live.get(key), sha256(canonical.dumps(manifest))
        seen, allowed = Seen(look.object, look.known), Allowed(MANAGER, unreplaced="")
        kind = await self.client.kinds.of(manifest["apiVersion"], key.kind)
        verdict = decide(manifest, seen, allowed, self.verdicts.of(key, digest, look.digest))
        if verdict.action is Action.ASK:
            self.calls.append(f"ask {key.subject}")
            live = look.object or {}
            try:
                found = compare(live, await self.client.apply(kind, manifest, MANAGER, dry_run=True, force=True), MANAGER)
            except UserError as error:
                said = refused(manifest, live, MANAGER, error.what)
                if said is None:
                    raise
                found = said
            self.verdicts.keep(key, digest, look.digest, found)
            verdict = decide(manifest, seen, allowed, found)
        if verdict.action not in (Action.NOTHING, Action.WAIT):
            self.calls.append(f"{verdict.action} {key.subject}")
            await self._call(key, manifest, look.object or {}, verdict.action)
        return verdict.action

    async def _call(self, key: ObjectKey, manifest: Manifest, live: Manifest, action: Action) -> None:
        kind = await self.client.kinds.of(manifest["apiVersion"], key.kind)
        if action is Action.TAKE_OVER:
            change = patch(live, MANAGER)
            assert change is not None
            self.live.learn(await self.client.patch(kind, key.namespace, key.name, change))
        elif action is Action.REPLACE:
            await self.client.delete(kind, key.namespace, key.name, uid=live["metadata"]["uid"])
            while self.live.get(key).object is not None:
                self.woken.clear()
                await self.woken.wait()
        else:
            self.live.learn(await self.client.apply(kind, manifest, MANAGER, force=True))


def objects(world: World) -> list[Manifest]:
    """Return an application of four objects."""
    pod = {"containers": [{"name": "main", "image": "localhost/busybox:1", "imagePullPolicy": "Never", "command": ["sleep", "3600"]}]}
    selector = {"app": "web"}
    spec = {"replicas": 0, "selector": {"matchLabels": selector}, "template": {"metadata": {"labels": selector}, "spec": pod}}
    made: list[dict[str, Any]] = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "immutable": True, "data": {"a": "1"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "stringData": {"token": "one"}},
    ]
    return [prepare(value | {"metadata": {**value["metadata"], "namespace": world.namespace}}) for value in made]


def test_passes_make_just_the_calls_that_are_needed(world: World) -> None:
    """Creation, rest, a hand's change, a new value, a replacement, a take-over: each ends at rest, and at rest there is no call at all."""
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old"}, "data": {"kept": "1", "gone": "x"}}
    world.kubectl("apply", "-f", "-", given=json.dumps(old))

    async def work(client: Client) -> None:
        passes = Passes(client, objects(world))
        await passes.begin()
        assert await passes.rest() == ["create ConfigMap/web", "create Secret/web", "create Service/web", "create Deployment/web"]
        assert await passes.rest() == []
        deployment, config = (next(key for key in passes.manifests if key.kind == kind) for kind in ("Deployment", "ConfigMap"))
        kind = await client.kinds.of("apps/v1", "Deployment")
        passes.live.changes()
        await client.patch(kind, world.namespace, "web", {"spec": {"paused": True, "revisionHistoryLimit": 3, "replicas": 1}})
        while (passes.live.get(deployment).object or {})["spec"]["replicas"] != 1:
            passes.woken.clear()
            await passes.woken.wait()
        assert await passes.rest() == ["ask Deployment/web", "apply Deployment/web"]
        after = passes.live.get(deployment).object or {}
        assert (after["spec"]["replicas"], after["spec"]["paused"], after["spec"]["revisionHistoryLimit"]) == (0, True, 3)
        passes.manifests[config] = passes.manifests[config] | {"data": {"a": "2"}}
        assert await passes.rest() == ["ask ConfigMap/web", "replace ConfigMap/web", "create ConfigMap/web"]
        taken = prepare(old | {"metadata": {"name": "old", "namespace": world.namespace}, "data": {"kept": "1"}})
        passes.manifests[ObjectKey.of(taken)] = taken
        await passes.begin()
        assert await passes.rest() == ["take over ConfigMap/old", "ask ConfigMap/old", "apply ConfigMap/old"]
        assert (passes.live.get(ObjectKey.of(taken)).object or {})["data"] == {"kept": "1"}
        assert await passes.rest() == []
        await passes.live.close()

    world.run(work)
