"""The objects of one attempt: a Job with one pod, and a Secret with the token that the pod calls home with; pure.

Called by the executor. Nothing of a task is in them: command, environment and secrets are given to the pod by the exchange. A pod may
nothing: no account, no capability, a read-only root, no user but 1000; it keeps to the Pod Security level `restricted`.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any, Final

from setpoint.core import digest
from setpoint.pipeline.model import TaskCommand
from setpoint.pipeline.offers import Offer, Resources

Manifest = dict[str, Any]

TASK: Final = "task"
KEEPER: Final = "keeper"
INPUTS: Final = "inputs"
LABEL_TASK: Final = "setpoint.dev/task"
LABEL_ATTEMPT: Final = "setpoint.dev/attempt"
AWAY_S: Final = 3600
"""So much longer than its own time a Job may exist: the server may be down meanwhile."""
KEPT_S: Final = 86_400
"""A Job that ended while nobody looked stays so long; one that was looked at is deleted at once."""
GRACE_S: Final = 5.0
_UID: Final = 1000
_MARGIN_S: Final = 10
_HELPER: Final = Resources("1", "256Mi")

BOOT: Final = """
import json, os, ssl, sys, time, urllib.request as r
t = "/setpoint/token/"
c = ssl.create_default_context()
c.verify_flags |= 0x80000  # X509_V_FLAG_PARTIAL_CHAIN
c.load_verify_locations(t + "ca.crt")
o = r.build_opener(r.ProxyHandler({}), r.HTTPSHandler(context=c))
q = r.Request(os.environ["HOME_URL"] + "/tasks/" + os.environ["JOB"] + "/program",
              headers={"Authorization": "Bearer " + open(t + "token").read().strip()})
end = time.monotonic() + float(os.environ["PATIENCE_S"])
while True:
    try:
        text = o.open(q, timeout=30).read()
        break
    except Exception as error:
        if time.monotonic() > end:
            said = "the home does not answer at %s: %s" % (os.environ["HOME_URL"], error)
            open("/dev/termination-log", "w").write(json.dumps({"refused": said[:1500]}))
            sys.exit(1)
    time.sleep(0.5)
exec(compile(text, "setpoint", "exec"), {"PROGRAM": text.decode()})
"""
"""Fetches the program from the home and becomes it; Python 3.9 and later."""

WRAPPER: Final = """
exec </dev/null >/setpoint/task/out 3>/setpoint/task/err 2>/dev/null
{ while read -r word; do kill -s "$word" -- -1; done; } </setpoint/task/orders >/dev/null 3>&- &
trap : TERM
. /setpoint/task/start
cd /work || exit 127
"$@" 2>&3 3>&-
exit $?
"""
"""The first process of the task's container: a POSIX shell that meets the keeper at its pipes. The task runs in the foreground, so that it
hears INT and QUIT; what kubelet asks for comes by way of the keeper, which has everything in the container signalled."""

UNSET: Final = (
    "HOSTNAME", "KUBERNETES_PORT", "KUBERNETES_PORT_443_TCP", "KUBERNETES_PORT_443_TCP_ADDR", "KUBERNETES_PORT_443_TCP_PORT",
    "KUBERNETES_PORT_443_TCP_PROTO", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS",
)  # fmt: skip
"""What kubelet adds to every container's environment."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a task on a cluster."""

    home: str
    """Id of the home."""
    command: TaskCommand
    offer: Offer
    url: str
    """Where the pod calls home: `https://host[:port]`."""

    @property
    def task(self) -> str:
        """Names the task for ever, whatever the attempt."""
        return task_label(self.home, self.command.task_id)

    @property
    def name(self) -> str:
        """Names Job and Secret: the same attempt always has the same name, so it cannot be made twice."""
        return f"sp-{self.task}-{self.command.attempt}"


def task_label(home: str, task_id: str) -> str:
    """Return what a task's objects are found by."""
    return digest.sha256(json.dumps([home, task_id]).encode()).removeprefix("sha256:")[:20]


