"""What became of a task's pod, read from the objects that the cluster shows: pure, over plain objects.

Called by the executor at every change. It says one of four things: it waits and why, it runs and where, it is over and how, or it is lost
and who took it. What took a pod away that did nothing wrong is never the task's failure.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.adapters.kubernetes.jobs.objects import INPUTS, KEEPER, TASK

Manifest = Mapping[str, Any]

_QUIET: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
"""What every pod goes through."""
DEFINITE: Final = frozenset({"InvalidImageName", "ErrImageNeverPull", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError"})
"""What mends itself only if somebody acts elsewhere."""
_NEVER_BEGAN: Final = frozenset({"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"})
_TOOK: Final = {
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "EvictionByEvictionAPI": "it was evicted, as when a node is drained",
    "DeletionByTaintManager": "its node was lost, or may not run it any more",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node ran short of something, or was shut down",
}


@dataclass(frozen=True, slots=True)
class Waits:
    """No process of the task began yet."""

    reason: str
    """As the cluster calls it; empty: nothing is wrong."""
    text: str

    @property
    def fix(self) -> str:
        """What helps."""
        for part, fix in _FIXES.items():
            if part in f"{self.reason} {self.text}":
                return fix
        return "look at the namespace: kubectl get events"


@dataclass(frozen=True, slots=True)
class Runs:
    """It runs, or its end is on the way."""

    text: str
    began: bool
    """Whether the task itself runs, or ran, and not only what prepares it."""
    alive: bool = False
    """Whether it is the task that still runs, and not only what takes it home."""


@dataclass(frozen=True, slots=True)
class Over:
    """The task ended by itself, or ran out of time."""

    how: str
    exit_code: int | None
    detail: str
    outputs: str
    """Digest of what it left."""
    where: str = field(default="", compare=False)
    """Pod and node."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The pod was taken away, or did not get to its end."""

    text: str
    began: bool
    definite: bool = False
    """Another attempt would end the same."""


Verdict = Waits | Runs | Over | Lost

_FIXES: Final = {
    "ImagePull": "is the image pushed, by that digest, and may the namespace pull it (`pullSecrets:` of the executor)?",
    "ImageNeverPull": "the node does not have the image, and does not pull it",
    "InvalidImageName": "mend `image:` or `helper:` of the executor in setpoint.yaml",
    "exceeded quota": "the namespace's ResourceQuota is used up: wait, ask for less under `resources:`, or raise it",
    "must specify limits": "the namespace's ResourceQuota names something that the executor does not set",
    "LimitRange": "keep `resources:` within the namespace's LimitRange",
    "PodSecurity": "the namespace asks for more than the level `restricted`, which these pods keep to",
    "PriorityClass": "mend `priorityClass:` of the executor in setpoint.yaml, or make that class",
    "Unschedulable": "no node has room: ask for less under `resources:`, raise the executor's nodes, or wait",
    "FailedMount": "the pod's Secret is missing: somebody deleted it",
    "CreateContainer": "the image does not fit: it must run as user 1000 with a read-only root, and have /bin/sh",
}


def verdict(job: Manifest | None, pods: Sequence[Manifest], warnings: Sequence[str]) -> Verdict:
    """Return what became of an attempt; warnings are messages of events about it, oldest first."""
    if not pods:
        return _without_pod(job, warnings)
    pod = max(pods, key=lambda one: str(one["metadata"].get("creationTimestamp", "")))
    over = _over(pod)
    if over is not None:
        return over
    if _phase(pod) in ("Succeeded", "Failed") or (_ended(pod, KEEPER) and _ended(pod, TASK)):
        return _failed(pod)
    task = _ended(pod, TASK)
    if task is not None and task.get("reason") in _NEVER_BEGAN:
        text = f"the task's container did not start: {task.get('message') or task.get('reason')}"
        return Lost(f"{text}; an image for tasks has /bin/sh", began=False, definite=True)
    return _on_the_way(pod, warnings)


def _without_pod(job: Manifest | None, warnings: Sequence[str]) -> Verdict:
    if job is None:
        return Lost("its Job was deleted from outside", began=True)
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Failed", "FailureTarget") and condition.get("status") == "True":
            if condition.get("reason") == "DeadlineExceeded":
                return Lost("its Job ran out of time, this server's absence counted in", began=True)
            return Lost("its pod was deleted from outside", began=True)
    return Waits("NoPod" if warnings else "", warnings[-1] if warnings else "the cluster makes the pod")


