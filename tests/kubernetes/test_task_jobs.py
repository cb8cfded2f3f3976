"""Tasks as Jobs of a real cluster, from a push to the log and back: the same words and verbs as on this machine."""

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubernetes_world import Machine
from live_home import SETPOINT_FILE, LiveHome, free_port, running_home, wait_for
from setpoint.cli.cluster import _content

WAIT_S = 90.0
EXECUTORS = """
executors:
  cluster:
    kubernetes:
      cluster: real
      namespace: {namespace}
      image: {image}
      limits: {{cpu: 250m, memory: 256Mi}}
      start: 60s
  absent:
    kubernetes: {{cluster: real, namespace: {namespace}, image: "{registry}/absent@sha256:{zeros}", helper: {image}, start: 25s}}
  full:
    kubernetes: {{cluster: real, namespace: {full}, image: {image}, start: 25s}}
  elsewhere:
    kubernetes: {{cluster: real, namespace: {namespace}, image: {image}}}
    sources: [other]
"""
PIPELINE = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
"""


@dataclass
class Place:
    """A home whose tasks run in a namespace of the cluster."""

    live: LiveHome
    machine: Machine
    namespace: str
    full: str
    image: str
    tasks: dict[str, Any] = field(default_factory=dict)

    def kubectl(self, *argv: str, namespace: str = "", given: str = "") -> str:
        """Run kubectl in the namespace and return what it prints."""
        command = ["kubectl", f"--kubeconfig={self.machine.kubeconfig}", "-n", namespace or self.namespace, *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, input=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, kinds: str = "jobs,pods,secrets") -> list[dict[str, Any]]:
        """Return what is in the namespace."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kinds, "-o", "json"))["items"]
        return found

    def push(self, **tasks: Mapping[str, Any]) -> str:
        """Push a pipeline with these tasks and return the commit."""
        every = {name: {"executor": "cluster", "network": True, "inputs": ["in.txt"], **task} for name, task in tasks.items()}
        files = {".setpoint/pipeline.yaml": _text(every)}
        return self.live.commit("hello", {**files, "in.txt": "given\n"})

    def run_of(self, commit: str) -> str:
        """Return the id of a commit's run."""
        return wait_for(
            "the run", lambda: next((str(r["run"]) for r in self.live.api().get("/api/v1/runs") if r["revision"] == commit), None)
        )

    def row(self, run: str, task: str) -> dict[str, Any]:
        """Return a task of a run."""
        rows = self.live.api().get(f"/api/v1/runs/{run}")["tasks"]
        return next(row for row in rows if row["task"] == task)

    def ended(self, run: str, task: str) -> dict[str, Any]:
        """Return a task once it has ended."""
        return wait_for(
            f"the end of {task}", lambda: r if (r := self.row(run, task))["state"] not in ("pending", "running") else None, WAIT_S
        )

    def log(self, run: str, task: str) -> list[dict[str, Any]]:
        """Return a task's log."""
        found: list[dict[str, Any]] = []
        while page := self.live.api().get(f"/api/v1/runs/{run}/tasks/{task}/log", {"after": str(found[-1]["seq"] if found else -1)}):
            found += page
        return found

    def text(self, run: str, task: str, stream: str = "out") -> str:
        """Return a task's output."""
        return "".join(record["text"] for record in self.log(run, task) if record["stream"] == stream)

    def shown(self, run: str, task: str, part: str, stream: str = "out") -> None:
        """Wait until a task has printed part."""
        wait_for(f"{part!r} in the log", lambda: part in self.text(run, task, stream) or None, WAIT_S)


def _text(tasks: dict[str, Any]) -> str:
    """Return a pipeline file with these tasks; JSON is YAML."""
    return json.dumps({"apiVersion": "setpoint.dev/v1alpha1", "kind": "Pipeline", "tasks": tasks})