def secret(attempt: Attempt, token: str, authorities: bytes, owner: str = "") -> Manifest:
    """Return the Secret that the pod's helpers see; the owner is the Job's uid once there is one."""
    data = {"token": base64.b64encode(token.encode()).decode(), "ca.crt": base64.b64encode(authorities).decode()}
    meta = _meta(attempt)
    if owner:
        meta["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "Job", "name": attempt.name, "uid": owner}]
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "immutable": True, "data": data}


def job(attempt: Attempt) -> Manifest:
    """Return the Job: one pod, never a second one by the cluster's own doing."""
    command, offer = attempt.command, attempt.offer
    lasts_s = int(offer.start_s + command.timeout_s + GRACE_S) + AWAY_S
    spec = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "activeDeadlineSeconds": lasts_s,
        "ttlSecondsAfterFinished": KEPT_S,
        "template": {"metadata": {key: value for key, value in _meta(attempt).items() if key != "name"}, "spec": _pod(attempt)},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _meta(attempt), "spec": spec}


def _meta(attempt: Attempt) -> Manifest:
    labels = {"app.kubernetes.io/managed-by": "setpoint", LABEL_TASK: attempt.task, LABEL_ATTEMPT: str(attempt.command.attempt)}
    notes = {"setpoint.dev/home": attempt.home, "setpoint.dev/task-id": attempt.command.task_id}
    return {"name": attempt.name, "labels": labels, "annotations": notes}


def _pod(attempt: Attempt) -> Manifest:
    offer = attempt.offer
    wanted = attempt.command.resources or offer.resources
    helper = [_mount("token", "/setpoint/token", read_only=True), _mount("own", "/setpoint/own"), _mount("task", "/setpoint/task")]
    helper += [_mount("work", "/work"), _mount("spool", "/tmp")]  # noqa: S108 - a volume
    inside = [_mount("task", "/setpoint/task", read_only=True), _mount("work", "/work"), _mount("tmp", "/tmp")]  # noqa: S108 - as above
    python = ["python3", "-I", "-S"]
    inputs = _container(INPUTS, offer.helper, [*python, "-c", BOOT], helper, _HELPER)
    keeper = _container(KEEPER, offer.helper, [*python, "/setpoint/own/program.py"], helper, _HELPER)
    pod: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(GRACE_S) + _MARGIN_S,
        "nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": offer.architecture},
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": _UID, "runAsGroup": _UID, "fsGroup": _UID, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [inputs | {"env": _environment(attempt, "prepare")}],
        "containers": [
            _container(TASK, offer.image, ["/bin/sh", "-c", WRAPPER], inside, wanted),
            keeper | {"env": _environment(attempt, "keep")},
        ],
        "volumes": [
            {"name": "token", "secret": {"secretName": attempt.name, "defaultMode": 0o440}},
            {"name": "own", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            {"name": "task", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            *({"name": name, "emptyDir": {}} for name in ("work", "tmp", "spool")),
        ],
    }  # fmt: skip
    if offer.priority_class:
        pod["priorityClassName"] = offer.priority_class
    if offer.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in offer.pull_secrets]
    return pod


def _container(name: str, image: str, command: list[str], mounts: list[Manifest], wanted: Resources) -> Manifest:
    amounts = {"cpu": wanted.cpu, "memory": wanted.memory}
    requests = amounts if name == TASK else {"cpu": "10m", "memory": "32Mi"}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "workingDir": "/",
        "volumeMounts": mounts,
        "resources": {"requests": requests, "limits": amounts},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "File",
    }


def _environment(attempt: Attempt, what: str) -> list[Manifest]:
    pod = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    values = {"HOME_URL": attempt.url, "JOB": attempt.name, "WHAT": what, "PATIENCE_S": f"{attempt.offer.start_s:g}"}
    return [*({"name": name, "value": value} for name, value in values.items()), {"name": "POD_UID", **pod}]


def _mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
