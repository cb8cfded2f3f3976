"""A model on the road: trained by a task, signed and promoted like an image, mounted read-only by digest beside the application."""

import hashlib
import json
import urllib.request
from base64 import b64encode
from typing import Any

from live_home import APP, MANIFESTS, TESTS, LiveHome, wait_for
from setpoint.artifact.model import FILE, FILES, TITLE

PIPELINE = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  train:
    inputs: [data.txt]
    run: mkdir out && tr a-z A-Z <data.txt >out/model.bin
    outputs: [out/]
  test:
    needs: [train]
    inputs: [app.py, tests.sh]
    run: test -s out/model.bin && sh tests.sh
    evidence: {tests: report.xml}
artifacts:
  model:
    needs: [test]
    file: {from: "train:out/model.bin"}
  web:
    needs: [test]
    image: {base: host, copy: {"app.py": /app/}, command: [python3, app.py]}
"""
READS_MODEL = APP.replace('TEXT = b"%s"', 'TEXT = open("/models/model.bin", "rb").read()')
MOUNTED = MANIFESTS.replace(
    "          ports: [{containerPort: 8080}]\n",
    "          ports: [{containerPort: 8080}]\n          volumeMounts: [{name: model, mountPath: /models}]\n",
).replace("      containers:\n", "      volumes: [{name: model, image: {reference: model}}]\n      containers:\n")


def fetch(live: LiveHome, path: str) -> bytes:
    """Read from the registry as any client would."""
    auth = "Basic " + b64encode(f"x:{live.ready['token']}".encode()).decode()
    headers = {"Authorization": auth, "Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{live.ready['registry']}/v2/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        data: bytes = answer.read()
    return data


def replicas(live: LiveHome) -> set[str]:
    """Return the replicas that run."""
    return {path.name for path in (live.work / "home.run" / "replicas").iterdir() if not path.name.startswith(".")}


def test_a_model_is_mounted_by_digest_and_a_new_one_rolls(live: LiveHome) -> None:
    """The application serves what the mounted model says; new training data give a new digest, which alone rolls the workload."""
    live.commit("delivery", {"apps/hello/hello.yaml": MOUNTED}, "mount the model", who="sam")
    files = {"app.py": READS_MODEL, "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE, "data.txt": "first"}
    live.commit("hello", files, "with a model")
    first = live.serves("staging", "FIRST")["artifacts"]
    assert set(first) == {"model", "web"}
    before = replicas(live)

    manifest: dict[str, Any] = json.loads(fetch(live, f"hello/model/manifests/{first['model']}"))
    (layer,) = manifest["layers"]
    assert (manifest["artifactType"], layer["mediaType"], layer["annotations"]) == (FILES, FILE, {TITLE: "model.bin"})
    data = fetch(live, f"hello/model/blobs/{layer['digest']}")
    assert (data, layer["digest"]) == (b"FIRST", "sha256:" + hashlib.sha256(b"FIRST").hexdigest())

    evidence = live.api().get("/api/v1/evidence", {"thing": first["model"]})
    (subject,) = evidence["subjects"]
    assert {bundle["result"] for bundle in subject["bundles"]} == {"PASSED"}
    assert {bundle["signer"] for bundle in subject["bundles"]} == {"builder", "scanner", "gate"}
    lines = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "staging"})["lines"]
    assert [line for line in lines if not line["passed"]] == []

    live.commit("hello", {"data.txt": "second"}, "more data")
    second = live.serves("staging", "SECOND")["artifacts"]
    assert second["web"] == first["web"]
    assert second["model"] != first["model"]
    wait_for("the old replica to be gone", lambda: len(replicas(live)) == 1)
    assert replicas(live).isdisjoint(before)


def test_a_model_as_the_container_s_image_is_refused_before_it_is_pinned(live: LiveHome) -> None:
    """What cannot be run is an error of the candidate with the way out; what runs goes on."""
    live.commit("delivery", {"apps/hello/hello.yaml": MOUNTED.replace("image: web", "image: model")}, "wrong", who="sam")
    reason = wait_for("the refusal", lambda: next((r for r in live.why("staging")["reasons"] if "cannot be run" in json.dumps(r)), None))
    assert "mount it" in json.dumps(reason)
    assert live.answer(live.staging)[0] == "SECOND"


def test_a_tag_at_the_revision_names_the_build_and_nothing_else(live: LiveHome) -> None:
    """The tag is what status, provenance and the registry call the build; the same bytes under another name are the same artifact."""
    live.commit("delivery", {"apps/hello/hello.yaml": MOUNTED}, "right again", who="sam")
    before = live.serves("staging", "SECOND")["artifacts"]
    live.commit("hello", {"README": "first release"}, "a release", push=False)
    live.git(live.work / "hello", "tag", "v1.10")
    live.git(live.work / "hello", "tag", "v1.9")
    live.git(live.work / "hello", "push", "-q", "origin", "v1.9", "v1.10", "main")
    built = wait_for("the build", lambda: [a for run in live.api().get("/api/v1/runs")[:1] for a in _artifacts(live, run["run"])])
    assert {(artifact["name"], artifact["version"]) for artifact in built} == {("model", "v1.10"), ("web", "v1.10")}
    assert {artifact["name"]: artifact["digest"] for artifact in built} == before
    tags = json.loads(fetch(live, "hello/model/tags/list"))["tags"]
    assert "v1.10" in tags
    assert "v1.9" not in tags


def _artifacts(live: LiveHome, run: str) -> list[dict[str, Any]]:
    report: dict[str, Any] = live.api().get(f"/api/v1/runs/{run}")
    return list(report["artifacts"]) if report["run"]["state"] == "passed" and report["run"]["title"] == "a release" else []
