"""Changes by chance, with the API server as the judge: what is found in step without asking is in step, and nothing is overlooked."""

import copy
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kubernetes_world import World
from setpoint.adapters.kubernetes.client import Client, Manifest
from setpoint.core.errors import UserError
from setpoint.reconcile.cluster.difference import compare, examine
from setpoint.reconcile.cluster.normalise import prepare
from setpoint.reconcile.manifests import load

MANAGER = "setpoint"
CORPUS = Path(__file__).parent / "corpus.yaml"
KINDS = ("Deployment", "Service", "ConfigMap", "NetworkPolicy", "CronJob", "HorizontalPodAutoscaler")
ROUNDS = 64


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of everything below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for name, item in items:
        found += [(*path, name), *places(item, (*path, name))]
    return found


def changed(value: Manifest, chance: random.Random) -> Manifest:
    """Return a manifest with one to three changes: a value, something less, or the order of a list."""
    found = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        every = [path for path in places(found) if path[0] not in ("apiVersion", "kind", "metadata")]
        if not every:
            return found
        *parents, name = chance.choice(every)
        node: Any = found
        for step in parents:
            node = node[step]
        item = node[name]
        if isinstance(item, list) and len(item) > 1 and chance.random() < 0.5:
            item.reverse()
        elif isinstance(item, str) and chance.random() < 0.6:
            node[name] = chance.choice(["x", "", "2", "web", f"{item}x"])
        elif isinstance(item, int) and chance.random() < 0.6:
            node[name] = item + chance.choice([1, 7])
        else:
            del node[name]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_without_asking_nothing_is_overlooked(world: World, kind: str) -> None:
    """Whatever a person changes in a manifest or in the cluster: every difference that the server tells was seen without it too."""
    chance = random.Random(kind)  # noqa: S311 (the same changes in every run)
    first = next(prepare(found.value) for found in load(CORPUS.read_bytes(), "corpus.yaml") if found.value["kind"] == kind)
    first["metadata"]["namespace"] = world.namespace

    async def work(client: Client) -> int:
        served = await client.kinds.of(first["apiVersion"], kind)
        current, judged, name = first, 0, first["metadata"]["name"]
        live = await client.apply(served, current, MANAGER, force=True)
        for turn in range(ROUNDS):
            if turn % 8 == 7:
                # Chance leads to where little is valid any more: begin anew.
                await client.delete(served, world.namespace, name)
                current, live = first, await client.apply(served, first, MANAGER, force=True)
            wanted = prepare(changed(first if chance.random() < 0.3 else current, chance))
            try:
                predicted = await client.apply(served, wanted, MANAGER, dry_run=True, force=True)
            except UserError:
                continue
            again = await client.get(served, world.namespace, name)
            if again is None or again["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
                live = again or live
                continue
            seen, sure = examine(live, wanted, MANAGER), compare(live, predicted, MANAGER)
            judged += 1
            # What the server fills in inside something new is not known before, nor at which place it will stand in its list.
            told = [*(one.path for one in seen.differences), *seen.claims]
            missed = [
                one.path for one in sure.differences if not any(path.startswith(one.path.rpartition("[")[0] or one.path) for path in told)
            ]
            assert not (seen.in_step and not sure.in_step), (wanted, live, sure)
            assert not missed, (missed, seen, wanted, live)
            if chance.random() < 0.5:
                current = wanted
                live = await client.apply(served, wanted, MANAGER, force=True)
                continue
            with suppress(UserError):
                live = await client.patch(served, world.namespace, name, wanted)
        return judged

    assert world.run(work) > ROUNDS // 16