def certificate(folder: Path, address: str) -> tuple[str, ...]:
    """Write a certificate for an address that vouches for itself, and return the options of `up` that serve it."""
    listen = f"{address}:{free_port()}"
    subject = ["-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    pair = (folder / "pull.pem", folder / "pull.key")
    subprocess.run([*command, "-keyout", str(pair[1]), "-out", str(pair[0])], check=True, capture_output=True)
    return ("--pull-listen", listen, "--pull-cert", str(pair[0]), "--pull-key", str(pair[1]))


@pytest.fixture(scope="module")
def place(node: Machine, registry: str, task_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Start a home that pods can reach, and offer it executors in a namespace of the cluster."""
    options = certificate(tmp_path_factory.mktemp("pull"), registry.rpartition(":")[0])
    with running_home() as live:
        live.stop()
        live.options = options
        live.start()
        name = f"tasks-{secrets.token_hex(3)}"
        found = Place(live, node, name, f"{name}-full", task_image)
        for namespace in (found.namespace, found.full):
            found.kubectl("create", "namespace", namespace)
            found.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        found.kubectl("create", "quota", "none", "--hard=pods=0", namespace=found.full)
        live.api().put("clusters/real", {"kubeconfig": _content(node.kubeconfig, "")})
        offered = EXECUTORS.format(namespace=found.namespace, full=found.full, image=task_image, registry=registry, zeros="0" * 64)
        live.api().post(
            "/api/v1/delivery",
            {"repository": "delivery", "commit": live.commit("delivery", {"setpoint.yaml": SETPOINT_FILE + offered}, who="sam")},
        )
        yield found
        for namespace in (found.namespace, found.full):
            found.kubectl("delete", "namespace", namespace, "--wait=false")


def test_a_task_runs_in_a_pod_and_its_result_is_reused(place: Place) -> None:
    """Inputs are there, outputs and reports come back, both streams have their lines; the same key is not run again."""
    report = '<testsuite name="t" tests="1"><testcase classname="t" name="a"/></testsuite>'
    script = f"cat in.txt; echo bad >&2; id -u; mkdir out; echo made >out/file; ln -s file out/link; echo '{report}' >r.xml"
    first = {"run": script, "outputs": ["out/"], "evidence": {"tests": "r.xml"}, "valid": "1d"}
    second = {"needs": ["first"], "run": "cat out/link; exit 3"}
    run = place.run_of(place.push(first=first, second=second))
    assert place.ended(run, "first")["state"] == "passed", json.dumps(place.log(run, "first"), indent=1)
    assert place.text(run, "first") == "given\n1000\n"
    assert place.text(run, "first", "err") == "bad\n"
    ended = place.ended(run, "second")
    assert (ended["state"], ended["exit_code"], ended["reason"]) == ("failed", 3, "exit status 3")
    assert place.text(run, "second") == "made\n"
    assert (ended["executor"], ended["sandbox"]) == ("cluster", "kubernetes")
    notes = place.text(run, "first", "note")
    assert f"pod {place.namespace}/sp-" in notes
    assert place.image in notes
    again = place.run_of(place.push(first=first, second={**second, "run": "cat out/file"}))
    assert place.ended(again, "second")["state"] == "passed"
    assert place.row(again, "first")["state"] == "reused"
    wait_for("nothing to be left", lambda: not [o for o in place.objects() if o["metadata"]["name"].startswith("sp-")] or None, WAIT_S)


def test_doctor_asks_the_cluster_what_tasks_need_there(place: Place) -> None:
    """Every executor is listed with where it is, and an account that may do all of it has no problem."""
    found = place.live.api().get("/api/v1/executors")
    assert [(one["name"], one["namespace"], one["problems"]) for one in found] == [
        ("absent", place.namespace, []),
        ("cluster", place.namespace, []),
        ("elsewhere", place.namespace, []),
        ("full", place.full, []),
    ]


def test_a_task_that_cannot_start_says_why_and_how_to_mend_it(place: Place) -> None:
    """An image that is not there, a used-up quota, an executor that is not offered or not known, too large a wish: a sentence each."""
    tasks: dict[str, dict[str, Any]] = {
        "image": {"executor": "absent", "run": "true"},
        "quota": {"executor": "full", "run": "true"},
        "foreign": {"executor": "elsewhere", "run": "true"},
        "unknown": {"executor": "clutser", "run": "true"},
        "large": {"run": "true", "resources": {"memory": "1Gi"}},
        "room": {"run": "true", "resources": {"cpu": "2"}},
    }
    run = place.run_of(place.push(**tasks))
    reasons = {name: place.ended(run, name)["reason"] for name in tasks}
    assert reasons["image"].startswith("SP274: the pod did not start within 25 s: ")
    assert "ImagePull" in reasons["image"]
    assert "is the image pushed, by that digest" in place.text(run, "image", "note")
    assert "exceeded quota: none" in reasons["quota"]
    assert "ResourceQuota is used up" in place.text(run, "quota", "note")
    assert reasons["foreign"] == "SP271: `elsewhere` is not offered to the repository `hello`"
    assert reasons["unknown"] == "SP270: there is no executor `clutser`"
    assert reasons["large"] == "SP278: `large` asks for 1Gi of memory, and `cluster` gives 256Mi"
    assert reasons["room"] == "SP278: `room` asks for 2 of cpu, and `cluster` gives 250m"


def test_a_task_ends_by_its_time_its_memory_or_a_person(place: Place) -> None:
    """Out of time it is asked first and its report is kept; out of memory it says so; cancelled it hears TERM; nothing is left."""
    memory = "python3 -c 'b = bytearray(200 << 20); print(len(b))'"
    tasks: dict[str, dict[str, Any]] = {
        "slow": {"run": "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.1; done", "timeout": "2s"},
        "memory": {"run": memory, "resources": {"memory": "64Mi"}},
        "stopped": {"run": "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.1; done"},
    }
    run = place.run_of(place.push(**tasks))
    place.shown(run, "stopped", "up")
    assert f"pod {place.namespace}/sp-" in place.row(run, "stopped")["place"]
    place.live.api().post(f"/api/v1/runs/{run}/tasks/stopped/cancel", {"message": "enough"})
    stopped = place.ended(run, "stopped")
    assert stopped["state"] == "cancelled"
    assert place.text(run, "stopped") == "up\nasked\n"
    slow, memory_row = place.ended(run, "slow"), place.ended(run, "memory")
    assert (slow["state"], slow["exit_code"], slow["reason"]) == ("timed-out", 4, "timed out after 2 s")
    assert place.text(run, "slow") == "up\nbye\n"
    assert memory_row["state"] == "failed"
    assert "out of memory: its limit is 64Mi" in memory_row["reason"]
    wait_for("nothing to be left", lambda: not [o for o in place.objects() if o["metadata"]["name"].startswith("sp-")] or None, WAIT_S)


def test_a_pod_that_is_taken_away_is_made_again_and_one_of_once_is_lost(place: Place) -> None:
    """A deleted and an evicted pod are no failure: the task runs again and the log says why; what must not run twice waits."""
    script = "echo up; [ -e /work/in.txt ]; for i in $(seq 300); do sleep 0.1; done; echo through"
    tasks: dict[str, dict[str, Any]] = {"deleted": {"run": script}, "evicted": {"run": script}, "once": {"run": script, "once": True}}
    run = place.run_of(place.push(**tasks))
    for task in tasks:
        place.shown(run, task, "up")
    pods = {pod["metadata"]["annotations"]["setpoint.dev/task-id"]: pod["metadata"]["name"] for pod in place.objects("pods")}
    place.kubectl("delete", "pod", pods[f"{run}-deleted"], pods[f"{run}-once"], "--wait=false", "--grace-period=1")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pods[f"{run}-evicted"], "namespace": place.namespace}}
    place.kubectl(
        "create",
        "--raw",
        f"/api/v1/namespaces/{place.namespace}/pods/{pods[f'{run}-evicted']}/eviction",
        "-f",
        "-",
        given=json.dumps(eviction),
    )
    for task in ("deleted", "evicted"):
        place.shown(run, task, "it is run again", "note")
    assert "EvictionByEvictionAPI" in place.text(run, "evicted", "note")
    lost = wait_for("it to be lost", lambda: row if (row := place.row(run, "once"))["state"] == "lost" else None, WAIT_S)
    assert "whether it happened is not known" in lost["reason"]
    place.live.api().post(f"/api/v1/runs/{run}/cancel", {"message": "enough"})
    wait_for("nothing to be left", lambda: not [o for o in place.objects() if o["metadata"]["name"].startswith("sp-")] or None, WAIT_S)


def test_a_killed_server_takes_over_what_runs_and_what_ended_meanwhile(place: Place) -> None:
    """A task that runs on, one of `once`, and one that ends while nobody is there: each runs once, no line is lost and none comes twice."""
    go_on = "[ ! -e go ] && [ $i -lt 3000 ]"
    count = f"i=0; while {go_on}; do i=$((i+1)); echo line $i; sleep 0.1; done; echo $i lines"
    tasks: dict[str, dict[str, Any]] = {
        "runs": {"run": f"{count}; echo made >out", "outputs": ["out"]},
        "once": {"run": count, "once": True},
        "ends": {"run": f"echo up; i=0; while {go_on}; do i=$((i+1)); sleep 0.1; done; echo made >out", "outputs": ["out"]},
    }
    run = place.run_of(place.push(**tasks))
    for task, part in (("runs", "line 2\n"), ("once", "line 2\n"), ("ends", "up")):
        place.shown(run, task, part)
    before = {pod["metadata"]["uid"] for pod in place.objects("pods")}
    place.live.stop(kill=True)
    _touch(place, f"{run}-ends")
    wait_for("the third to end", lambda: _task_ended(place, f"{run}-ends") or None, WAIT_S)
    place.live.start()
    for task in ("runs", "once"):
        place.shown(run, task, "is taken over", "note")
        _touch(place, f"{run}-{task}")
    assert {task: place.ended(run, task)["state"] for task in tasks} == dict.fromkeys(tasks, "passed"), place.text(run, "once", "note")
    seen = {task: place.text(run, task) for task in tasks}
    assert seen["ends"] == "up\n"
    for task in ("runs", "once"):
        said = seen[task].splitlines()
        count_of = int(said[-1].removesuffix(" lines"))
        assert said[:-1] == [f"line {number}" for number in range(1, count_of + 1)], json.dumps(place.log(run, task)[:9], indent=1)
    assert "is taken over" in place.text(run, "ends", "note")
    assert len(before) == len(tasks), "a pod each, and no second one"


def _touch(place: Place, task_id: str) -> None:
    """Let a task that waits for the file `go` come to its end; it may end before `touch` does."""
    pod = next(p["metadata"]["name"] for p in place.objects("pods") if p["metadata"]["annotations"]["setpoint.dev/task-id"] == task_id)
    command = ["kubectl", f"--kubeconfig={place.machine.kubeconfig}", "-n", place.namespace, "exec", pod, "-c", "task", "--"]
    done = subprocess.run([*command, "/bin/touch", "/work/go"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 137), done.stderr


def _task_ended(place: Place, task_id: str) -> bool:
    for pod in place.objects("pods"):
        if pod["metadata"]["annotations"]["setpoint.dev/task-id"] == task_id:
            return any("terminated" in s["state"] for s in pod["status"]["containerStatuses"] if s["name"] == "task")
    return False


def test_secrets_reach_the_task_only_and_a_long_log_is_whole(place: Place) -> None:
    """No object of the cluster has a value, what is printed is masked before it leaves the pod, and a long log is whole."""
    value = "hunter2-" + secrets.token_hex(8)
    place.live.api().put("secrets/hello/TOKEN", {"value": value})
    script = 'test "$TOKEN" = "$(cat tok 2>/dev/null || echo "$TOKEN")"; echo "it is $TOKEN"; seq 1 200000; sleep 3'
    run = place.run_of(place.push(secret={"run": script, "secrets": ["TOKEN"]}))
    place.shown(run, "secret", "it is ")
    seen = json.dumps(place.objects("jobs,pods,secrets,events,configmaps"))
    assert value not in seen
    assert place.ended(run, "secret")["state"] == "passed"
    text = place.text(run, "secret")
    assert text.startswith("it is ***\n1\n2\n")
    assert value not in text
    assert text == "it is ***\n" + "".join(f"{number}\n" for number in range(1, 200_001))
