"""Mutating webhooks are no drift: what one adds is not ours, and what one rewrites is what the server says it will be."""

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tools.kubernetes.pki import Authority

from kubernetes_world import World
from setpoint.adapters.kubernetes.client import Client, Manifest
from setpoint.reconcile.cluster.difference import compare, examine
from setpoint.reconcile.cluster.normalise import prepare

MANAGER = "setpoint"
REVISION = "deployment.kubernetes.io/revision"


class _Mutator(http.server.BaseHTTPRequestHandler):
    """Adds a container, a label and a count of its own calls, and rewrites the image, as meshes and registries' mirrors do."""

    calls = 0

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        pod = review["request"]["object"]["spec"]["template"]["spec"]
        path = "/spec/template/spec/containers"
        type(self).calls += 1
        patch: list[dict[str, Any]] = []
        for position, container in enumerate(pod["containers"]):
            if container["image"].startswith("localhost/"):
                patch.append({"op": "replace", "path": f"{path}/{position}/image", "value": f"mirror.{container['image']}"})
        if not any(container["name"] == "mesh" for container in pod["containers"]):
            patch.append({"op": "add", "path": f"{path}/0", "value": {"name": "mesh", "image": "mesh:1", "command": ["sleep", "1"]}})
        annotations = review["request"]["object"]["metadata"].get("annotations")
        if annotations is None:
            patch.append({"op": "add", "path": "/metadata/annotations", "value": {}})
        patch.append({"op": "add", "path": "/metadata/annotations/touched", "value": str(type(self).calls)})
        coded = base64.b64encode(json.dumps(patch).encode()).decode()
        answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": coded}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name of the base class)
        """Say nothing."""


@contextmanager
def webhook(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Serve the mutator over TLS; gives its address and the authority that its certificate is of."""
    authority = Authority()
    certificate, key = authority.issue("webhook", names=["localhost"], addresses=["127.0.0.1"])
    chain = folder / "chain.pem"
    chain.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mutator)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/mutate", authority.pem()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configuration(world: World, url: str, authority: bytes) -> Manifest:
    """Return the webhook's registration for Deployments of one namespace."""
    rules = [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]
    hook = {
        "name": "mutate.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
        "rules": rules,
    }
    meta = {"name": f"mutate-{world.namespace}"}
    value = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": meta, "webhooks": [hook]}
    return prepare(value)


@pytest.fixture
def mutated(world: World, tmp_path: Path) -> Iterator[World]:
    """A namespace in which the webhook changes every Deployment."""
    with webhook(tmp_path) as (url, authority):
        value = configuration(world, url, authority)

        async def register(client: Client) -> None:
            kind = await client.kinds.of(value["apiVersion"], value["kind"])
            await client.apply(kind, value, MANAGER)

        async def remove(client: Client) -> None:
            await client.delete(await client.kinds.of(value["apiVersion"], value["kind"]), None, value["metadata"]["name"])

        world.run(register)
        try:
            yield world
        finally:
            world.run(remove)


def test_what_a_webhook_does_is_no_difference(mutated: World) -> None:
    """A sidecar, an annotation at each write and a rewritten image: the dry run goes through the webhook, so its answer is compared.

    Without asking, the rewritten image looks like a difference and is marked as unsure; a change by hand beside it is found all the same.
    """
    container = {"name": "main", "image": "localhost/busybox:1", "command": ["sleep", "3600"]}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
    }
    meta = {"name": "web", "namespace": mutated.namespace}
    manifest = prepare({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    image = "spec.template.spec.containers[main].image"

    async def settled(client: Client, world: World) -> Manifest:
        """Return the live object once its controller has written everything that follows from its generation."""
        kind = await client.kinds.of("apps/v1", "Deployment")
        while True:
            found = cast("Manifest", await client.get(kind, world.namespace, "web"))
            annotations = found["metadata"].get("annotations", {})
            if found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"] and REVISION in annotations:
                return found

    async def work(client: Client) -> None:
        kind = await client.kinds.of("apps/v1", "Deployment")
        # A webhook works from a moment after its registration on: it is there when it answers.
        while not (await client.apply(kind, manifest, MANAGER, force=True))["metadata"].get("annotations", {}).get("touched"):
            pass
        live = await settled(client, mutated)
        containers = live["spec"]["template"]["spec"]["containers"]
        assert [one["name"] for one in containers] == ["mesh", "main"]
        sure = compare(live, await client.apply(kind, manifest, MANAGER, dry_run=True, force=True), MANAGER)
        assert sure.in_step, sure
        assert [change.path for change in sure.others] == ["metadata.annotations.touched"]
        seen = examine(live, manifest, MANAGER)
        assert ([one.path for one in seen.differences], seen.sure) == ([image], False)
        edited = await client.patch(kind, mutated.namespace, "web", {"spec": {"replicas": 1}})
        sure = compare(edited, await client.apply(kind, manifest, MANAGER, dry_run=True, force=True), MANAGER)
        assert [(one.path, one.change.before, one.change.after) for one in sure.differences] == [("spec.replicas", 1, 0)]

    mutated.run(work)
