"""The facts about rendered objects that policies see (`promotion.render_content`); called after every render, pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from setpoint.core import kinds
from setpoint.promotion.render_content import LIMIT, RenderContent
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.images import images_of
from setpoint.reconcile.pod_specs import PodSpec, items, part, pod_specs

_SERVING: Final = ("DaemonSet", "Deployment", "Pod", "ReplicaSet", "ReplicationController", "StatefulSet")
_PROFILES: Final = ("RuntimeDefault", "Localhost")


def contents(objects: Sequence[dict[str, Any]], allowed: Allowed) -> RenderContent:
    """Return what is in a render whose images are named by digest."""
    pods = list(pod_specs(objects))
    return RenderContent(
        kinds=_some(kinds.kind_of(value) for value in objects),
        namespaces=_some(str(name) for value in objects if (name := part(value, "metadata").get("namespace"))),
        images=_some(image for value in objects for image in images_of(value, allowed)),
        replicas=sum(_replicas(value) for value in objects),
        pods=_some(pod.object for pod in pods),
        privileged=_some(pod.named(c) for pod, c, context in _contexts(pods) if _set(context.get("privileged"))),
        host_network=_some(pod.object for pod in pods if _set(pod.spec.get("hostNetwork"))),
        host_pid=_some(pod.object for pod in pods if _set(pod.spec.get("hostPID"))),
        host_ipc=_some(pod.object for pod in pods if _set(pod.spec.get("hostIPC"))),
        host_paths=_some(
            f"{pod.object}/{volume.get('name', '?')}"
            for pod in pods
            for volume in items(pod.spec, "volumes")
            if volume.get("hostPath") is not None
        ),
        host_ports=_some(pod.named(c) for pod, c in _containers(pods) if any(_set(port.get("hostPort")) for port in items(c, "ports"))),
        capabilities=_some(str(name) for _pod, _c, context in _contexts(pods) for name in _added(context)),
        may_be_root=_some(pod.named(c) for pod, c, _own in _contexts(pods) if _inherited(pod, c, "runAsNonRoot") is not True),
        may_escalate=_some(pod.named(c) for pod, c, own in _contexts(pods) if own.get("allowPrivilegeEscalation") is not False),
        no_seccomp=_some(pod.named(c) for pod, c, _own in _contexts(pods) if not _confined(pod, c)),
        writable_root=_some(pod.named(c) for pod, c, own in _contexts(pods) if own.get("readOnlyRootFilesystem") is not True),
        no_memory_limit=_some(pod.named(c) for pod, c in _containers(pods) if "memory" not in part(c, "resources", "limits")),
        no_cpu_limit=_some(pod.named(c) for pod, c in _containers(pods) if "cpu" not in part(c, "resources", "limits")),
        no_requests=_some(pod.named(c) for pod, c in _containers(pods) if not _requests(c)),
        no_readiness=_some(pod.named(c) for pod, c in _serving(pods) if not part(c, "readinessProbe")),
        no_liveness=_some(pod.named(c) for pod, c in _serving(pods) if not part(c, "livenessProbe")),
    )


def _some(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts))[:LIMIT])


def _set(value: Any) -> bool:
    """Say whether a field is anything but left out, false or 0: what is no boolean is told rather than passed over."""
    return value is not None and value is not False and value != 0


def _containers(pods: Sequence[PodSpec]) -> Iterator[tuple[PodSpec, Mapping[str, Any]]]:
    yield from ((pod, container) for pod in pods for _path, container in pod.containers())


def _contexts(pods: Sequence[PodSpec]) -> Iterator[tuple[PodSpec, Mapping[str, Any], Mapping[str, Any]]]:
    yield from ((pod, container, part(container, "securityContext")) for pod, container in _containers(pods))


def _serving(pods: Sequence[PodSpec]) -> Iterator[tuple[PodSpec, Mapping[str, Any]]]:
    """Yield the containers that should serve for long: none of Jobs, and no init containers but sidecars."""
    for pod in (pod for pod in pods if pod.kind in _SERVING or "." in pod.kind):
        yield from ((pod, container) for container in items(pod.spec, "containers"))
        yield from ((pod, c) for c in items(pod.spec, "initContainers") if c.get("restartPolicy") == "Always")


def _replicas(value: Mapping[str, Any]) -> int:
    if kinds.kind_of(value) not in _SERVING:
        return 0
    found = part(value, "spec").get("replicas", 1)
    return max(found, 0) if isinstance(found, int) and not isinstance(found, bool) else 1


def _added(context: Mapping[str, Any]) -> list[Any]:
    found = part(context, "capabilities").get("add")
    return found if isinstance(found, list) else [found] if found is not None else []


def _inherited(pod: PodSpec, container: Mapping[str, Any], key: str) -> Any:
    own = part(container, "securityContext").get(key)
    return own if own is not None else part(pod.spec, "securityContext").get(key)


def _confined(pod: PodSpec, container: Mapping[str, Any]) -> bool:
    profile = _inherited(pod, container, "seccompProfile")
    return isinstance(profile, Mapping) and profile.get("type") in _PROFILES


def _requests(container: Mapping[str, Any]) -> bool:
    known = {**part(container, "resources", "limits"), **part(container, "resources", "requests")}
    return "memory" in known and "cpu" in known