def _over(pod: Manifest) -> Verdict | None:
    """Return the end that the keeper wrote down, once the task's own status is there too."""
    keeper, task = _ended(pod, KEEPER), _ended(pod, TASK)
    if keeper is None or keeper.get("exitCode") != 0 or task is None:
        return None
    said = _message(keeper)
    if said.get("how") not in ("exited", "timed-out"):
        return None
    code = int(task.get("exitCode", 0))
    detail = str(said.get("detail", ""))
    if task.get("reason") == "OOMKilled":
        detail = "; ".join(filter(None, (detail, f"out of memory: its limit is {_limit(pod)}, and more is asked for under `resources:`")))
    return Over(str(said["how"]), code, detail, str(said.get("outputs", "")), _where(pod))


def _failed(pod: Manifest) -> Verdict:
    began = _began(pod)
    took = _took(pod)
    if took:
        return Lost(took, began=began)
    inputs, task, keeper = _ended(pod, INPUTS, init=True), _ended(pod, TASK), _ended(pod, KEEPER)
    if not began:
        end = inputs or {}
        if end.get("reason") in _NEVER_BEGAN:
            text = f"{end.get('message') or end.get('reason')}; an image for helpers has python3"
            return Lost(f"the container that brings the inputs did not start: {text}", began=False, definite=True)
        text = str(_message(end).get("refused") or end.get("reason") or "no reason given")
        return Lost(f"the inputs could not be brought: {text}", began=False)
    if task is not None and task.get("reason") == "OOMKilled":
        return Over("exited", int(task.get("exitCode", 137)), f"out of memory: its limit is {_limit(pod)}", "", _where(pod))
    said = _message(keeper or {})
    why = said.get("refused") or said.get("detail") or (keeper or {}).get("reason") or "its helper ended early"
    return Lost(f"the pod ended before its task was taken home: {why}", began=True)


def _on_the_way(pod: Manifest, warnings: Sequence[str]) -> Verdict:
    where = f"pod {pod['metadata'].get('namespace')}/{pod['metadata'].get('name')}"
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Waits("Unschedulable", f"no node takes the pod: {condition.get('message', '')}")
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason", "") not in _QUIET:
            return Waits(str(waiting["reason"]), f"{waiting['reason']} of `{one.get('name')}`: {waiting.get('message', '')}")
    node = str((pod.get("spec") or {}).get("nodeName") or "")
    running = _running(pod, TASK) or _ended(pod, TASK) is not None
    if running:
        return Runs(_where(pod), began=True, alive=_ended(pod, TASK) is None)
    if _running(pod, INPUTS, init=True) or _ended(pod, INPUTS, init=True):
        return Runs(f"{where} on node {node} gets its inputs", began=False)
    if warnings:
        return Waits("Warning", warnings[-1])
    return Waits("", f"{where} starts on node {node}" if node else f"{where} waits for a node")


def _where(pod: Manifest) -> str:
    meta = pod["metadata"]
    return f"pod {meta.get('namespace')}/{meta.get('name')} on node {(pod.get('spec') or {}).get('nodeName', '')}"


def _took(pod: Manifest) -> str:
    """Return who took a pod away, as a sentence; empty when nobody did."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            reason = str(condition.get("reason", ""))
            return f"{_TOOK.get(reason, 'the cluster took it away')} ({reason}: {condition.get('message', '')})"
    if status.get("reason"):
        return f"the cluster took it away ({status['reason']}: {status.get('message', '')})"
    if pod["metadata"].get("deletionTimestamp"):
        return "its pod was deleted from outside"
    return ""


def _statuses(pod: Manifest, *, init: bool) -> Sequence[Manifest]:
    return (pod.get("status") or {}).get("initContainerStatuses" if init else "containerStatuses") or ()


def _state(pod: Manifest, container: str, *, init: bool) -> Manifest:
    return next((one.get("state") or {} for one in _statuses(pod, init=init) if one.get("name") == container), {})


def _ended(pod: Manifest, container: str, *, init: bool = False) -> Manifest | None:
    found: Manifest | None = _state(pod, container, init=init).get("terminated")
    return found


def _running(pod: Manifest, container: str, *, init: bool = False) -> bool:
    return "running" in _state(pod, container, init=init)


def _began(pod: Manifest) -> bool:
    """Say whether the task may have begun: its inputs were brought."""
    inputs = _ended(pod, INPUTS, init=True)
    return inputs is not None and inputs.get("exitCode") == 0


def _phase(pod: Manifest) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _limit(pod: Manifest) -> str:
    for container in (pod.get("spec") or {}).get("containers") or ():
        if container.get("name") == TASK:
            return str(((container.get("resources") or {}).get("limits") or {}).get("memory", "unknown"))
    return "unknown"


def _message(end: Manifest) -> Mapping[str, Any]:
    try:
        found = json.loads(end.get("message") or "{}")
    except ValueError:
        return {"refused": str(end.get("message"))[:500]}
    return found if isinstance(found, dict) else {}
